"""The connection to an InfluxDB server, through influxdb-client, and its errors in words with their mend."""

import zlib
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Literal, Protocol

import msgspec
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from cloud.stores import StoreNeedsMending, StoreUnavailable, answers
from cloud.stores.refusals import Refused, TooLarge
from models.settings import Secret

RETRY_AFTER_S_MAX = 600.0
GZIP_LEVEL = 1
"""On a network the time goes into sending; at level 6 it would go into packing, for 5 % fewer bytes."""
WORDS_CHARS_MAX = 300

Generation = Literal[1, 2, 3]


class ServerVersion(msgspec.Struct, frozen=True):
    """What a server says of itself. One that says nothing is taken for a generation 2."""

    generation: Generation
    words: str
    writes_v2: bool = True

    @classmethod
    def parse(cls, said: str) -> "ServerVersion":
        """Read the version that `/ping` gives: `1.6.7`, `v2.7.10`, `3.0.1`."""
        digits = [part for part in said.strip().lstrip("v").split(".") if part.isdigit()]
        major, minor = (int(digits[0]), int(digits[1])) if len(digits) > 1 else (2, 0)
        if major < 2:
            # The write API of version 2 came to version 1 with 1.8.
            return cls(1, said, writes_v2=(major, minor) >= (1, 8))
        return cls(2 if major == 2 else 3, said)


class ServerSettings(Protocol):
    """Where the server is and who we are to it."""

    @property
    def address(self) -> str: ...
    @property
    def org(self) -> str: ...
    @property
    def bucket(self) -> str: ...
    @property
    def token(self) -> Secret | None: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def gzip_from_bytes(self) -> float: ...


