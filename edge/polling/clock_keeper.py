"""Keeps values back while the clock cannot be right, and gives them their true time once it is. Pure.

A small computer without a battery-backed clock begins in 1970, or at the date of its disk image, and jumps
to the true time when a time server answers. What was read before would be filed decades ago. Until then its
time is that of a steady clock that began with the computer.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from edge.polling.clock_doubt import NS_PER_S, SLACK_S, ClockJudge
from models.telemetry import Frame, MachinePath

HELD_VALUES_MAX = 500_000
STRAGGLER_S = 60
"""For so long after the jump a value may come that was asked for before it."""

Found = list[tuple[MachinePath, list[Frame]]]


class Held(msgspec.Struct, frozen=True):
    """Frames of one machine whose timestamps are nanoseconds since the computer's start."""

    machine: MachinePath
    frames: list[Frame]
    count: int


class Lost(msgspec.Struct, frozen=True):
    """So many values of a machine that had to go while they waited; when, since the computer's start."""

    machine: MachinePath
    first_ns: int
    last_ns: int
    count: int


class ClockKeeper:
    """`judge` says whether the clock is right. `now_ns` is its time, `boot_ns` that of the steady clock."""

    def __init__(self, judge: ClockJudge | None = None, held_values_max: int = HELD_VALUES_MAX) -> None:
        self.judge = judge or ClockJudge()
        self.held_values_max = held_values_max
        self.values_held = 0
        self.values_dropped_total = 0
        self.values_restamped_total = 0
        self.held_span: tuple[int, int] | None = None
        """From when to when, by the steady clock, the last `admit` held something back; None: nothing."""
        self._held: deque[Held] = deque()
        self._lost: list[Lost] = []

    @property
    def is_doubtful(self) -> bool:
        """Whether the clock could not be believed when last looked at."""
        return bool(self.judge.doubt)

    def admit(self, machine: MachinePath, frames: list[Frame], now_ns: int, boot_ns: int) -> Found:
        """Return what may go on, with its true time: of these frames, and of what was held until now."""
        self.held_span = None
        if self.judge.look(now_ns, boot_ns):
            return [
                *self._release(now_ns, boot_ns),
                (machine, self._mend_stragglers(frames, now_ns, boot_ns)),
            ]
        # A machine with a clock of its own (OPC UA) may well know the time: its values need no mending.
        ours: list[Frame] = []
        theirs: list[Frame] = []
        for frame in frames:
            (ours if self._is_ours(frame, now_ns, boot_ns) else theirs).append(frame)
        self._hold(machine, [self._since_boot(frame, now_ns, boot_ns) for frame in ours])
        return [(machine, theirs)]

    def release(self, now_ns: int, boot_ns: int) -> Found:
        """Return what was held, with its true time; nothing while the clock is wrong."""
        return self._release(now_ns, boot_ns) if self.judge.look(now_ns, boot_ns) else []

    def take_held(self) -> tuple[list[Held], list[Lost]]:
        """Return what waits here, and what had to go; whoever takes it answers for it."""
        held, lost = list(self._held), self._lost
        self._held.clear()
        self._lost = []
        self.values_held = 0
        return held, lost

    def give_back(self, held: Sequence[Held], lost: Sequence[Lost]) -> None:
        """Keep again, as the oldest, what could not be written."""
        self._held.extendleft(reversed(held))
        self._lost[:0] = lost
        self.values_held += sum(one.count for one in held)
        self._make_room()

    def _release(self, now_ns: int, boot_ns: int) -> Found:
        if not self._held:
            return []
        offset_ns = now_ns - boot_ns
        self.values_restamped_total += self.values_held
        found = [(one.machine, [shift(frame, offset_ns) for frame in one.frames]) for one in self._held]
        self._held.clear()
        self.values_held = 0
        return found

    def _is_ours(self, frame: Frame, now_ns: int, boot_ns: int) -> bool:
        last_ns, slack_ns = frame.timestamps[-1], SLACK_S * NS_PER_S
        if self.judge.doubt == "ahead":
            return last_ns > self.judge.estimate_ns(now_ns, boot_ns) + slack_ns
        return last_ns <= now_ns + slack_ns

    def _since_boot(self, frame: Frame, now_ns: int, boot_ns: int) -> Frame:
        """Stamp with the steady clock; what was asked for before the clock jumped ahead is of this moment."""
        is_between = self.judge.doubt == "ahead" and abs(frame.timestamps[-1] - now_ns) > SLACK_S * NS_PER_S
        return shift(frame, boot_ns - (frame.timestamps[-1] if is_between else now_ns))

    def _hold(self, machine: MachinePath, frames: list[Frame]) -> None:
        count = sum(len(frame.timestamps) * len(frame.values) for frame in frames)
        if count:
            self.held_span = _find_span(frames)
            self._held.append(Held(machine, frames, count))
            self.values_held += count
            self._make_room()

    def _make_room(self) -> None:
        while self.values_held > self.held_values_max and self._held:
            gone = self._held.popleft()
            self.values_held -= gone.count
            self.values_dropped_total += gone.count
            self._add_lost(Lost(gone.machine, *_find_span(gone.frames), gone.count))

    def _add_lost(self, gone: Lost) -> None:
        """One entry per machine: the list stays as short as the settings' list of machines."""
        same = next((one for one in self._lost if one.machine == gone.machine), None)
        if same is not None:
            self._lost.remove(same)
            gone = join_lost(same, gone)
        self._lost.append(gone)

    def _mend_stragglers(self, frames: list[Frame], now_ns: int, boot_ns: int) -> list[Frame]:
        """Stamp with now what was asked for before the jump and came after: its time is half of each."""
        settled_ns = self.judge.settled_ns
        if settled_ns is None or boot_ns - settled_ns > STRAGGLER_S * NS_PER_S:
            return frames
        half_ns, near_ns = self.judge.moved_ns // 2, STRAGGLER_S * NS_PER_S
        if abs(half_ns) <= near_ns:  # who knows that it is one: it is right to a minute
            return frames
        return [
            shift(frame, now_ns - frame.timestamps[-1])
            if abs(now_ns - half_ns - frame.timestamps[-1]) <= near_ns
            else frame
            for frame in frames
        ]


def _find_span(frames: Sequence[Frame]) -> tuple[int, int]:
    return min(frame.timestamps[0] for frame in frames), max(frame.timestamps[-1] for frame in frames)


def join_lost(one: Lost, other: Lost) -> Lost:
    """Return both as one loss of their machine."""
    first_ns, last_ns = min(one.first_ns, other.first_ns), max(one.last_ns, other.last_ns)
    return Lost(one.machine, first_ns, last_ns, one.count + other.count)


def shift(frame: Frame, shift_ns: int) -> Frame:
    """Return the same frame, all of it later by `shift_ns`."""
    timestamps = [timestamp + shift_ns for timestamp in frame.timestamps]
    return Frame(timestamps, frame.values, frame.quality, frame.repeats)
