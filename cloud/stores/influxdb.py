"""The store in InfluxDB (1.x, 2.x, 3.x): synchronous writes of ready-made lines, reads in InfluxQL."""

from collections.abc import Sequence
from contextlib import closing
from math import inf
from typing import Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, HttpUrl

from cloud.stores import (
    Block,
    Measurement,
    Rejection,
    StoredMachine,
    StoreFindings,
    StoreReader,
    StoreWriter,
    Table,
    answers,
    influx_setup,
    influxql,
)
from cloud.stores.influx_server import InfluxServer
from cloud.stores.lines import MISSING, QUALITY, encode_block, name_codes
from cloud.stores.refusals import Part, store_rest
from cloud.stores.rollups import Step
from models.settings import Secret, Settings
from models.telemetry import MachinePath

REQUEST_BYTES_MAX = 4 * 1024 * 1024
GZIP_BYTES_MIN = 64_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class InfluxdbStoreSettings(Settings):
    """Keeps everything in one bucket of an InfluxDB server."""

    kind: Literal["influxdb"]
    url: HttpUrl
    org: str
    bucket: str
    token: Secret | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    gzip_bytes_min: int | None = Field(default=None, ge=0)
    retention_days: int | None = Field(default=None, ge=1)
    rollups: list[Step] = ["1m", "1h"]

    @property
    def address(self) -> str:
        """The URL without a slash at its end."""
        return str(self.url).rstrip("/")

    @property
    def gzip_from_bytes(self) -> float:
        """From which size on a request travels compressed: on this computer never, unless it is said."""
        if self.gzip_bytes_min is not None:
            return self.gzip_bytes_min
        return inf if urlsplit(self.address).hostname in LOOPBACK else GZIP_BYTES_MIN

    def build_writer(self) -> StoreWriter:
        """Return the writer; it connects at its first write."""
        return InfluxdbWriter(self)

    def build_reader(self) -> StoreReader:
        """Return a reader; it connects at its first question."""
        return InfluxdbReader(self)

    def set_up(self) -> list[str]:
        """Make what is missing in the server, return what was done; raise `StoreUnavailable`."""
        with closing(InfluxServer(self)) as server:
            return influx_setup.set_up(server, self)

    def recompute(self, start_ns: int, end_ns: int) -> list[str]:
        """Compute the roll-ups of a span anew, return what was done; raise `StoreUnavailable`."""
        with closing(InfluxServer(self)) as server:
            return influx_setup.recompute(server, self, start_ns, end_ns)

    def check(self) -> StoreFindings:
        """Return which server answers and what it has of us; raise `StoreUnavailable`."""
        with closing(InfluxdbReader(self)) as reader:
            machines = reader.list_machines()
            tags = sum(len(one.tags) for one in machines)
            return StoreFindings(
                [
                    self.describe(),
                    f"bucket {self.bucket} answers: {len(machines)} machines with {tags:,} tags",
                    "its files are the server's: `influxd inspect` looks through them",
                ]
            )

    def describe(self) -> str:
        """Return which server answers, for a person; raise `StoreUnavailable`."""
        with closing(InfluxServer(self)) as server:
            return influx_setup.describe(server, server.find_version())


class InfluxdbWriter:
    """Writes blocks as line protocol, a few megabytes a request, and returns when the server has them.

    influxdb-client's batching is not used: it drops what the server refuses or is too slow to take.
    """

    def __init__(self, settings: InfluxdbStoreSettings) -> None:
        self._server = InfluxServer(settings)

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Return once everything not listed as rejected is stored; raise `StoreUnavailable`."""
        rejections: list[Rejection] = []
        parts: list[Part] = []
        for index, block in enumerate(blocks):
            try:
                parts.append(Part(index, block, encode_block(block)))
            except ValueError as error:
                rejections.append(Rejection(index, str(error)))
        for request in _fill_requests(parts):
            rejections += store_rest(request, self._server.post)
        return sorted(rejections, key=lambda rejection: rejection.index)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()


def _fill_requests(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the parts in runs of at most `REQUEST_BYTES_MAX` (one part may be larger)."""
    requests: list[list[Part]] = []
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
        self._server = InfluxServer(settings)

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
        firsts = answers.choose_ours(self._server.ask(influxql.SELECT_FIRST_ROWS))
        lasts = answers.choose_ours(self._server.ask(influxql.SELECT_LAST_ROWS))
        tags = answers.choose_ours(self._server.ask(influxql.SELECT_LAST_OF_TAGS))
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
