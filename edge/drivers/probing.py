"""When to ask again for what a machine has refused: soon at first, then ever less often."""

PROBE_DELAY_S = 10.0
PROBE_DELAY_S_MAX = 120.0


class ProbeClock:
    """Counts down to the next try. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._delay_s = PROBE_DELAY_S
        self._at_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Return whether something waits and its time has come."""
        return self._at_s is not None and now_s >= self._at_s

    def begin(self, now_s: float) -> None:
        """Something waits from now on; a countdown that runs already goes on."""
        if self._at_s is None:
            self._at_s = now_s + self._delay_s

    def back_off(self, now_s: float) -> None:
        """The try failed: wait twice as long for the next."""
        self._delay_s = min(2 * self._delay_s, PROBE_DELAY_S_MAX)
        self._at_s = now_s + self._delay_s

    def reset(self) -> None:
        """Nothing waits any more."""
        self._delay_s = PROBE_DELAY_S
        self._at_s = None
