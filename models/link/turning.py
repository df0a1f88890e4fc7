"""Turns an MQTT client inside an asyncio loop: a thread only connects, and nothing wakes up at rest."""

import asyncio
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from models.link.goodbye import hear_out, keep_open

LOOK_S = 1.0
"""How often a connection is looked at that has been silent for longer than its keepalive."""

MARGIN_S = 0.05
"""The client has its own clock of silence: what is looked at too early is looked at in vain."""


class Turned(Protocol):
    """A client that reads, writes and pings when it is told to (paho's words)."""

    keepalive: int

    def reconnect(self) -> Any:
        """Connect, blocking; raise `OSError`."""

    def socket(self) -> Any:
        """Return the socket, None without a connection."""

    def take(self) -> Any:
        """Read once what has come, and take care of it."""

    def loop_write(self) -> Any:
        """Write what waits."""

    def want_write(self) -> bool:
        """Return whether something waits to be written."""

    def loop_misc(self) -> Any:
        """Ping after a silence, and give a connection up that does not answer."""


class Pauses:
    """How long to wait before each try to connect: twice as long each time, up to the longest."""

    def __init__(self) -> None:
        self._next_s = self._longest_s = 1.0

    def set(self, first_s: float, longest_s: float) -> None:
        """Begin anew."""
        self._next_s, self._longest_s = first_s, longest_s

    def take_s(self) -> float:
        """Return the pause before the next try."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return pause_s


class Turner:
    """Keeps one client connected; everything is called in the loop in which it was started.

    What the client's callbacks `post` runs in the loop, in order and never inside the client; `after` runs
    once a swarm. `on_failure(error)` is a try to connect that failed.
    """

    def __init__(
        self, client: Turned, pauses: Pauses, on_failure: Callable[[OSError], None], after: Callable[[], None]
    ) -> None:
        self._client = client
        self._pauses = pauses
        self._on_failure = on_failure
        self._after = after
        self._loop = asyncio.get_running_loop()
        self._events: deque[Callable[[], None]] = deque()
        self._is_delivering = self._is_writing = self._is_leaving = False
        self._descriptor: int | None = None
        self._left: socket.socket | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._look: asyncio.TimerHandle | None = None
        self._read_s = self._wrote_s = 0.0
        self._task = self._loop.create_task(self._run(), name="link")

    @property
    def is_alive(self) -> bool:
        """Whether the connection is still being looked after."""
        return not self._task.done()

    def post(self, event: Callable[[], None]) -> None:
        """Have `event` run in the loop, once the client is done with what it is at."""
        if not self._is_leaving:
            self._events.append(event)

    def wrote(self) -> None:
        """The client was given something to write: see to it that it is written."""
        self._wrote_s = self._loop.time()
        self._watch_writing()
        if self._events and not self._is_delivering:
            self._loop.call_soon(self._deliver)

    def let_go(self, closing: Any = None) -> None:
        """The client is `closing` its socket, maybe while it connects in its thread."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._is_leaving and closing is not None:
            self._left = keep_open(closing)
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        self._is_writing = False
        if self._look is not None:
            self._look.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    async def leave(self, say_goodbye: Callable[[], object]) -> None:
        """Return once the goodbye is written, or cancelled; nothing that was posted runs any more."""
        self._is_leaving = True
        self._events.clear()
        try:
            if self._descriptor is not None:
                say_goodbye()
                self._watch_writing()
            if self._descriptor is not None:
                await asyncio.wait([self._gone])
            if self._left is not None:
                await hear_out(self._left)
        finally:
            self._task.cancel()
            self._drop()
            await asyncio.wait([self._task])

    # -- inside -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            failure = await self._connect()
            if failure is None:
                await self._serve()
            elif isinstance(failure, OSError):
                self._on_failure(failure)
            else:
                raise failure
            self._loop.call_soon(self._deliver)
            await asyncio.sleep(self._pauses.take_s())

    async def _connect(self) -> Exception | None:
        """Connect in a thread, since names, TCP and TLS block; return what went wrong.

        Whoever leaves meanwhile leaves the thread behind.
        """
        connected: asyncio.Future[Exception | None] = self._loop.create_future()

        def take(failure: Exception | None) -> None:
            if connected.done():
                self._drop()
            else:
                connected.set_result(failure)

        def connect() -> None:
            failure: Exception | None = RuntimeError("connecting broke on a fault, told on stderr")
            try:
                self._client.reconnect()
                failure = None
            except OSError as error:
                failure = error
            finally:
                with suppress(RuntimeError):  # the loop has ended, and nobody waits for this any more
                    self._loop.call_soon_threadsafe(take, failure)

        threading.Thread(target=connect, daemon=True).start()
        return await connected

    async def _serve(self) -> None:
        """Read and write until the socket is closed."""
        opened = self._client.socket()
        if opened is None:
            return
        self._descriptor, self._gone = opened.fileno(), self._loop.create_future()
        self._read_s = self._wrote_s = self._loop.time()
        self._loop.add_reader(self._descriptor, self._read)
        self._watch_writing()
        self._set_look(self._read_s + LOOK_S)  # by then the broker has said what keepalive it wants
        try:
            await self._gone
        finally:
            self.let_go()

    def _read(self) -> None:
        self._read_s = self._loop.time()
        self._turn(self._client.take)
        self._settle()
        look_s = max(self._read_s + LOOK_S, self._find_due_s())
        if self._look is not None and self._descriptor is not None and look_s < self._look.when():
            self._set_look(look_s)  # the broker wants a shorter keepalive, and has said so late
        opened = self._client.socket()
        # What TLS has decrypted already, no selector tells of.
        if isinstance(opened, ssl.SSLSocket) and opened.pending():
            self._loop.call_soon(self._read)

    def _write(self) -> None:
        self._turn(self._client.loop_write)
        self._settle()

    def _turn(self, act: Callable[[], object]) -> None:
        """Have the client act; a fault in it ends the link: it would meet the same bytes again and again."""
        is_sound = False
        try:
            act()
            is_sound = True
        finally:
            if not is_sound and not self._gone.done():
                self._gone.set_exception(RuntimeError("the MQTT client broke on a fault, told before"))

    def _settle(self) -> None:
        """What the client was asked for by its own callbacks waits to be written."""
        if self._client.want_write():
            self._turn(self._client.loop_write)
        self._watch_writing()
        self._deliver()

    def _watch_writing(self) -> None:
        wants = self._client.want_write()
        if wants == self._is_writing or self._descriptor is None:
            return
        self._is_writing = wants
        if wants:
            self._loop.add_writer(self._descriptor, self._write)
        else:
            self._loop.remove_writer(self._descriptor)

    def _set_look(self, at_s: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = self._loop.call_at(at_s, self._look_for_silence)

    def _find_due_s(self) -> float:
        """Return when one of both sides will have been silent for a keepalive."""
        return min(self._read_s, self._wrote_s) + self._client.keepalive + MARGIN_S

    def _look_for_silence(self) -> None:
        now_s = self._loop.time()
        if now_s >= self._find_due_s() - MARGIN_S:
            self._turn(self._client.loop_misc)
            self._settle()
            if now_s - self._wrote_s >= self._client.keepalive:
                self._wrote_s = now_s  # a ping
        if self._descriptor is not None:
            self._set_look(max(now_s + LOOK_S, self._find_due_s()))

    def _deliver(self) -> None:
        if not self._events or self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._events:
                self._events.popleft()()
            self._after()
        finally:
            self._is_delivering = False
            if self._events:  # one has failed, which the loop tells: the others are none the worse
                self._loop.call_soon(self._deliver)

    def _drop(self) -> None:
        self.let_go()
        opened = self._client.socket()
        if opened is not None:
            opened.close()
