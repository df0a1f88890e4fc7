"""How far one machine is acquired, and which gaps its losses leave behind. Pure: times come in."""

from collections.abc import Iterable, Sequence

import msgspec

from edge.polling.causes import Cause, Loss, Waiting, join_waiting
from edge.polling.rounds import STEP_NS, MissedSpan, Round, Rounds
from edge.polling.tag_spans import Return, TagSpans, limit_spans
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
WAITING_MAX = 200
"""So many gaps of a time without a right clock are told apart; beyond it the oldest cover too much."""
HELD_MARGIN_NS = 1_000_000
"""What was held gets its time by another look at the clocks: by so much a gap keeps away from it."""
FILLABLE: frozenset[GapReason] = frozenset(("connection_lost", "gateway_down", "polling_stopped"))


class Pace(msgspec.Struct, frozen=True):
    """How a machine's news come, in nanoseconds.

    `lag_ns`: one tag's news may be so much behind another's (subscriptions of differing intervals).
    `quiet_ns`: when nothing was said for so long, there was nothing to say.
    """

    lag_ns: int = 0
    quiet_ns: int = QUIET_NS


class MachineGaps:
    """Everything of the machine up to `reached_ns` is acquired, or stands in a gap that `take` has given.

    `now_ns` is the gateway's clock, `mono_ns` one that is never set; timestamps are the machine's own.
    `begun_ns`: since when it is to be read, 0 while the clock is wrong; `reached_ns`: how far it was acquired
    before, 0 when it never was (who knows that it was says `lose` with the reason why it no longer is).
    While the clock is wrong only `hold` is called, and `admit` of what a machine with its own clock stamped.
    """

    def __init__(self, begun_ns: int, mono_ns: int, reached_ns: int = 0, pace: Pace | None = None) -> None:
        self.reached_ns = reached_ns
        self.pace = pace or Pace()
        self._begun_ns = begun_ns
        self._begun_mono_ns = mono_ns
        self._mono_ns: int | None = None
        """When it had come as far as it has, by the steady clock; None: nothing was acquired yet."""
        self._is_held = False
        """Whether what was acquired last waits for the clock, so that `reached_ns` is behind."""
        self._awaits_clock = not begun_ns
        self._lead_ns: int | None = None
        """What the machine's clock shows more than the steady one: seen from here, by its newest news."""
        self._lead_ns_max = 0
        self._offset_ns = 0
        self._begins_anew = True
        self._last_of: dict[str, int] = {}
        self._ready: list[Gap] = []
        self._ended: list[Gap] = []
        self._waiting: list[Waiting] = []
        self._loss: Loss | None = None
        self._return: Return | None = None
        self._rounds = Rounds(mono_ns)
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
        cause = Cause(reason, detail[:GAP_DETAIL_CHARS_MAX], mono_ns)
        if self._loss is not None:
            self._loss.add(cause)
            return
        self._tell_missed(self._rounds.break_off(mono_ns))
        begun_ns = self._mono_ns
        if begun_ns is None:
            begun_ns = mono_ns if self.reached_ns else self._begun_mono_ns
        elif self._is_held:
            begun_ns += HELD_MARGIN_NS
        self._loss = Loss(0 if self._is_held else self.mark_ns, begun_ns, [cause])
        self._return = None

    def connect(self, mono_ns: int) -> None:
        """The machine answers: what it says from here on is acquired."""
        if self._loss is not None:
            self._loss.back_mono_ns = mono_ns
        self._begins_anew = True

    def hold(self, first_mono_ns: int, last_mono_ns: int) -> None:
        """What it said then, by the steady clock, is acquired and waits for the clock to be set."""
        loss, self._loss = self._loss, None
        if loss is not None:
            cause, last_ns = loss.choose_cause(first_mono_ns), first_mono_ns - HELD_MARGIN_NS
            self._wait(Waiting(loss.first_ns, loss.begun_mono_ns, last_ns, cause.reason, cause.detail))
        self._mono_ns, self._is_held, self._awaits_clock = last_mono_ns, True, True
        self._rounds.heard = Round(first_mono_ns, last_mono_ns, 0, last_mono_ns, is_held=True)

    def believe(self, now_ns: int, mono_ns: int) -> None:
        """The clock is right: what was held, and what was missing meanwhile, gets its true time."""
        if not self._awaits_clock:
            return
        offset_ns, self._awaits_clock = now_ns - mono_ns, False
        self._begun_ns = self._begun_ns or self._begun_mono_ns + offset_ns
        if self._is_held and self._mono_ns is not None:
            self._is_held = False
            self._reach(self._mono_ns + offset_ns)
        if self._loss is not None:
            self._loss.first_ns = self._loss.first_ns or self._loss.begun_mono_ns + offset_ns
        waiting, self._waiting = self._waiting, []
        for gap in (one.place(offset_ns) for one in waiting):
            if gap is not None:
                self._record(gap)

    def miss(self, cycles: int, interval_ns: int) -> None:
        """So many polls fell out, around the newest one."""
        if self._loss is None:
            self._tell_missed(self._rounds.miss(cycles, interval_ns))

    def begin_round(self) -> None:
        """What is admitted, held, seen or heard from here on is of one read."""
        self._rounds.heard = None

    def end_round(self) -> None:
        """That was what one read brought."""
        found = self._rounds.end()
        if found:
            self._tell_missed(found)

    def admit(self, frames: Sequence[Frame], now_ns: int, mono_ns: int, *, is_own: bool = False) -> None:
        """These frames are acquired; `is_own`: `now_ns` is the machine's time, while the clock is wrong."""
        if not frames:
            return
        first, newest = frames[0].timestamps[0], frames[0].timestamps[-1]
        if len(frames) > 1:
            first = min([frame.timestamps[0] for frame in frames])
            newest = max([frame.timestamps[-1] for frame in frames])
        if self._loss is not None or self._return is not None:
            self._end_gaps(frames, now_ns, mono_ns)
        if newest > self._admitted_ns or self._admitted_ns > now_ns + AHEAD_NS:
            self._admitted_ns = newest
        # News older than silence seemed to allow: a clock was set, or they took their time.
        self.reached_ns = newest if newest > self.reached_ns else self._admitted_ns
        self._mono_ns, self._is_held = mono_ns, False
        lead_ns, offset_ns = newest - mono_ns, now_ns - mono_ns
        if lead_ns > self._lead_ns_max or self._begins_anew or abs(offset_ns - self._offset_ns) > STEP_NS:
            self._lead_ns_max, self._begins_anew = lead_ns, False
        self._lead_ns, self._offset_ns = lead_ns, offset_ns
        self._rounds.heard = Round(first, newest, offset_ns, mono_ns, is_own=is_own)
        if self.pace.lag_ns:
            for frame in frames:
                self._last_of.update(dict.fromkeys(frame.values, frame.timestamps[-1]))

    def see(self, seen_ns: int, now_ns: int, mono_ns: int) -> None:
        """It was read up to here, though not all of it is worth reporting."""
        heard = self._rounds.heard
        first_ns = seen_ns if heard is None else min(heard.first_ns, seen_ns)
        self._rounds.heard = Round(first_ns, seen_ns, now_ns - mono_ns, mono_ns)
        if self._loss is None:
            self._reach(seen_ns)
            self._mono_ns = mono_ns

    def hear(self, now_ns: int, mono_ns: int, silence_ns: int = 0) -> None:
        """There is nothing new; its last sign of life is `silence_ns` old. Silence is no gap."""
        heard_ns, quiet_ns = mono_ns - silence_ns, self.pace.quiet_ns
        if self._loss is not None:
            back_ns = self._loss.back_mono_ns
            if back_ns is not None and heard_ns - back_ns > SETTLE_NS + quiet_ns:
                self._forget_future(self._loss, now_ns, mono_ns)
                self._close(self._find_time(back_ns, now_ns, mono_ns), now_ns, mono_ns)
                self._return = None
        elif self._lead_ns is not None and self._mono_ns is not None:
            known_ns = heard_ns - quiet_ns - self.pace.lag_ns
            self.reached_ns = max(self.reached_ns, known_ns + self._lead_ns)
            self._mono_ns = max(self._mono_ns, known_ns)
        if self._rounds.heard is None and self._lead_ns is not None:
            told_ns = mono_ns + self._lead_ns
            self._rounds.heard = Round(told_ns, told_ns, now_ns - mono_ns, mono_ns)

    def grow(self, now_ns: int, mono_ns: int, *, at_once: bool = False) -> None:
        """Record an open gap as far as it has come, when that is due (or `at_once`). The clock is right."""
        self.believe(now_ns, mono_ns)
        loss = self._loss
        if loss is None or not (loss.is_due(mono_ns) or at_once):
            return
        self._forget_future(loss, now_ns, mono_ns)
        last_ns = self._find_time(mono_ns, now_ns, mono_ns)
        if last_ns > loss.first_ns + 1:
            loss.told = cause = loss.choose_cause(mono_ns)
            self._ready.append(Gap(loss.first_ns, last_ns, cause.reason, detail=cause.detail))
            # What the next gap begins with lies before the end of this one: they leave no instant between.
            self.reached_ns = last_ns - 1

    # -- inside -----------------------------------------------------------------------------------------

    def _reach(self, known_ns: int) -> None:
        if known_ns > self.reached_ns or self.reached_ns - known_ns > AHEAD_NS:
            self.reached_ns = known_ns

    def _forget_future(self, loss: Loss, now_ns: int, mono_ns: int) -> None:
        """Begin the gap by the clock that is right now, where a wrong one stamped what was acquired last."""
        offset_ns = now_ns - mono_ns
        if loss.first_ns > now_ns + AHEAD_NS and abs(offset_ns - self._offset_ns) > STEP_NS:
            loss.first_ns, self._lead_ns = loss.begun_mono_ns + offset_ns, None

    def _find_time(self, at_mono_ns: int, now_ns: int, mono_ns: int) -> int:
        """Return what the machine's clock showed at an instant of the steady one."""
        return at_mono_ns + (now_ns - mono_ns if self._lead_ns is None else self._lead_ns_max)

    def _wait(self, waiting: Waiting) -> None:
        self._awaits_clock = True
        self._waiting.append(waiting)
        if len(self._waiting) > WAITING_MAX:
            self._waiting[:2] = [join_waiting(*self._waiting[:2])]

    def _record(self, gap: Gap) -> None:
        self._ready.append(gap)
        if gap.reason in FILLABLE:
            self._ended.append(gap)

    def _end_gaps(self, frames: Sequence[Frame], now_ns: int, mono_ns: int) -> None:
        starts: dict[str, int] = {}
        for frame in frames:
            for tag in frame.values:
                starts[tag] = min(starts.get(tag, frame.timestamps[0]), frame.timestamps[0])
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
            spans = self._return.find_spans(starts, self._last_of, self.pace.lag_ns)
            self._tell(self._return.gap, spans)

    def _close(self, last_ns: int, now_ns: int, mono_ns: int) -> None:
        """End the open gap at `last_ns`, for all tags; those that come later get gaps of their own."""
        loss, self._loss = self._loss, None
        assert loss is not None
        cause = loss.choose_cause(mono_ns)
        gap = Gap(loss.first_ns, max(last_ns, loss.first_ns + 1), cause.reason, detail=cause.detail)
        if gap.last - gap.first > 1:
            self._record(gap)
        self._return = Return(gap, now_ns + SETTLE_NS + self.pace.lag_ns)
        if loss.told is None:
            self.reached_ns = max(self.reached_ns, loss.first_ns)
        else:
            self.reached_ns = gap.last
        if not self._last_of and self.pace.lag_ns:  # begun anew: nobody knows which tag was behind
            self._tell(gap, {(max(0, gap.first - self.pace.lag_ns), gap.last): []})

    def _tell(self, gap: Gap, spans: TagSpans) -> None:
        for (first, last), tags in limit_spans(spans, GROUPS_MAX).items():
            told = msgspec.structs.replace(gap, first=first, last=last, tags=tags)
            self._ready.append(told)

    def _tell_missed(self, spans: Iterable[MissedSpan]) -> None:
        for cycles, first_ns, last_ns, is_held in spans:
            detail = f"{cycles} polls fell out: the ones before took too long"
            if is_held:
                span = first_ns + HELD_MARGIN_NS, last_ns - HELD_MARGIN_NS
                self._wait(Waiting(0, *span, "cycles_missed", detail))
            elif last_ns - first_ns > 1:
                self._ready.append(Gap(first_ns, last_ns, "cycles_missed", detail=detail))


def count_frames(frames: Iterable[Frame]) -> int:
    """Return how many values and readings without one the frames hold."""
    return sum(len(frame.timestamps) * len(frame.values) for frame in frames)
