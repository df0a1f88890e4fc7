"""How far one machine is acquired, and which gaps its losses leave behind. Pure: times come in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from models.telemetry import Frame, Gap, GapReason
from models.telemetry.gap import GAP_DETAIL_CHARS_MAX

NS_PER_S = 1_000_000_000
SETTLE_NS = 10 * NS_PER_S
"""So long after its return a machine may take to say every tag's first new value."""
QUIET_NS = 2 * NS_PER_S
"""News may be under way for so long beside the time that a subscription gathers it."""
AHEAD_NS = 300 * NS_PER_S
"""A last timestamp further than this in the future was a wrong clock's."""
GROUPS_MAX = 50
"""Tags of differing gaps are told apart up to here; beyond it a gap covers too much, never too little."""
CAUSES_MAX = 8
FILLABLE: frozenset[GapReason] = frozenset(("connection_lost", "gateway_down", "polling_stopped"))
GROW_FIRST_S = 15.0
GROW_S_MAX = 600.0
"""A gap that is still open is recorded as far as it has come after 15 s, 30 s, ..., then every 10 min."""


class Pace(msgspec.Struct, frozen=True):
    """How a machine's news come, in nanoseconds.

    `lag_ns`: one tag's news may be so much behind another's (subscriptions of differing intervals).
    `quiet_ns`: when nothing was said for so long, there was nothing to say.
    """

    lag_ns: int = 0
    quiet_ns: int = QUIET_NS


class _Cause(NamedTuple):
    reason: GapReason
    detail: str
    since_mono_ns: int


class _Loss(msgspec.Struct):
    """A gap that has begun. `first_ns` 0: before anything was ever acquired, by a clock that was wrong."""

    first_ns: int
    begun_mono_ns: int
    causes: list[_Cause]
    told: _Cause | None = None
    grow_at_s: float = GROW_FIRST_S
    back_at_ns: int = 0
    held_mono_ns: int = 0


class _Return(msgspec.Struct):
    """A gap that has ended, while tags may still say their first value after it."""

    gap: Gap
    until_ns: int
    seen: set[str] = msgspec.field(default_factory=set)


