"""A server that speaks the write API of InfluxDB 2 by a script, and remembers the lines that it took."""

import gzip
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloud.stores.influxdb import InfluxdbStoreSettings

Answer = tuple[int, dict[str, str], str]
TAKEN: Answer = (204, {}, "")


class ScriptedInflux:
    """Answers each write with what `judge` says of its lines; lines answered with 204 are kept.

    `upcoming` go before it, in turn: an answer, or a number of seconds to say nothing. `asked_s` has when
    each write came.
    """

    def __init__(self, judge: Callable[[list[str]], Answer] = lambda _lines: TAKEN) -> None:
        self.judge = judge
        self.upcoming: list[Answer | float] = []
        self.lines: list[str] = []
        self.sizes: list[int] = []
        self.encodings: list[str] = []
        self.asked_s: list[float] = []
        script = self

        class Scripted(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: two would wait 40 ms for each other

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.sizes.append(len(body))
                script.encodings.append(self.headers.get("Content-Encoding") or "plain")
                if script.encodings[-1] == "gzip":
                    body = gzip.decompress(body)
                self._reply(*script.answer(body.decode()))

            def do_GET(self) -> None:
                self._reply(204, {"X-Influxdb-Version": "v2.7.1"}, "")

            def _reply(self, status: int, headers: dict[str, str], words: str) -> None:
                body = json.dumps({"code": "x", "message": words}).encode() if words else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, text: str) -> Answer:
        """Return the answer to one write."""
        self.asked_s.append(time.monotonic())
        lines = text.splitlines()
        said = self.upcoming.pop(0) if self.upcoming else self.judge(lines)
        if isinstance(said, float):
            time.sleep(said)
            return TAKEN
        if said[0] < 300:
            self.lines += lines
        return said

    def make_settings(self, **more: object) -> InfluxdbStoreSettings:
        """Return settings that lead here."""
        host, port = self._server.server_address[:2]
        facts = {"kind": "influxdb", "url": f"http://{host!s}:{port}", "org": "plant", "bucket": "forewarn"}
        return InfluxdbStoreSettings.model_validate(facts | more)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
