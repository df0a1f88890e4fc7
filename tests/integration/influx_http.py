"""The HTTP side of the servers that stand in for InfluxDB 2: requests in, whatever they answer out."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes]


class InfluxHttp:
    """A server on a free port of 127.0.0.1 that answers with what `answer` says, until it is closed.

    `encodings` and `sizes` have how each body posted was encoded, and its bytes on the wire.
    """

    def __init__(self) -> None:
        self.encodings: list[str] = []
        self.sizes: list[int] = []
        asked = self

        class Request(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: two would wait 40 ms for each other

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.sizes.append(len(body))
                asked.encodings.append(self.headers.get("Content-Encoding") or "plain")
                self._reply(gzip.decompress(body) if asked.encodings[-1] == "gzip" else body)

            def do_GET(self) -> None:
                self._reply(b"")

            def _reply(self, body: bytes) -> None:
                token = self.headers.get("Authorization")
                status, headers, words = asked.answer(token, self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(words)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def writes(self) -> int:
        """How many requests to write came."""
        return len(self.encodings)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, authorization: str | None, method: str, path: str, body: bytes) -> Answer:
        """Return the answer to one request."""
        raise NotImplementedError
