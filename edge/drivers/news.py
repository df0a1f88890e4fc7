"""What a subscription has told and nobody has taken yet: bounded, and every loss counted by its cause."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from edge.drivers import NotConnected
from edge.drivers.columns import Observation

NEWS_VALUES_MAX = 200_000


class News:
    """The observations of one subscription, in the order of their arrival. For one event loop."""

    def __init__(self, values_max: int = NEWS_VALUES_MAX) -> None:
        self._values_max = values_max
        self._observations: deque[Observation] = deque(maxlen=values_max)
        self._arrived = asyncio.Event()
        self._losses: dict[str, int] = {}
        self._sequence: int | None = None
        self._heard_s = monotonic()
        self._end: str | None = None

    def hear(self, sequence: int | None = None) -> None:
        """The server is alive; `sequence` is the number of its notification, None for a mere keep-alive."""
        self._heard_s = monotonic()
        if sequence is None:
            return
        if self._sequence is not None and sequence > self._sequence + 1:
            self.count_loss("notifications_missing", sequence - self._sequence - 1)
        self._sequence = sequence

    def put(self, observations: Sequence[Observation]) -> None:
        """Add observations; when there is no room the oldest go, and are counted."""
        excess = len(self._observations) + len(observations) - self._values_max
        if excess > 0:
            self.count_loss("buffer_full", excess)
        self._observations.extend(observations)
        self._arrived.set()

    def count_loss(self, cause: str, count: int = 1) -> None:
        """Remember that something was lost."""
        self._losses[cause] = self._losses.get(cause, 0) + count

    def end(self, reason: str) -> None:
        """No more will come."""
        self._end = reason
        self._arrived.set()

    async def wait(self, seconds: float, silence_s_max: float) -> None:
        """Return once there is something to take, or the time is over.

        Raise `NotConnected` when no more will come, or nothing was heard for more than `silence_s_max`.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        if self._observations:
            return
        if self._end is not None:
            raise NotConnected(self._end)
        silence_s = monotonic() - self._heard_s
        if silence_s > silence_s_max:
            raise NotConnected(f"the subscription has been silent for {silence_s:.0f} s")

    def take(self) -> list[Observation]:
        """Return what has come in and forget it."""
        taken = list(self._observations)
        self._observations.clear()
        if self._end is None:
            self._arrived.clear()
        return taken

    def take_losses(self) -> dict[str, int]:
        """Return how much was lost since the last call, by cause."""
        losses, self._losses = self._losses, {}
        return losses
