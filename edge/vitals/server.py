"""Answers `/healthz` and `/metrics` over HTTP, on this computer only unless told otherwise."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog

from edge.vitals.exposition import CONTENT_TYPE, render_metrics
from edge.vitals.vitals import Vitals, list_metrics, render_health

REQUEST_BYTES_MAX = 8_192
CONNECTIONS_MAX = 16
TIMEOUT_S = 5.0
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Unwell"}

Answer = tuple[int, str, str]
log = structlog.get_logger()


class HealthServer:
    """`look` returns the vitals. A port that is taken is a warning: values matter more than counts."""

    def __init__(self, host: str, port: int, look: Callable[[], Awaitable[Vitals]]) -> None:
        self._host = host
        self._port = port
        self._look = look
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, if the port is free."""
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=REQUEST_BYTES_MAX
            )
        except OSError as error:
            log.warning(
                "health_not_served",
                address=f"{self._host}:{self._port}",
                reason=error.strerror or str(error),
                mend="say health: {port: ...} with a free port, or port: null for none",
            )

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            # Whoever opens connections without end, or asks without ever ending, gets nothing.
            if self._connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        method, path = (words[0], words[1].partition("?")[0]) if len(words) == 3 else ("", "")
        status, content_type, body = await self._compose(method, path)
        encoded = body.encode()
        lines = [
            f"HTTP/1.1 {status} {REASONS[status]}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(encoded)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else encoded)

    async def _compose(self, method: str, path: str) -> Answer:
        plain = "text/plain; charset=utf-8"
        if not path:
            return 400, plain, "not HTTP\n"
        if method not in ("GET", "HEAD"):
            return 405, plain, "only GET and HEAD\n"
        if path == "/metrics":
            return 200, CONTENT_TYPE, render_metrics(list_metrics(await self._look()))
        if path == "/healthz":
            fine, body = render_health(await self._look())
            return 200 if fine else 503, "application/json", msgspec.json.encode(body).decode() + "\n"
        return 404, plain, "there are /healthz and /metrics\n"
