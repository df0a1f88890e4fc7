"""What one read of a machine brought, by both clocks, and how long it was between two of them. Pure."""

from typing import NamedTuple

STEP_NS = 10_000_000
"""What two looks at both clocks differ by less was not set: it is slewed, or took its time between them."""


class Round(NamedTuple):
    """The first and the last timestamp of a read, and the gateway's clock less the steady one.

    While the clock is wrong (`is_held`) timestamps are the steady clock's, and `offset_ns` is 0. By the
    steady clock it was there at `mono_ns`, and was asked for after `since_mono_ns`.
    """

    first_ns: int
    last_ns: int
    offset_ns: int
    mono_ns: int
    is_held: bool = False
    since_mono_ns: int = 0


class MissedSpan(NamedTuple):
    """Between two timestamps, both exclusive, so many polls fell out; `is_held`: by the steady clock."""

    cycles: int
    first_ns: int
    last_ns: int
    is_held: bool


class _Missed(NamedTuple):
    """So many polls that fell out around the read `late`, after the read `before`, if there was one."""

    cycles: int
    interval_ns: int
    before: Round | None
    late: Round


class Rounds:
    """The last reads of one machine since its last loss, and the polls that fell out around the newest.

    `heard` is what the read that is under way has brought so far.
    """

    def __init__(self, mono_ns: int) -> None:
        self.heard: Round | None = None
        self._since_mono_ns = mono_ns
        self._before: Round | None = None
        self._newest: Round | None = None
        self._missed: _Missed | None = None

    def begin(self) -> None:
        """What is heard from here on is of one read."""
        self.heard = None

    def end(self) -> list[MissedSpan]:
        """That was what one read brought; return where the polls are missing that fell out before it."""
        heard, newest = self.heard, self._newest
        if heard is None:
            return []
        found = self._split(heard)
        since_ns = self._since_mono_ns if newest is None else newest.mono_ns
        self._before, self._newest = newest, heard._replace(since_mono_ns=since_ns)
        return found

    def miss(self, cycles: int, interval_ns: int) -> None:
        """So many polls fell out around the newest read; where, the next one shows."""
        if self._newest is not None:
            self._missed = _Missed(cycles, interval_ns, self._before, self._newest)

    def break_off(self, mono_ns: int) -> list[MissedSpan]:
        """The machine is lost: what comes next does not follow what was. Return as `end` does."""
        found = self._split(None)
        self._before = self._newest = None
        self._since_mono_ns = mono_ns
        return found

    def _split(self, after: Round | None) -> list[MissedSpan]:
        """Tell the polls that fell out before the late one from those after it, if that is known."""
        missed, self._missed = self._missed, None
        if missed is None:
            return []
        later = 0
        if after is not None:
            passed = round(measure_between(missed.late, after) / missed.interval_ns)
            later = min(missed.cycles, max(0, passed - 1))
        spans = [(missed.cycles - later, missed.before, missed.late), (later, missed.late, after)]
        # Where there is no read before it there was a loss, whose gap covers that.
        return [find_span(count, one, two) for count, one, two in spans if count and one and two]


def measure_between(before: Round, after: Round) -> int:
    """Return the nanoseconds from one read's last timestamp to another's first, by the steady clock."""
    span_ns = after.first_ns - before.last_ns
    step_ns = after.offset_ns - before.offset_ns
    choices = [span_ns]
    if abs(step_ns) >= STEP_NS:
        # The clock of a machine that has one was not set.
        own = [] if before.is_held or after.is_held else [span_ns]
        choices = [span_ns - step_ns, *own]
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
