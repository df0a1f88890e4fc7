"""A server that speaks the write API of InfluxDB 2 by a script, and remembers the lines that it took."""

import json
import time
from collections.abc import Callable

from cloud.stores.influxdb import InfluxdbStoreSettings
from tests.integration import influx_http
from tests.integration.influx_http import InfluxHttp

Answer = tuple[int, dict[str, str], str]
TAKEN: Answer = (204, {}, "")


class ScriptedInflux(InfluxHttp):
    """Answers each write with what `judge` says of its lines; lines answered with 204 are kept.

    `upcoming` go before it, in turn: an answer, or a number of seconds to say nothing. `asked_s` has when
    each write came.
    """

    def __init__(self, judge: Callable[[list[str]], Answer] = lambda _lines: TAKEN) -> None:
        self.judge = judge
        self.upcoming: list[Answer | float] = []
        self.lines: list[str] = []
        self.asked_s: list[float] = []
        super().__init__()

    def answer(self, _authorization: str | None, method: str, _path: str, body: bytes) -> influx_http.Answer:
        """Return the answer to one request: the script is about writes alone."""
        if method == "GET":
            return 204, {"X-Influxdb-Version": "v2.7.1"}, b""
        self.asked_s.append(time.monotonic())
        status, headers, words = self._judge(body.decode().splitlines())
        return status, headers, json.dumps({"code": "x", "message": words}).encode() if words else b""

    def _judge(self, lines: list[str]) -> Answer:
        said = self.upcoming.pop(0) if self.upcoming else self.judge(lines)
        if isinstance(said, float):
            time.sleep(said)
            return TAKEN
        if said[0] < 300:
            self.lines += lines
        return said

    def make_settings(self, **more: object) -> InfluxdbStoreSettings:
        """Return settings that lead here."""
        facts = {"kind": "influxdb", "url": self.url, "org": "plant", "bucket": "forewarn"}
        return InfluxdbStoreSettings.model_validate(facts | more)
