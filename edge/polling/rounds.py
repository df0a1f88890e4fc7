"""What one read of a machine brought, by both clocks, and how long it was between two of them. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

STEP_NS = 10_000_000
"""What two looks at both clocks differ by less was not set: it is slewed, or took its time between them."""


class Round(msgspec.Struct):
    """The first and the last timestamp of a read, and the gateway's clock less the steady one.

    While the clock is wrong (`is_held`) timestamps are the steady clock's, and `offset_ns` is 0; or they are
    those of a machine's own clock (`is_own`), which is taken for the gateway's, as it is right. By the
    steady clock it was there at `mono_ns`, and was asked for after `since_mono_ns`.
    """

    first_ns: int
    last_ns: int
    offset_ns: int
    mono_ns: int
    is_held: bool = False
    is_own: bool = False
    since_mono_ns: int = 0


class MissedSpan(NamedTuple):
    """Between two timestamps, both exclusive, so many polls fell out; `is_held`: by the steady clock."""

    cycles: int
    first_ns: int
    last_ns: int
    is_held: bool


_NONE: Sequence[MissedSpan] = ()


class _Missed(NamedTuple):
    """So many polls that fell out around the newest read.

    Of those due before it, since the read before, `earlier_max` are not told yet by that one, which told
    `told_before`; now `told` are.
    """

    cycles: int
    interval_ns: int
    earlier_max: int
    told_before: int
    told: int


class Rounds:
    """The last reads of one machine since its last loss, and the polls that fell out around the newest.

    `heard` is what the read that is under way has brought so far. What fell out before a late read is told
    with it, and so are those after it with the next one, which may show that some belong there: then the
    first are told again, from the same instant on, with another count.
    """

    def __init__(self, mono_ns: int) -> None:
        self.heard: Round | None = None
        self._since_mono_ns = mono_ns
        self._before: Round | None = None
        self._newest: Round | None = None
        self._missed: _Missed | None = None
        self._told = 0
        """How many polls are told to have fallen out between the newest read and the one before."""

    def end(self) -> Sequence[MissedSpan]:
        """That was what one read brought; return where the polls are missing that fell out before it."""
        heard, newest = self.heard, self._newest
        if heard is None:
            return _NONE
        found = _NONE
        if self._missed is not None:
            found = self._split(heard, self._missed)
        elif self._told:
            self._told = 0
        heard.since_mono_ns = self._since_mono_ns if newest is None else newest.mono_ns
        self._before, self._newest = newest, heard
        return found

    def miss(self, cycles: int, interval_ns: int) -> Sequence[MissedSpan]:
        """So many polls fell out around the newest read; return as `end` does."""
        if self._newest is None:
            return _NONE
        # The read before it may have been late, too: then some of what fell out between them is told.
        earlier_max = max(0, _count_due(self._before, self._newest, interval_ns) - self._told)
        told = self._told
        # What has no time yet is told once, when all of it is known.
        earlier = 0 if self._newest.is_held else min(cycles, earlier_max)
        self._missed = _Missed(cycles, interval_ns, earlier_max, told, told + earlier)
        return self._tell_earlier(told + earlier) if earlier else _NONE

    def break_off(self, mono_ns: int) -> Sequence[MissedSpan]:
        """The machine is lost: what fell out since the newest read is part of that. Return as `end` does."""
        missed, found = self._missed, _NONE
        if missed is not None:
            earlier = missed.told_before + min(missed.cycles, missed.earlier_max)
            found = self._tell_earlier(earlier) if earlier != missed.told else _NONE
        self._before = self._newest = self._missed = None
        self._since_mono_ns, self._told = mono_ns, 0
        return found

    def _tell_earlier(self, count: int) -> Sequence[MissedSpan]:
        if self._before is None or self._newest is None:  # there was a loss, whose gap covers that
            return _NONE
        return [find_span(count, self._before, self._newest)]

    def _split(self, after: Round, missed: _Missed) -> Sequence[MissedSpan]:
        """Tell the polls that fell out before the late one from those after it."""
        self._missed = None
        assert self._newest is not None  # it is the one that was late
        later_max = _count_due(self._newest, after, missed.interval_ns)
        later = _share(missed.cycles, missed.earlier_max, later_max)
        earlier = missed.told_before + min(missed.cycles - later, missed.earlier_max)
        self._told = later
        found = self._tell_earlier(earlier) if earlier != missed.told else _NONE
        return [*found, find_span(later, self._newest, after)] if later else found


def _share(cycles: int, earlier_max: int, later_max: int) -> int:
    """Return how many of the polls that fell out belong after the late one: neither long span goes untold."""
    if not later_max or not earlier_max:
        return min(cycles, later_max)
    later = round(cycles * later_max / (earlier_max + later_max))
    return min(max(later, 1), cycles - 1)


def _count_due(before: Round | None, after: Round | None, interval_ns: int) -> int:
    """Return how many polls were due between two reads; none where one of them is not known."""
    if before is None or after is None:
        return 0
    return max(0, round(measure_between(before, after) / interval_ns) - 1)


def measure_between(before: Round, after: Round) -> int:
    """Return the nanoseconds from one read's last timestamp to another's first, by the steady clock."""
    span_ns = after.first_ns - before.last_ns
    step_ns = after.offset_ns - before.offset_ns
    choices = [span_ns]
    if abs(step_ns) >= STEP_NS:
        # The clock of a machine that has one was not set.
        if before.is_held or after.is_held:
            choices = [span_ns - step_ns]
        elif not (before.is_own or after.is_own):
            choices = [span_ns - step_ns, span_ns]
    elif span_ns <= 0:
        return span_ns
    longest_ns = after.mono_ns - before.since_mono_ns
    fitting = [length_ns for length_ns in choices if 0 < length_ns <= longest_ns]
    # What was read while the clock was set is stamped half by either: nothing fits.
    return fitting[0] if fitting else after.mono_ns - before.mono_ns


def find_span(count: int, before: Round, after: Round) -> MissedSpan:
    """Return from when to when nothing was read between two reads, by the clock that the later one shows."""
    last_ns = after.first_ns
    first_ns = last_ns - measure_between(before, after)
    if before.is_held == after.is_held and before.last_ns < last_ns:
        first_ns = max(first_ns, before.last_ns)
    return MissedSpan(count, first_ns, last_ns, after.is_held)