class InfluxServer:
    """One server: connects at its first request and asks it once which version it is."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._client: InfluxDBClient | None = None
        self._version: ServerVersion | None = None

    def find_version(self) -> ServerVersion:
        """Return which InfluxDB answers; raise `StoreUnavailable` when nobody does."""
        if self._version is None:
            try:
                answer = self._request("GET", "/ping")
                said = answer.getheader("X-Influxdb-Version") or ""
            except ApiException:
                said = ""  # a server that has no /ping, or a proxy that keeps it back
            except HTTPError as error:
                raise StoreUnavailable(self._explain_silence(error)) from error
            self._version = ServerVersion.parse(said)
        return self._version

    def post(self, lines: bytes) -> None:
        """Store the lines; raise `Refused` for what a repeat does not change, else `StoreUnavailable`."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self.find_version().writes_v2:
            path = "/api/v2/write"
            place = {"org": self._settings.org, "bucket": self._settings.bucket, "precision": "ns"}
        else:
            path, place = "/write", {"db": self._settings.bucket, "precision": "n"}
        if len(lines) >= self._settings.gzip_from_bytes:
            packer = zlib.compressobj(GZIP_LEVEL, wbits=31)  # 31: with gzip's head and checksum
            lines = packer.compress(lines) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        try:
            self._request("POST", path, place, headers, lines)
        except ApiException as error:
            if error.status == 413:
                raise TooLarge(_quote_server(error)) from error
            if error.status in (400, 422):
                raise Refused(_quote_server(error)) from error
            raise self._explain(error) from error
        except HTTPError as error:
            raise StoreUnavailable(self._explain_silence(error)) from error

    def ask(self, query: str, method: str = "GET") -> list[answers.Series]:
        """Return the tables that answer an InfluxQL query (POST: one that changes something).

        Raises `StoreUnavailable`.
        """
        parameters = {"db": self._settings.bucket, "epoch": "ns", "q": query}
        try:
            answer = self._request(method, "/query", parameters, {"Accept": "application/json"})
            return answers.decode_answer(answer.data)
        except ApiException as error:
            raise self._explain(error) from error
        except HTTPError as error:
            raise StoreUnavailable(self._explain_silence(error)) from error
        except answers.AnswerRejected as error:
            raise StoreUnavailable(f"{self.name}: {_shorten(error)}") from error

    def call(
        self,
        method: str,
        path: str,
        parameters: dict[str, str] | None = None,
        body: Any = None,
        *,
        decode: bool = True,
    ) -> Any:
        """Return the JSON that the server's own API answers to a JSON `body` (`decode`: whether it is JSON).

        A question for something that is not there is answered with nothing. Raises `StoreUnavailable`.
        """
        try:
            answer = self._request(method, path, parameters, {"Content-Type": "application/json"}, body)
            return msgspec.json.decode(answer.data) if answer.data and decode else {}
        except ApiException as error:
            if error.status == 404 and method == "GET":
                return {}
            raise self._explain(error) from error
        except HTTPError as error:
            raise StoreUnavailable(self._explain_silence(error)) from error
        except msgspec.DecodeError as error:
            raise StoreUnavailable(f"{self.name} does not answer {path} with JSON ({error})") from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]  # the library's is untyped
            self._client = None

    @property
    def name(self) -> str:
        """What messages call the server."""
        return f"InfluxDB at {self._settings.address}"

    def _request(
        self,
        method: str,
        path: str,
        parameters: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        client: Any = self._connect().api_client  # which has no types
        return client.request(
            method,
            f"{self._settings.address}{path}",
            query_params=list((parameters or {}).items()),
            headers={**client.default_headers, **(headers or {})},
            body=body,
        )

    def _connect(self) -> InfluxDBClient:
        if self._client is None:
            # A server without accounts takes any token; the library takes none.
            token = self._settings.token.read() if self._settings.token else "none"
            self._client = InfluxDBClient(
                self._settings.address,
                token,
                timeout=int(self._settings.timeout_s * 1000),
                org=self._settings.org,
            )
            if ":" in token:
                # Version 1 knows users: before 1.8 by this header only, and all its later ones know it.
                login = make_headers(basic_auth=token)["authorization"]
                untyped: Any = self._client.api_client
                untyped.set_default_header("Authorization", login)
        return self._client

    def _explain_silence(self, error: HTTPError) -> str:
        self._version = None  # whoever answers next may be another version
        said = _shorten(error).partition("): ")[2] or _shorten(error)  # urllib3 begins with its own objects
        return f"{self.name} cannot be reached ({said}): is it running, and is store.url right?"

    def _explain(self, error: ApiException) -> StoreUnavailable:
        bucket, said = self._settings.bucket, _quote_server(error)
        if error.status in (401, 403):
            self.close()  # the next call reads the token afresh: a mended file needs no restart
            return StoreNeedsMending(
                f"{self.name} refuses the token ({error.status}): check store.token; it needs read and "
                f"write access to bucket {bucket} (the server says: {said})"
            )
        if error.status == 404:
            return StoreNeedsMending(
                f"{self.name} does not know bucket {bucket} in org {self._settings.org} (404): create it "
                "with `forewarn cloud setup-store`, or correct store.bucket and store.org "
                f"(the server says: {said})"
            )
        pause_s = read_retry_after(error.retry_after, time())
        asks = "" if pause_s is None else f"; it asks to wait {pause_s:g} s"
        busy = {429: "is busy", 503: "is not available"}.get(error.status, "answers with an error")
        return StoreUnavailable(f"{self.name} {busy} ({error.status or 'TLS'}): {said}{asks}", pause_s)


def read_retry_after(said: str | None, now_s: float) -> float | None:
    """Return the seconds to wait that a Retry-After header asks for, as a number or as an HTTP date.

    None for none, or for one that says neither; at most `RETRY_AFTER_S_MAX`.
    """
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = round(parsedate_to_datetime(said).timestamp() - now_s)
        except ValueError:
            return None
    if seconds != seconds:  # noqa: PLR0124  # only NaN differs from itself
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)


def _quote_server(error: ApiException) -> str:
    """Return the server's own words, one line."""
    return _shorten(error.message or error.body or error.reason)


def _shorten(words: object) -> str:
    return " ".join(str(words).split())[:WORDS_CHARS_MAX]
