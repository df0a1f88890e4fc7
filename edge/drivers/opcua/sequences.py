"""The numbers of a subscription's messages: which are missing. Pure."""

MISSING_MAX = 1_000
"""A greater step than this is a server that counts anew, not so many lost messages."""

_LAST = 2**32 - 1


class Sequence:
    """Follows the numbers 1, 2, 3 ... 2^32-1, 1 ... of one subscription's messages (OPC 10000-4, 5.14.5)."""

    def __init__(self) -> None:
        self._last: int | None = None

    def hear(self, number: int) -> list[int]:
        """Return the numbers missing before this one."""
        last, self._last = self._last, number
        if last is None:
            return []
        step = (number - last) % _LAST
        if not 1 < step <= MISSING_MAX:
            if step > MISSING_MAX:  # an older one that comes late is not where to go on from
                self._last = last if _LAST - step <= MISSING_MAX else number
            return []
        return [(last + at - 1) % _LAST + 1 for at in range(1, step)]
