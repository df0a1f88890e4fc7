"""A TCP proxy with faults, for the way between a gateway and its broker; it lives in a thread of its own."""

import asyncio
import random
import socket
import struct
import threading
from contextlib import suppress

from tests.custody.way import LATENCY_S, LOSS, Mode

CHUNK_BYTES_MAX = 65_536
LOOK_AGAIN_S = 0.02
RESEND_S = 0.3
"""How long TCP takes to send again what a lossy way lost; a stream shows a loss as this much delay."""


class Proxy:
    """Passes everything on, unless a fault is set. `port` is where it listens on 127.0.0.1.

    The way where there are no network namespaces, for the `reason` given.
    """

    host = "127.0.0.1"
    broker_lines = ()
    prefix = ()

    def __init__(self, reason: str, seed: int = 1) -> None:
        self.words = f"a TCP proxy, since {reason}"
        self.port = 0
        self._target_port = 0
        self._late = 0
        self._mode: Mode = "ok"
        self._random = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, broker_port: int) -> None:
        """Listen."""
        self._target_port = broker_port
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def set(self, mode: Mode) -> None:
        """From now on: pass on, swallow everything, swallow what the broker says, or be a bad line."""
        self._mode = mode

    def heal(self) -> None:
        """Break all connections with a reset, as a rebooting switch does, and pass on again."""
        self._loop.call_soon_threadsafe(self._reset)
        self._mode = "ok"

    def count_resent(self) -> int:
        """Return how many pieces came late, as TCP's do when it sends them again."""
        return self._late

    def _reset(self) -> None:
        for writer in list(self._open):
            connection = writer.get_extra_info("socket")
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, onward}
        try:
            await asyncio.gather(
                self._carry(reader, onward, is_answer=False), self._carry(there, writer, is_answer=True)
            )
        finally:
            self._open -= {writer, onward}

    def _is_holding(self, is_answer: bool) -> bool:
        return self._mode == "cut" or (self._mode == "drop_answers" and is_answer)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        try:
            while piece := await reader.read(CHUNK_BYTES_MAX):
                # TCP never loses a part of a stream: what a dead line holds up comes when it lives again,
                # unless the connection is given up before.
                self._late += self._is_holding(is_answer)
                while self._is_holding(is_answer):
                    await asyncio.sleep(LOOK_AGAIN_S)
                if self._mode == "slow":
                    lost = self._random.random() < LOSS
                    self._late += lost
                    await asyncio.sleep(LATENCY_S + (RESEND_S if lost else 0.0))
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