class MachineGaps:
    """Everything of the machine up to `reached_ns` is acquired, or stands in a gap that `take` has given.

    `now_ns` is the gateway's clock, `mono_ns` one that is never set; timestamps are the machine's own.
    `begun_ns`: since when it is to be read, 0 while the clock is wrong; `reached_ns`: how far it was acquired
    before, 0 when it never was (who knows that it was says `lose` with the reason why it no longer is).
    """

    def __init__(self, begun_ns: int, mono_ns: int, reached_ns: int = 0, pace: Pace | None = None) -> None:
        self.reached_ns = reached_ns
        self.pace = pace or Pace()
        self._begun_ns = begun_ns
        self._begun_mono_ns = mono_ns
        self._latency_ns: int | None = None
        """How old the newest news were when they came: what the machine's clock shows, seen from ours."""
        self._latency_ns_min = 0
        self._begins_anew = True
        self._last_of: dict[str, int] = {}
        self._ready: list[Gap] = []
        self._ended: list[Gap] = []
        self._loss: _Loss | None = None
        self._return: _Return | None = None
        self._missed: tuple[int, int, int, int] | None = None
        self._round_first_ns = 0
        self._admitted_ns = reached_ns

    @property
    def is_open(self) -> bool:
        """Whether nothing is being acquired now."""
        return self._loss is not None

    @property
    def mark_ns(self) -> int:
        """Where a gap would begin if the gateway ended now."""
        return self.reached_ns or self._begun_ns

    def take(self) -> list[Gap]:
        """Return the gaps to be recorded, with or before the values that end them; forget them."""
        ready, self._ready = self._ready, []
        return ready

    def take_ended(self) -> list[Gap]:
        """Return the gaps that have ended and that a machine's history may fill; forget them."""
        ended, self._ended = self._ended, []
        return ended

    # -- what happens -----------------------------------------------------------------------------------

    def lose(self, reason: GapReason, detail: str, mono_ns: int) -> None:
        """From here on nothing is acquired; said again, the reason may change."""
        cause = _Cause(reason, detail[:GAP_DETAIL_CHARS_MAX], mono_ns)
        if self._loss is None:
            self._split_missed(None)
            first_ns = self.reached_ns or self._begun_ns
            begun = mono_ns if self.reached_ns else self._begun_mono_ns
            self._loss = _Loss(first_ns, begun, [cause])
            self._return = None
            return
        causes = self._loss.causes
        self._loss.back_at_ns = 0
        if causes[-1][:2] != cause[:2] and len(causes) < CAUSES_MAX:
            causes.append(cause)

    def connect(self, now_ns: int) -> None:
        """The machine answers: what it says from here on is acquired."""
        if self._loss is not None:
            self._loss.back_at_ns = now_ns
        self._begins_anew = True

    def hold(self, mono_ns: int) -> None:
        """What it says is acquired and waits for the clock to be set: `admit` will never see it."""
        if self._loss is not None and not self._loss.held_mono_ns:
            self._loss.held_mono_ns = mono_ns

    def miss(self, cycles: int, interval_ns: int, before_ns: int) -> None:
        """So many polls fell out, around the newest one; the one before that had reached `before_ns`."""
        if self._loss is None and before_ns:
            self._missed = (cycles, interval_ns, before_ns, self._round_first_ns)

    def admit(self, frames: Sequence[Frame], now_ns: int, mono_ns: int) -> None:
        """These frames are acquired."""
        if not frames:
            return
        newest = max([frame.timestamps[-1] for frame in frames])
        self._round_first_ns = min([frame.timestamps[0] for frame in frames])
        if self._loss is not None or self._return is not None or self._missed is not None:
            self._end_gaps(frames, now_ns, mono_ns)
        if newest > self._admitted_ns or self._admitted_ns > now_ns + AHEAD_NS:
            self._admitted_ns = newest
        # News older than silence seemed to allow: a clock was set, or they took their time.
        self.reached_ns = newest if newest > self.reached_ns else self._admitted_ns
        self._latency_ns = latency_ns = now_ns - newest
        if self._begins_anew or latency_ns < self._latency_ns_min:
            self._latency_ns_min, self._begins_anew = latency_ns, False
        if self.pace.lag_ns:
            for frame in frames:
                self._last_of.update(dict.fromkeys(frame.values, frame.timestamps[-1]))

    def see(self, seen_ns: int) -> None:
        """It was read up to here, though not all of it is worth reporting."""
        if self._loss is None:
            self.reached_ns = max(self.reached_ns, seen_ns)

    def hear(self, now_ns: int, mono_ns: int, silence_ns: int = 0) -> None:
        """There is nothing new; its last sign of life is `silence_ns` old. Silence is no gap."""
        heard_ns = now_ns - silence_ns
        if self._loss is not None:
            back_ns = self._loss.back_at_ns
            if back_ns and heard_ns - back_ns > SETTLE_NS + self.pace.quiet_ns:
                self._close(back_ns - self._latency_ns_min, now_ns, mono_ns)
                self._return = None
        elif self._latency_ns is not None:
            known_ns = heard_ns - self._latency_ns - self.pace.quiet_ns - self.pace.lag_ns
            self.reached_ns = max(self.reached_ns, known_ns)

    def grow(self, now_ns: int, mono_ns: int, *, at_once: bool = False) -> None:
        """Record an open gap as far as it has come, when that is due (or `at_once`)."""
        loss = self._loss
        if loss is None or not loss.first_ns:
            return
        open_s = (mono_ns - loss.causes[0].since_mono_ns) / NS_PER_S
        if not at_once and open_s < loss.grow_at_s:
            return
        while loss.grow_at_s <= open_s:
            loss.grow_at_s += min(loss.grow_at_s, GROW_S_MAX)
        last_ns = now_ns - self._latency_ns_min
        if last_ns > loss.first_ns + 1:
            loss.told = loss.told or _choose_cause(loss.causes, mono_ns)
            self._ready.append(Gap(loss.first_ns, last_ns, loss.told.reason, detail=loss.told.detail))
            # What the next gap begins with lies before the end of this one: they leave no instant between.
            self.reached_ns = last_ns - 1

    # -- inside -----------------------------------------------------------------------------------------

    def _end_gaps(self, frames: Sequence[Frame], now_ns: int, mono_ns: int) -> None:
        if self._loss is None and self._return is None:  # a gateway at its limit misses polls all the time
            self._split_missed(self._round_first_ns)
            return
        starts: dict[str, int] = {}
        for frame in frames:
            for tag in frame.values:
                starts[tag] = min(starts.get(tag, frame.timestamps[0]), frame.timestamps[0])
        self._split_missed(min(starts.values()))
        loss = self._loss
        if loss is not None:
            if not loss.first_ns or loss.first_ns > now_ns + AHEAD_NS:
                loss.first_ns = max(0, min(starts.values()) - (mono_ns - loss.begun_mono_ns) - 1)
            fresh = [start for start in starts.values() if start > loss.first_ns]
            if not fresh:
                return
            self._close(min(fresh), now_ns, mono_ns)
        if self._return is not None and now_ns > self._return.until_ns:
            self._return = None
        if self._return is not None:
            self._tell_tags(self._return, starts)

    def _close(self, last_ns: int, now_ns: int, mono_ns: int) -> None:
        """End the open gap at `last_ns`, for all tags; those that come later get gaps of their own."""
        loss, self._loss = self._loss, None
        assert loss is not None
        cause = loss.told or _choose_cause(loss.causes, mono_ns)
        if loss.held_mono_ns:
            last_ns = min(last_ns, now_ns - (mono_ns - loss.held_mono_ns))
        gap = Gap(loss.first_ns, max(last_ns, loss.first_ns + 1), cause.reason, detail=cause.detail)
        if gap.last - gap.first > 1:
            self._ready.append(gap)
            if gap.reason in FILLABLE:
                self._ended.append(gap)
        if not loss.held_mono_ns:
            self._return = _Return(gap, now_ns + SETTLE_NS + self.pace.lag_ns)
        if loss.told is None:
            self.reached_ns = max(self.reached_ns, loss.first_ns)
        else:
            self.reached_ns = gap.last
        if not self._last_of and self.pace.lag_ns:  # begun anew: nobody knows which tag was behind
            self._tell(gap, {(max(0, gap.first - self.pace.lag_ns), gap.last): []})

    def _tell_tags(self, back: _Return, starts: dict[str, int]) -> None:
        """Record the gaps of tags that lasted longer than the machine's: they began before, or end later."""
        gap, lag_ns = back.gap, self.pace.lag_ns
        spans: dict[tuple[int, int], list[str]] = {}
        ends = {tag: start for tag, start in starts.items() if tag not in back.seen}
        if lag_ns and not back.seen:
            ends = dict.fromkeys(self._last_of, gap.last) | ends
        for tag, end in ends.items():
            first = max(self._last_of.get(tag, gap.first), gap.first - lag_ns) if lag_ns else gap.first
            if end > first + 1 and (first < gap.first or end > gap.last):
                spans.setdefault((first, end), []).append(tag)
        back.seen |= starts.keys()
        self._tell(gap, spans)

    def _tell(self, gap: Gap, spans: dict[tuple[int, int], list[str]]) -> None:
        for (first, last), tags in _limit(spans).items():
            told = msgspec.structs.replace(gap, first=first, last=last, tags=tags)
            self._ready.append(told)

    def _split_missed(self, next_ns: int | None) -> None:
        """Record the polls that fell out: before the late one, and after it when that is known."""
        if self._missed is None:
            return
        (cycles, interval_ns, before_ns, late_ns), self._missed = self._missed, None
        reached_ns = self.reached_ns
        after = 0 if next_ns is None else min(cycles, max(0, round((next_ns - late_ns) / interval_ns) - 1))
        for count, first, last in ((cycles - after, before_ns, late_ns), (after, reached_ns, next_ns or 0)):
            if count and last - first > 1:
                detail = f"{count} polls fell out: the ones before took too long"
                self._ready.append(Gap(first, last, "cycles_missed", detail=detail))


