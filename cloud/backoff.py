"""How long to wait before trying again: longer each time, never all at the same instant."""

import random


class Backoff:
    """Delays that double from `first_s` to `longest_s`, each shortened by up to half at random."""

    def __init__(self, first_s: float = 0.1, longest_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_delay_s(self) -> float:
        """Return how long to wait now."""
        delay = self._next_s
        self._next_s = min(self._longest_s, 2 * delay)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the load; guards nothing

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._next_s = self._first_s
