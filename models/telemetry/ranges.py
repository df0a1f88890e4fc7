"""Sets of sequence numbers kept as inclusive ranges: small however many numbers they hold."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self

Range = tuple[int, int]


class SequenceRanges:
    """A set of whole numbers as sorted, disjoint, non-adjacent inclusive ranges."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """Return the set of `numbers`, in any order."""
        found = cls()
        for number in sorted(numbers):
            found.add(number)
        return found

    def add(self, first: int, last: int | None = None) -> None:
        """Put `first`..`last` (inclusive; only `first` without `last`) into the set."""
        last = first if last is None else last
        if last < first:
            raise ValueError(f"range {first}..{last} is backwards")
        if self._lasts and first == self._lasts[-1] + 1:  # the common case: the next number
            self._lasts[-1] = last
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def update(self, other: Iterable[Range]) -> None:
        """Put every range of `other` into the set."""
        for first, last in other:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    def __iter__(self) -> Iterator[Range]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        """Return how many ranges there are (not numbers: see `total`)."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceRanges) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"SequenceRanges({list(self)})"

    __hash__ = None  # type: ignore[assignment]  # a set that changes has no hash

    @property
    def total(self) -> int:
        """How many numbers are in the set."""
        return sum(last - first + 1 for first, last in self)

    def minus(self, other: "SequenceRanges") -> "SequenceRanges":
        """Return the numbers that are here and not in `other`."""
        left = SequenceRanges()
        cuts = list(other)
        at = 0
        for first, last in self:
            while at < len(cuts) and cuts[at][1] < first:
                at += 1
            cursor, probe = first, at
            while probe < len(cuts) and cuts[probe][0] <= last:
                if cuts[probe][0] > cursor:
                    left.add(cursor, cuts[probe][0] - 1)
                cursor = max(cursor, cuts[probe][1] + 1)
                probe += 1
            if cursor <= last:
                left.add(cursor, last)
        return left
