"""Which blocks of registers to read for the wanted values: few, large, as the machine takes them. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import groupby

from edge.drivers.modbus.registers import (
    ADDRESS_MAX,
    Block,
    Limits,
    Quirks,
    Span,
    Table,
    Wanted,
    is_bit_table,
)


class CannotBeRead(ValueError):
    """A value that no request can reach: what the machine insists on contradicts itself there."""


def plan_blocks(wanted: Iterable[Wanted], limits: Limits) -> list[Block]:
    """Return few large requests, in the order of tables and addresses, that read every wanted value whole.

    A value lies in exactly one block; a register is read once, unless values overlap across a block's end or
    the quirks make blocks overlap. After sorting, each value is looked at once: time grows as the number of
    values does. Raises `CannotBeRead` for a value that does not fit into any request by itself.
    """
    blocks: list[Block] = []
    ordered = sorted(wanted, key=lambda value: (value.table, value.address, value.end))
    for table, values in groupby(ordered, key=lambda value: value.table):
        reach = _Reach(table, limits)
        taken: list[Wanted] = []
        first = end = 0
        for value in values:
            grown = reach.grow(first, end, value) if taken else None
            if grown is not None:
                end = grown
            else:
                if taken:
                    blocks.append(Block(table, first, end - first, tuple(taken)))
                taken = []
                first, end = reach.enclose(value.address, value.end)
            taken.append(value)
        blocks.append(Block(table, first, end - first, tuple(taken)))
    return blocks


def split_block(block: Block, limits: Limits) -> list[Block]:
    """Return the two halves of a block of two values or more, each reading only what it must."""
    middle = len(block.wanted) // 2
    # Planned anew: rounded up from another start, a half may have to be two requests.
    return [
        part for half in (block.wanted[:middle], block.wanted[middle:]) for part in plan_blocks(half, limits)
    ]


class _Reach:
    """How far a request has to reach, and may, in one table."""

    def __init__(self, table: Table, limits: Limits) -> None:
        bits, quirks = is_bit_table(table), limits.quirks
        self._table = table
        self._is_single = table in quirks.single
        self._count_max = limits.bits_max if bits else limits.words_max
        self._gap_max = limits.gap_max * 16 if bits else limits.gap_max
        self._start_multiple = 1 if bits else quirks.start_multiple
        self._count_multiple = 1 if bits else quirks.count_multiple
        self._whole = _Spans(span for span in quirks.whole if span.table == table)
        self._skip = _Spans(span for span in quirks.skip if span.table == table)
        self._is_plain = quirks == Quirks()

    def grow(self, first: int, end: int, value: Wanted) -> int | None:
        """Return the end of the block from `first` that reads this value too; None when there may be none."""
        if self._is_single and not self._is_plain:
            return end if value.end <= end else None
        if value.address - end > self._gap_max:
            return None
        grown = max(end, value.end)
        if self._is_plain:
            return grown if grown - first <= self._count_max else None
        try:
            return self.enclose(first, grown)[1]
        except CannotBeRead:
            return None

    def enclose(self, first: int, end: int) -> tuple[int, int]:
        """Return the smallest request that reads [first, end): its first address, and the one behind it."""
        wanted = (first, end)
        while not self._is_plain:
            before = (first, end)
            first, end = self._whole.widen(first - first % self._start_multiple, end)
            end = first + -(-(end - first) // self._count_multiple) * self._count_multiple
            if (first, end) == before:
                break
        reason = self._find_fault(first, end)
        if reason:
            together = (
                f" can only be read as {first}..{end - 1}" if (first, end) != wanted else " cannot be read"
            )
            raise CannotBeRead(f"{self._table} {wanted[0]}..{wanted[1] - 1}{together}: {reason}")
        return first, end

    def _find_fault(self, first: int, end: int) -> str:
        if end - first > self._count_max:
            return f"these are {end - first}, and a request may ask for {self._count_max}"
        if end > ADDRESS_MAX + 1:
            return f"the last address is {ADDRESS_MAX}"
        skipped = self._skip.find(first, end)
        return "" if skipped is None else f"skip forbids {skipped.first}..{skipped.end - 1}"


class _Spans:
    """Spans of one table, none overlapping another, in the order of their addresses."""

    def __init__(self, spans: Iterable[Span]) -> None:
        ordered = sorted(spans, key=lambda span: span.first)
        self._spans = ordered
        self._firsts = [span.first for span in ordered]
        self._ends = [span.end for span in ordered]

    def widen(self, first: int, end: int) -> tuple[int, int]:
        """Return [first, end) with every span that it touches taken in whole."""
        low, high = bisect_right(self._ends, first), bisect_left(self._firsts, end)
        if low >= high:
            return first, end
        return min(first, self._firsts[low]), max(end, self._ends[high - 1])

    def find(self, first: int, end: int) -> Span | None:
        """Return a span that [first, end) touches."""
        at = bisect_right(self._ends, first)
        return self._spans[at] if at < len(self._spans) and self._firsts[at] < end else None
