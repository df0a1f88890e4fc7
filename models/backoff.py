"""How long to wait before trying again: longer each time, never all at the same instant."""

import random

DOUBLINGS_MAX = 30


def choose_delay_s(attempt: int, first_s: float, longest_s: float) -> float:
    """Return how long to wait after the `attempt`-th try: doubling from `first_s`, at most `longest_s`.

    Each is shortened by up to half at random, so that what failed together does not come back together.
    """
    full = min(longest_s, first_s * 2.0 ** min(attempt - 1, DOUBLINGS_MAX))
    return full * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the load; guards nothing


class Backoff:
    """The delays of a loop that counts its tries here."""

    def __init__(self, first_s: float = 0.1, longest_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._attempt = 0

    def next_delay_s(self) -> float:
        """Return how long to wait now."""
        self._attempt += 1
        return choose_delay_s(self._attempt, self._first_s, self._longest_s)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._attempt = 0
