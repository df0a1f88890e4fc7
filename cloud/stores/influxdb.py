"""The store in InfluxDB (1.8 or 2.x) through influxdb-client: synchronous writes of ready-made lines."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from pydantic import Field, HttpUrl
from urllib3.exceptions import HTTPError

from cloud.stores import (
    Block,
    Measurement,
    Rejection,
    StoredMachine,
    StoreReader,
    StoreUnavailable,
    StoreWriter,
    Table,
    answers,
    influxql,
)
from cloud.stores.lines import MISSING, QUALITY, encode_block, name_codes
from models.settings import Secret, Settings
from models.telemetry import MachinePath

REQUEST_BYTES_MAX = 4 * 1024 * 1024


class InfluxdbStoreSettings(Settings):
    """Keeps everything in one bucket of an InfluxDB server."""

    kind: Literal["influxdb"]
    url: HttpUrl
    org: str
    bucket: str
    token: Secret | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=300)

    def build_writer(self) -> StoreWriter:
        """Return the writer; it connects at its first write."""
        return InfluxdbWriter(self)

    def build_reader(self) -> StoreReader:
        """Return a reader; it connects at its first question."""
        return InfluxdbReader(self)


class _Refused(Exception):
    """The server will never take these lines as they are."""


class _TooLarge(_Refused):
    """The server takes no request of this size."""


class _Part(msgspec.Struct, frozen=True):
    """The lines of one block of a write."""

    index: int
    lines: bytes


class _Server:
    """The connection that writer and reader share: requests, and errors in words with their mend."""

    def __init__(self, settings: InfluxdbStoreSettings) -> None:
        self._settings = settings
        self._url = str(settings.url).rstrip("/")
        self._client: InfluxDBClient | None = None
        self._writing: Any = None

    def post(self, lines: bytes) -> None:
        """Store the lines; raise `_Refused` for what a repeat does not change, else `StoreUnavailable`."""
        client = self._connect()
        if self._writing is None:
            self._writing = client.write_api(write_options=SYNCHRONOUS)
        try:
            self._writing.write(self._settings.bucket, self._settings.org, lines)
        except ApiException as error:
            if error.status == 413:
                raise _TooLarge(_quote_server(error)) from error
            if error.status in (400, 422):
                raise _Refused(_quote_server(error)) from error
            raise StoreUnavailable(self._explain(error)) from error
        except HTTPError as error:
            raise StoreUnavailable(self._explain_silence(error)) from error

    def ask(self, query: str) -> list[answers.Series]:
        """Return the tables that answer the query; raise `StoreUnavailable`."""
        client: Any = self._connect().api_client  # which has no types
        parameters = [("db", self._settings.bucket), ("epoch", "ns"), ("q", query)]
        headers = {**client.default_headers, "Accept": "application/json"}
        try:
            answer = client.request("GET", f"{self._url}/query", query_params=parameters, headers=headers)
            return answers.decode_answer(answer.data)
        except ApiException as error:
            raise StoreUnavailable(self._explain(error)) from error
        except HTTPError as error:
            raise StoreUnavailable(self._explain_silence(error)) from error
        except answers.AnswerRejected as error:
            raise StoreUnavailable(f"{self._name}: {_shorten(error)}") from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]  # the library's is untyped
            self._client = None
            self._writing = None

    @property
    def _name(self) -> str:
        return f"InfluxDB at {self._url}"

    def _connect(self) -> InfluxDBClient:
        if self._client is None:
            # A server without accounts takes any token; the library takes none.
            token = self._settings.token.read() if self._settings.token else "none"
            self._client = InfluxDBClient(
                self._url, token, timeout=int(self._settings.timeout_s * 1000), org=self._settings.org
            )
        return self._client

    def _explain_silence(self, error: HTTPError) -> str:
        said = _shorten(error).partition("): ")[2] or _shorten(error)  # urllib3 begins with its own objects
        return f"{self._name} cannot be reached ({said}): is it running, and is store.url right?"

    def _explain(self, error: ApiException) -> str:
        bucket, said = self._settings.bucket, _quote_server(error)
        if error.status in (401, 403):
            self.close()  # the next call reads the token afresh: a mended file needs no restart
            return (
                f"{self._name} refuses the token ({error.status}): check store.token; it needs read and "
                f"write access to bucket {bucket} (the server says: {said})"
            )
        if error.status == 404:
            return (
                f"{self._name} does not know bucket {bucket} in org {self._settings.org} (404): create it, "
                f"or correct store.bucket and store.org (the server says: {said})"
            )
        asks = f"; it asks to wait {error.retry_after} s" if error.retry_after else ""
        busy = {429: "is busy", 503: "is not available"}.get(error.status, "answers with an error")
        return f"{self._name} {busy} ({error.status or 'TLS'}): {said}{asks}"


class InfluxdbWriter:
    """Writes blocks as line protocol, a few megabytes a request, and returns when the server has them.

    influxdb-client's batching is not used: it drops what the server refuses or is too slow to take.
    """

    def __init__(self, settings: InfluxdbStoreSettings) -> None:
        self._server = _Server(settings)

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Return once everything not listed as rejected is stored; raise `StoreUnavailable`."""
        refused: dict[int, str] = {}
        parts: list[_Part] = []
        for index, block in enumerate(blocks):
            try:
                parts.append(_Part(index, encode_block(block)))
            except ValueError as error:
                refused[index] = str(error)
        for request in _fill_requests(parts):
            self._post(request, refused)
        return [Rejection(index, reason) for index, reason in sorted(refused.items())]

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _post(self, parts: Sequence[_Part], refused: dict[int, str]) -> None:
        """Store the parts; halve what the server refuses until what it will never take stands alone."""
        try:
            self._server.post(b"".join([part.lines for part in parts]))
        except _Refused as refusal:
            halves = _halve(parts, within_blocks=isinstance(refusal, _TooLarge))
            if not halves:
                refused[parts[0].index] = str(refusal)
            for half in halves:
                self._post(half, refused)


