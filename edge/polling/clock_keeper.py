"""Keeps values back while the clock cannot be right, and gives them their true time once it is. Pure.

A small computer without a battery-backed clock begins in 1970, or at the date of its disk image, and jumps
to the true time when a time server answers. What was read before would be filed decades ago.
"""

from collections import deque
from pathlib import Path

import msgspec

from models.telemetry import Frame, MachinePath

NS_PER_S = 1_000_000_000
BUILT_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01: no gateway has ever run this program before."""
SLACK_S = 300
"""The clock may be behind the outbox's newest file by this much: time services set clocks back a little."""
HELD_VALUES_MAX = 500_000
PATIENCE_S = 600
"""So long values wait for a clock that is only behind the outbox: maybe the clock was ahead back then."""
STRAGGLER_S = 60
"""For so long after the jump a value may come that was asked for before it."""

Found = list[tuple[MachinePath, list[Frame]]]


class _Held(msgspec.Struct, frozen=True):
    """Frames stamped by the wrong clock, and by how much it was ahead of the monotonic one then."""

    machine: MachinePath
    frames: list[Frame]
    offset_ns: int
    count: int


class ClockKeeper:
    """`floor_ns`: a clock that says less is wrong. `now_ns` is its time, `mono_ns` that of a steady clock."""

    def __init__(self, floor_ns: int = BUILT_NS, held_values_max: int = HELD_VALUES_MAX) -> None:
        self.floor_ns = floor_ns
        self.held_values_max = held_values_max
        self.values_held = 0
        self.values_dropped_total = 0
        self.values_restamped_total = 0
        self.shift_ns = 0
        """By how much the clock jumped when values were last given their true time."""
        self._held: deque[_Held] = deque()
        self._behind_since_ns: int | None = None
        self._jumped_at_ns: int | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the clock could not be right when last looked at."""
        return self._behind_since_ns is not None

    def admit(self, machine: MachinePath, frames: list[Frame], now_ns: int, mono_ns: int) -> Found:
        """Return what may go on, with its true time: of these frames, and of what was held until now."""
        if self._is_behind(now_ns, mono_ns):
            # A machine with a clock of its own (OPC UA) may well know the time: its values need no mending.
            latest_ns = now_ns + SLACK_S * NS_PER_S
            ours = [frame for frame in frames if frame.timestamps[-1] <= latest_ns]
            self._hold(machine, ours, now_ns - mono_ns)
            return [(machine, [frame for frame in frames if frame.timestamps[-1] > latest_ns])]
        return [*self.release(now_ns, mono_ns), (machine, self._mend_stragglers(frames, now_ns, mono_ns))]

    def release(self, now_ns: int, mono_ns: int) -> Found:
        """Return what was held, with its true time; nothing while the clock is wrong."""
        if not self._held or self._is_behind(now_ns, mono_ns):
            return []
        found: Found = []
        for held in self._held:
            self.shift_ns = now_ns - mono_ns - held.offset_ns
            found.append((held.machine, [_shift(frame, self.shift_ns) for frame in held.frames]))
        self.values_restamped_total += self.values_held
        self._held.clear()
        self.values_held = 0
        return found

    def _is_behind(self, now_ns: int, mono_ns: int) -> bool:
        if now_ns >= self.floor_ns:
            if self._behind_since_ns is not None:
                self._behind_since_ns, self._jumped_at_ns = None, mono_ns
            return False
        if self._behind_since_ns is None:
            self._behind_since_ns = mono_ns
        if now_ns >= BUILT_NS and mono_ns - self._behind_since_ns > PATIENCE_S * NS_PER_S:
            self.floor_ns = now_ns
            self._behind_since_ns = None
            return False
        return True

    def _hold(self, machine: MachinePath, frames: list[Frame], offset_ns: int) -> None:
        count = sum(len(frame.timestamps) * len(frame.values) for frame in frames)
        if not count:
            return
        self._held.append(_Held(machine, frames, offset_ns, count))
        self.values_held += count
        while self.values_held > self.held_values_max and self._held:
            gone = self._held.popleft().count
            self.values_held -= gone
            self.values_dropped_total += gone

    def _mend_stragglers(self, frames: list[Frame], now_ns: int, mono_ns: int) -> list[Frame]:
        """Stamp with now what was asked for before the jump and came after: its time is half of each."""
        if self._jumped_at_ns is None or mono_ns - self._jumped_at_ns > STRAGGLER_S * NS_PER_S:
            return frames
        return [
            _shift(frame, now_ns - frame.timestamps[-1]) if frame.timestamps[-1] < self.floor_ns else frame
            for frame in frames
        ]


def find_floor(outbox: Path) -> int:
    """Return the earliest time that the clock can show: this program is not older, nor is the outbox."""
    written = [BUILT_NS]
    for path in (outbox, outbox.with_name(f"{outbox.name}-wal")):
        try:
            written.append(path.stat().st_mtime_ns - SLACK_S * NS_PER_S)
        except OSError:  # there is none yet
            continue
    return max(written)


def _shift(frame: Frame, shift_ns: int) -> Frame:
    timestamps = [timestamp + shift_ns for timestamp in frame.timestamps]
    return Frame(timestamps, frame.values, frame.quality, frame.repeats)
