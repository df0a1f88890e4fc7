"""What subscriptions have told and nobody has taken yet: bounded, and what had to go is counted."""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec

from edge.drivers import NotConnected
from edge.drivers.columns import Rows

NEWS_VALUES_MAX = 200_000


class Dropped(msgspec.Struct, frozen=True):
    """How many values had no room, and between which timestamps they lay, both exclusive."""

    values: int
    first_ns: int
    last_ns: int


class News:
    """The rows that a machine's subscriptions have told, as they arrived. For one event loop."""

    def __init__(self, values_max: int = NEWS_VALUES_MAX) -> None:
        self._values_max = values_max
        self._blocks: deque[Rows] = deque()
        self._count = 0
        self._dropped: Dropped | None = None
        self._arrived = asyncio.Event()
        self._end: str | None = None

    def put(self, rows: Rows) -> None:
        """Add rows; when there is no room the oldest messages go, and are counted. Never the last one."""
        self._blocks.append(rows)
        self._count += len(rows.places)
        while self._count > self._values_max and len(self._blocks) > 1:
            self._drop(self._blocks.popleft())
        self._arrived.set()

    def _drop(self, rows: Rows) -> None:
        self._count -= len(rows.places)
        if rows.places:
            first_ns, last_ns = min(rows.timestamps) - 1, max(rows.timestamps) + 1
            before = self._dropped or Dropped(0, first_ns, last_ns)
            self._dropped = Dropped(
                before.values + len(rows.places), min(before.first_ns, first_ns), max(before.last_ns, last_ns)
            )

    def end(self, reason: str) -> None:
        """No more will come."""
        self._end = self._end or reason
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Return once there is something to take, or the time is over; raise `NotConnected` at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        if not self._blocks and self._end is not None:
            raise NotConnected(self._end)

    def take(self) -> list[Rows]:
        """Return what has come in and forget it."""
        taken = list(self._blocks)
        self._blocks.clear()
        self._count = 0
        if self._end is None:
            self._arrived.clear()
        return taken

    def take_dropped(self) -> Dropped | None:
        """Return what had no room since the last call; None when all had."""
        dropped, self._dropped = self._dropped, None
        return dropped
