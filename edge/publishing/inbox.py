"""Brings what another thread has to say into the event loop, with one wake-up for a whole swarm."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Inbox:
    """`post` may be called from any thread; the events run in the loop, in order, then `after` once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, after: Callable[[], None]) -> None:
        self._loop = loop
        self._after = after
        self._events: deque[Callable[[], None]] = deque()
        self._woken = False
        self._closed = False

    def post(self, event: Callable[[], None]) -> None:
        """Have `event` run in the loop soon."""
        self._events.append(event)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits for this any more
                self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Pass over whatever comes from here on."""
        self._closed = True

    def _wake(self) -> None:
        # First of all: an event posted from here on wakes again, so none is left lying.
        self._woken = False
        while self._events and not self._closed:
            self._events.popleft()()
        if not self._closed:
            self._after()
