"""Says once that the clock cannot be right, and once what its values were given when it was set."""

from collections.abc import Iterable

import structlog

from edge.outbox.held import Unknown
from edge.polling.clock import CLOCK_MEND
from edge.polling.clock_doubt import AHEAD_S, NS_PER_S, PATIENCE_S, SLACK_S, ClockJudge, Doubt
from edge.polling.clock_keeper import ClockKeeper
from models.words import say_duration, say_instant

log = structlog.get_logger()


class ClockNews:
    """What was said of the keeper last."""

    def __init__(self) -> None:
        self._doubt_said: Doubt = ""
        self._restamped_said = 0
        self._dropped_said = 0
        self._steps_said = 0

    def tell(self, keeper: ClockKeeper, dropped_total: int = 0) -> None:
        """Say what is new; `dropped_total` counts those that had to go from the disk."""
        judge = keeper.judge
        if judge.doubt and judge.doubt != self._doubt_said:
            self._tell_doubt(judge)
        elif self._doubt_said and not judge.doubt:
            self._tell_set(keeper)
        if judge.steps_total > self._steps_said:
            self._steps_said = judge.steps_total
            self._tell_step(judge.step_ns)
        dropped_total += keeper.values_dropped_total
        if dropped_total > self._dropped_said and not judge.doubt:
            log.error(
                "values_dropped",
                values=dropped_total - self._dropped_said,
                reason="the clock was wrong for longer than there was room to keep values for",
                mend=CLOCK_MEND,
            )
            self._dropped_said = dropped_total
        self._doubt_said = judge.doubt

    def tell_restamped(self, count: int) -> None:
        """Say that values which waited on the disk, maybe since an earlier run, have their true time now."""
        if count:
            log.info("values_restamped", values=count)

    def tell_unknown(self, unknown: Iterable[Unknown]) -> None:
        """Say which values will never get their true time."""
        for one in unknown:
            log.error(
                "values_without_time",
                machine=str(one.machine),
                values=one.count,
                reason="power went before the clock was set: nobody knows when these were read",
                keeping="they are recorded as a gap, not stored",
                mend=f"{CLOCK_MEND}; a battery-backed clock (RTC) keeps the time without power",
            )

    def tell_end(self, keeper: ClockKeeper, on_disk: int) -> None:
        """Say what becomes of what waits when the program ends before the clock was set."""
        if keeper.values_held:
            log.error(
                "values_dropped",
                values=keeper.values_held,
                reason="the program ends, the clock was never set, and the disk did not take these",
                mend="let the disk take values before you stop the agent",
            )
        if on_disk:
            log.warning(
                "values_wait_for_clock",
                values=on_disk,
                keeping="they are in the outbox by the time since the computer's start",
                mend="start the gateway again before the computer is switched off, and set the clock",
            )

    def _tell_step(self, by_ns: int) -> None:
        by, keeping = say_duration(abs(by_ns) / 1e9), "what was read before carries the time of then"
        if -SLACK_S * NS_PER_S <= by_ns < 0:
            keeping = "until it shows more than before, values come just after the last one, in their order"
        elif by_ns < 0:
            keeping = f"{keeping}, in the future; what is read now carries its true time, among those"
        log.warning(
            "clock_stepped",
            by=f"-{by}" if by_ns < 0 else by,
            reason="the clock of this computer was set",
            keeping=keeping,
        )

    def _tell_doubt(self, judge: ClockJudge) -> None:
        reasons: dict[Doubt, str] = {
            "behind": f"the clock shows a time before {say_instant(judge.floor_ns)}: it cannot be right",
            "ahead": f"the clock jumped ahead by more than {say_duration(AHEAD_S)}, no time server says so",
            "unset": "the computer has just started and its clock is not synchronised yet",
        }
        event = f"clock_{judge.doubt}"
        log.warning(
            event,
            reason=reasons[judge.doubt],
            keeping="values wait on the disk, with the time since the computer's start, until it is set",
            mend=CLOCK_MEND,
        )

    def _tell_set(self, keeper: ClockKeeper) -> None:
        restamped = keeper.values_restamped_total - self._restamped_said
        self._restamped_said = keeper.values_restamped_total
        if keeper.judge.is_believed_unproven:
            log.warning(
                "clock_believed",
                values=restamped,
                reason=f"it does not go with what it showed before, and was not set within {PATIENCE_S} s",
                mend="is it right? Then it was wrong before, and there is nothing to do",
            )
        elif abs(keeper.judge.moved_ns) >= NS_PER_S:
            log.info("clock_set", values=restamped, moved_by=say_duration(abs(keeper.judge.moved_ns) / 1e9))
        else:
            log.info("clock_right", values=restamped)
