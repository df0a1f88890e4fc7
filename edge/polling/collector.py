"""Where pollers leave frames until the next flush: bounded, oldest out first, every loss counted."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from edge.polling.clock_keeper import ClockKeeper
from edge.polling.gate import PollingGate
from models.telemetry import Frame, MachinePath

VALUES_PENDING_MAX = 1_000_000

Pending = tuple[MachinePath, list[Frame], int]


class Collector:
    """Frames of all machines, at most `values_pending_max` values. Used from the event loop only."""

    def __init__(
        self,
        values_pending_max: int = VALUES_PENDING_MAX,
        read_clocks: Callable[[], tuple[int, int]] = lambda: (time.time_ns(), time.monotonic_ns()),
    ) -> None:
        self.keeper = ClockKeeper()
        """Holds back what a wrong clock has stamped."""
        self._read_clocks = read_clocks
        self.values_pending_max = values_pending_max
        self.values_dropped_total = 0
        self.gate = PollingGate()
        self.crowded = asyncio.Event()
        """Set when it is half full: flush before the time."""
        self._pending: deque[Pending] = deque()
        self._values = 0

    @property
    def values_pending(self) -> int:
        """How many values wait here."""
        return self._values

    def add(self, machine: MachinePath, frames: list[Frame]) -> None:
        """Keep the frames; what is oldest goes when there is no room."""
        for owner, admitted in self.keeper.admit(machine, frames, *self._read_clocks()):
            self._add(owner, admitted)

    def _add(self, machine: MachinePath, frames: list[Frame]) -> None:
        count = sum(len(frame.timestamps) * len(frame.values) for frame in frames)
        if count == 0:
            return
        self._pending.append((machine, frames, count))
        self._values += count
        self._make_room()

    def take(self) -> list[tuple[MachinePath, list[Frame]]]:
        """Return everything, by machine, and forget it."""
        for owner, released in self.keeper.release(*self._read_clocks()):
            self._add(owner, released)
        by_machine: dict[MachinePath, list[Frame]] = {}
        for machine, frames, _ in self._pending:
            by_machine.setdefault(machine, []).extend(frames)
        self._pending.clear()
        self._values = 0
        self.crowded.clear()
        return list(by_machine.items())

    def give_back(self, taken: list[tuple[MachinePath, list[Frame]]]) -> None:
        """Keep again, as the oldest, what could not be written."""
        for machine, frames in reversed(taken):
            for frame in reversed(frames):
                count = len(frame.timestamps) * len(frame.values)
                self._pending.appendleft((machine, [frame], count))
                self._values += count
        self._make_room()

    def count_lost(self, taken: list[tuple[MachinePath, list[Frame]]]) -> None:
        """Count what was taken and will come to nothing."""
        self.values_dropped_total += sum(
            len(frame.timestamps) * len(frame.values) for _, frames in taken for frame in frames
        )

    def _make_room(self) -> None:
        while self._values > self.values_pending_max and self._pending:
            _, _, count = self._pending.popleft()
            self._values -= count
            self.values_dropped_total += count
        if self._values * 2 > self.values_pending_max:
            self.crowded.set()
