"""Where pollers leave frames until the next flush: bounded, oldest out first, every loss counted."""

from collections import deque
from collections.abc import Callable, Iterable
from math import isfinite

from edge.outbox.stored import Coverage
from edge.polling.bell import Bell
from edge.polling.clock import read_clocks
from edge.polling.clock_keeper import ClockKeeper
from edge.polling.gap_book import MEMORY_FULL, GapBook
from edge.polling.gaps import NS_PER_S, Pace, count_frames
from edge.polling.gate import PollingGate
from models.telemetry import Frame, GapReason, MachinePath

VALUES_PENDING_MAX = 1_000_000

Pending = tuple[MachinePath, list[Frame], int]


class Collector:
    """Frames of all machines, at most `values_pending_max` values. Used from the event loop only."""

    def __init__(
        self,
        values_pending_max: int = VALUES_PENDING_MAX,
        read_clocks: Callable[[], tuple[int, int]] = read_clocks,
    ) -> None:
        self.keeper = ClockKeeper()
        """Holds back what a wrong clock has stamped."""
        self.gaps = GapBook()
        """What is not acquired, until it is written down with what is."""
        self._read_clocks = read_clocks
        self.values_pending_max = values_pending_max
        self.values_dropped_total = 0
        self.gate = PollingGate()
        self.crowded = Bell()
        """Set when it is half full: flush before the time."""
        self.arrived = Bell()
        """Set while something waits here."""
        self._pending: deque[Pending] = deque()
        self._late: set[int] = set()
        """Which frames here, by identity, fill a gap: they are no part of the row of values since."""
        self._late_out: set[int] = set()
        self._comes_whole: dict[MachinePath, bool] = {}
        self._values = 0

    @property
    def values_pending(self) -> int:
        """How many values wait here."""
        return self._values

    @property
    def expects_more(self) -> bool:
        """Whether what came may be part of a swarm: of several machines, or of one that speaks in parts."""
        return len(self._comes_whole) > 1 or not all(self._comes_whole.values())

    def begin(self, machine: MachinePath, pace: Pace, *, comes_whole: bool = False) -> None:
        """The machine is read from now on; `comes_whole` where one read returns all that is due."""
        self._comes_whole[machine] = comes_whole
        self.gaps.begin(machine, *self._look_at_clocks(), pace)

    def expect(self, machines: Iterable[MachinePath]) -> Coverage:
        """Return since when machines are read that never were; nothing while the clock is wrong."""
        now_ns, _ = self._look_at_clocks()
        return self.gaps.expect(machines if now_ns else [], now_ns)

    def end(self, machine: MachinePath) -> None:
        """The machine is not read any more."""
        self._comes_whole.pop(machine, None)
        self.gaps.end(machine, *self._look_at_clocks())

    def _look_at_clocks(self) -> tuple[int, int]:
        """Return the wall clock, 0 while it is wrong, and the steady one."""
        now_ns, mono_ns = self._read_clocks()
        return now_ns if self.keeper.judge.look(now_ns, mono_ns) else 0, mono_ns

    def lose(self, machine: MachinePath, reason: GapReason, detail: str) -> None:
        """Nothing of the machine is acquired from now on."""
        book = self.gaps.of(machine)
        if book is not None:
            book.lose(reason, detail, self._read_clocks()[1])

    def connect(self, machine: MachinePath) -> None:
        """The machine answers again."""
        book = self.gaps.of(machine)
        if book is not None:
            book.connect(self._read_clocks()[1])

    def miss(self, machine: MachinePath, cycles: int, interval_s: float) -> None:
        """So many polls fell out around the newest one, whose frames were added just now."""
        book = self.gaps.of(machine)
        if book is not None:
            book.miss(cycles, round(interval_s * NS_PER_S))

    def add(
        self, machine: MachinePath, frames: list[Frame], seen_ns: int = 0, silence_s: float = 0.0
    ) -> None:
        """Keep the frames; what is oldest goes when there is no room.

        `seen_ns`: up to here the machine was read, whether or not all of it is reported. `silence_s`: so old
        is its last sign of life.
        """
        now_ns, mono_ns = self._read_clocks()
        found = self.keeper.admit(machine, frames, now_ns, mono_ns)
        admitted = found.pop()[1]
        for owner, released in found:
            self._admit(owner, released, now_ns, mono_ns)
        book = self.gaps.of(machine)
        if book is None:
            self._add(machine, admitted)
            return
        book.begin_round()
        self._admit(machine, admitted, now_ns, mono_ns)
        if self.keeper.is_doubtful:
            if self.keeper.held_span is not None and not admitted:
                book.hold(*self.keeper.held_span)
        else:
            book.believe(now_ns, mono_ns)
            if seen_ns:
                book.see(seen_ns, now_ns, mono_ns)
            if not frames and isfinite(silence_s):
                book.hear(now_ns, mono_ns, round(silence_s * NS_PER_S))
        book.end_round()

    def add_late(self, machine: MachinePath, frames: list[Frame]) -> None:
        """Keep what a machine remembered of a gap: its timestamps are old, and right."""
        self._late.update(map(id, frames))
        self._add(machine, frames)

    def _admit(self, machine: MachinePath, frames: list[Frame], now_ns: int, mono_ns: int) -> None:
        book = self.gaps.of(machine)
        if book is not None and frames:
            if self.keeper.is_doubtful:  # what goes on all the same was stamped by a clock that is right
                newest = max([frame.timestamps[-1] for frame in frames])
                book.admit(frames, newest, mono_ns, is_own=True)
            else:
                book.believe(now_ns, mono_ns)
                book.admit(frames, now_ns, mono_ns)
        self._add(machine, frames)

    def _add(self, machine: MachinePath, frames: list[Frame]) -> None:
        count = count_frames(frames)
        if count == 0:
            return
        self._pending.append((machine, frames, count))
        self.arrived.set()
        self._values += count
        self._make_room()

    def take(self) -> list[tuple[MachinePath, list[Frame]]]:
        """Return everything, by machine, and forget it."""
        now_ns, mono_ns = self._read_clocks()
        for owner, released in self.keeper.release(now_ns, mono_ns):
            self._admit(owner, released, now_ns, mono_ns)
        by_machine: dict[MachinePath, list[Frame]] = {}
        for machine, frames, _ in self._pending:
            by_machine.setdefault(machine, []).extend(frames)
        self._pending.clear()
        self._late_out, self._late = self._late, set()
        self._values = 0
        self.crowded.clear()
        self.arrived.clear()
        return list(by_machine.items())

    def take_coverage(self, *, with_frames: bool, at_end: bool = False) -> Coverage | None:
        """Return what is to be committed with the frames of `take`, in the same turn of the loop."""
        now_ns, mono_ns = self._read_clocks()
        if not self.keeper.is_doubtful:
            self.gaps.grow(now_ns, mono_ns, at_once=at_end)
        return self.gaps.take(mono_ns, with_frames=with_frames)

    def settle(self) -> None:
        """What was taken is committed."""
        self._late_out = set()
        self.gaps.settle(self._read_clocks()[1])

    def give_back(self, taken: list[tuple[MachinePath, list[Frame]]]) -> None:
        """Keep again, as the oldest, what could not be written."""
        self.gaps.give_back()
        self._late |= self._late_out
        for machine, frames in reversed(taken):
            for frame in reversed(frames):
                count = len(frame.timestamps) * len(frame.values)
                self._pending.appendleft((machine, [frame], count))
                self._values += count
                self.arrived.set()
        self._make_room()

    def count_lost(self, taken: list[tuple[MachinePath, list[Frame]]], why: str = "") -> None:
        """Count what was taken and will come to nothing."""
        self.gaps.give_back()
        for machine, frames in taken:
            self.values_dropped_total += count_frames(frames)
            self.gaps.lose(machine, frames, f"a fault in the program cost values that were read: {why}")

    def _make_room(self) -> None:
        while self._values > self.values_pending_max and self._pending:
            machine, frames, count = self._pending.popleft()
            if id(frames[0]) in self._late:
                self._late.difference_update(map(id, frames))
                self.gaps.lose(machine, frames, MEMORY_FULL)
            else:
                self.gaps.drop(machine, frames)
            self._values -= count
            self.values_dropped_total += count
        if self._values * 2 > self.values_pending_max:
            self.crowded.set()