def _halve(parts: Sequence[_Part], *, within_blocks: bool) -> list[Sequence[_Part]]:
    """Return two halves, of one block only if it may be cut between its lines; nothing when it cannot be."""
    if len(parts) > 1:
        half = len(parts) // 2
        return [parts[:half], parts[half:]]
    lines = parts[0].lines.splitlines(keepends=True)
    if not within_blocks or len(lines) < 2:
        return []
    half = len(lines) // 2
    return [[_Part(parts[0].index, b"".join(part))] for part in (lines[:half], lines[half:])]


def _fill_requests(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Return the parts in runs of at most `REQUEST_BYTES_MAX` (one part may be larger)."""
    requests: list[list[_Part]] = []
    size = REQUEST_BYTES_MAX
    for part in parts:
        if not part.lines:
            continue
        if size + len(part.lines) > REQUEST_BYTES_MAX:
            requests.append([])
            size = 0
        requests[-1].append(part)
        size += len(part.lines)
    return requests


class InfluxdbReader:
    """Reads through InfluxQL, page by page. May be called from several threads."""

    def __init__(self, settings: InfluxdbStoreSettings) -> None:
        self._server = _Server(settings)

    def read(
        self,
        measurement: Measurement,
        machine: MachinePath,
        start_ns: int,
        end_ns: int,
        tags: Sequence[str] | None = None,
    ) -> Table:
        """Return the values of `tags` (None: all) in start_ns <= t < end_ns; raise `StoreUnavailable`."""
        if tags is not None and not tags:
            return Table(np.empty(0, np.int64), {}, {})
        numbers, quality, missing = (
            self._read_pages(name, machine, start_ns, end_ns, tags)
            for name in (measurement, name_codes(QUALITY, measurement), name_codes(MISSING, measurement))
        )
        return answers.tabulate(numbers, quality, missing, tags)

    def list_machines(self) -> list[StoredMachine]:
        """Return every machine with telemetry, by path; raise `StoreUnavailable`."""
        firsts = {answers.machine_of(s): s for s in self._server.ask(influxql.SELECT_FIRST_ROWS)}
        lasts = {answers.machine_of(s): s for s in self._server.ask(influxql.SELECT_LAST_ROWS)}
        tags = {answers.machine_of(s): s for s in self._server.ask(influxql.SELECT_LAST_OF_TAGS)}
        return [
            StoredMachine(
                machine,
                answers.tags_of(tags[machine]),
                int(firsts[machine].values[0][0] or 0),
                int(lasts[machine].values[0][0] or 0),
            )
            for machine in sorted(firsts.keys() & lasts.keys() & tags.keys())
        ]

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _read_pages(
        self, name: str, machine: MachinePath, start_ns: int, end_ns: int, tags: Sequence[str] | None
    ) -> answers.Page:
        pages: list[answers.Page] = []
        while start_ns < end_ns:
            query = influxql.select_rows(name, machine, start_ns, end_ns, tags)
            page = answers.read_page(self._server.ask(query))
            if page is None:
                break
            pages.append(page)
            if len(page.timestamps) < influxql.ROWS_MAX:
                break
            start_ns = int(page.timestamps[-1]) + 1
        return answers.join_pages(pages)


def _quote_server(error: ApiException) -> str:
    """Return the server's own words, one line."""
    return _shorten(error.message or error.body or error.reason)


def _shorten(words: object) -> str:
    return " ".join(str(words).split())[:300]
