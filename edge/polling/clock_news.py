"""Says once that the clock cannot be right, and once what its values were given when it was set."""

import structlog

from edge.polling.clock import CLOCK_MEND
from edge.polling.clock_keeper import NS_PER_S, PATIENCE_S, ClockKeeper
from models.words import say_duration, say_instant

log = structlog.get_logger()


class ClockNews:
    """What was said of the keeper last."""

    def __init__(self) -> None:
        self._behind_said = False
        self._restamped_said = 0
        self._dropped_said = 0

    def tell(self, keeper: ClockKeeper) -> None:
        """Say what is new."""
        if keeper.is_behind and not self._behind_said:
            log.warning(
                "clock_behind",
                reason=f"the clock shows a time before {say_instant(keeper.floor_ns)}: it cannot be right",
                keeping=f"keeping up to {keeper.held_values_max} values in memory until it is set",
                mend=CLOCK_MEND,
            )
        elif self._behind_said and not keeper.is_behind:
            self._tell_set(keeper)
        if keeper.values_dropped_total > self._dropped_said and not keeper.is_behind:
            log.error(
                "values_dropped",
                values=keeper.values_dropped_total - self._dropped_said,
                reason="the clock was wrong for longer than memory could keep values for",
                mend=CLOCK_MEND,
            )
            self._dropped_said = keeper.values_dropped_total
        self._behind_said = keeper.is_behind

    def tell_end(self, keeper: ClockKeeper) -> None:
        """Say what is lost when the program ends before the clock was set."""
        if keeper.values_held:
            log.error(
                "values_dropped",
                values=keeper.values_held,
                reason="the program ends, and the clock was never set: nobody knows when these were read",
                mend=CLOCK_MEND,
            )

    def _tell_set(self, keeper: ClockKeeper) -> None:
        restamped = keeper.values_restamped_total - self._restamped_said
        self._restamped_said = keeper.values_restamped_total
        if keeper.shift_ns >= NS_PER_S:
            log.info("clock_set", values=restamped, moved_by=say_duration(keeper.shift_ns / 1e9))
        else:
            log.warning(
                "clock_believed",
                values=restamped,
                reason=f"it shows less than the outbox's files, and was not set within {PATIENCE_S} s",
                mend="is it right? Then it was ahead when they were written, and there is nothing to do",
            )
