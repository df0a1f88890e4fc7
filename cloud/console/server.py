"""Serves the console over HTTP: the one file that knows uvicorn."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from models.errors import ForewarnError

log = structlog.get_logger()

CONNECTIONS_MAX = 512
SHUTDOWN_S = 3
BACKLOG = 128


class PortBusy(ForewarnError):
    """The console cannot listen where it is told to: choose another port or stop who has it."""

    exit_code = 3


class ConsoleServer:
    """Listens on (host, port); port 0 takes a free one, to be read from `port` after `bind`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app = app
        self._socket: socket.socket | None = None
        self.host = host
        self.port = port

    def bind(self) -> None:
        """Take the port now, so that a busy one is an error at the start; raise `PortBusy`."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)  # a port that nobody listens on could be taken by another
        except OSError as error:
            listener.close()
            raise PortBusy(
                f"the console cannot listen on {self.host}:{self.port} ({error.strerror}): stop the program "
                "that has the port, or set another one in cloud.yaml under console.port"
            ) from error
        self.port = listener.getsockname()[1]
        self._socket = listener

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; raise `PortBusy`. What still streams after a few seconds is cut."""
        self.bind()
        assert self._socket is not None
        self._app.state.closing = False
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
            limit_concurrency=CONNECTIONS_MAX,
            backlog=BACKLOG,
        )
        server = _QuietServer(config)
        log.info("console_listening", url=f"http://{self.host}:{self.port}")
        serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._app.state.closing = True  # live streams end by themselves, uncut
            server.should_exit = True
            stopping.cancel()
            await serving
            self._socket.close()
            self._socket = None


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signals: the service decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the service."""
        yield