def _choose_cause(causes: list[_Cause], mono_ns: int) -> _Cause:
    """Return what lasted longest of the causes that followed each other; the others go into its words."""
    ends = [cause.since_mono_ns for cause in causes[1:]] + [mono_ns]
    spans = [end - cause.since_mono_ns for cause, end in zip(causes, ends, strict=True)]
    chosen = causes[spans.index(max(spans))]
    others = [cause.detail for cause in causes if cause.detail != chosen.detail]
    detail = "; also: ".join([chosen.detail, *dict.fromkeys(others)])
    return chosen._replace(detail=detail[:GAP_DETAIL_CHARS_MAX])


def _limit(spans: dict[tuple[int, int], list[str]]) -> dict[tuple[int, int], list[str]]:
    """Return the spans, those that are too many in groups of neighbours that each cover all of theirs."""
    if len(spans) <= GROUPS_MAX:
        return spans
    ordered = sorted(spans)
    size = -(-len(ordered) // GROUPS_MAX)
    grouped: dict[tuple[int, int], list[str]] = {}
    for at in range(0, len(ordered), size):
        part = ordered[at : at + size]
        hull = (min(first for first, _ in part), max(last for _, last in part))
        grouped.setdefault(hull, []).extend(tag for span in part for tag in spans[span])
    return grouped


def count_frames(frames: Iterable[Frame]) -> int:
    """Return how many values and readings without one the frames hold."""
    return sum(len(frame.timestamps) * len(frame.values) for frame in frames)
