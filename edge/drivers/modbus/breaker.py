"""When to leave a silent unit alone, so that its neighbours on the line need not wait for it."""

MISSES_MAX = 2
"""So many requests without an answer in a row, and the unit is only asked now and then."""

PROBE_S_MIN = 5.0
PROBE_S_MAX = 60.0

ANSWER_SHARE = 4.0
PROBE_TIMEOUT_S_MIN = 0.1
"""A probe waits for so many times the slowest of the unit's answers, and at least for so long."""

FADING = 0.95
"""How much of the slowest answer is remembered over each that is faster."""


class Breaker:
    """Counts one unit's misses. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.misses = 0
        self._probe_at_s = 0.0
        self._slowest_s = 0.0

    def take_miss(self, now_s: float) -> None:
        """The unit did not answer: from the second time on wait, longer each time."""
        self.misses += 1
        beyond = self.misses - MISSES_MAX
        if beyond >= 0:
            self._probe_at_s = now_s + min(PROBE_S_MAX, PROBE_S_MIN * 2.0 ** min(beyond, 10))

    def take_answer(self, after_s: float) -> None:
        """The unit answered: its misses are forgotten."""
        self.misses = 0
        self._slowest_s = max(after_s, FADING * self._slowest_s)

    def count_wait_s(self, now_s: float) -> float:
        """Return how long the unit is left alone still; 0 when it may be asked."""
        return max(0.0, self._probe_at_s - now_s) if self.misses >= MISSES_MAX else 0.0

    def choose_timeout_s(self, timeout_s: float) -> float:
        """Return how long a probe waits: short at first, twice as long each time, up to `timeout_s`.

        A unit that never answered may be slow: it gets the whole time.
        """
        beyond = self.misses - MISSES_MAX
        if beyond < 0 or not self._slowest_s:
            return timeout_s
        short_s = max(PROBE_TIMEOUT_S_MIN, ANSWER_SHARE * self._slowest_s)
        return float(min(timeout_s, short_s * 2.0 ** min(beyond, 10)))
