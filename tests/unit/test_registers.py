"""Which registers are read together, and that every wanted one is read once."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus import planning
from edge.drivers.modbus.planning import plan_blocks, split_block
from edge.drivers.modbus.register_types import RegisterType, count_words
from edge.drivers.modbus.registers import Limits, Table, Wanted, is_bit_table

WORD_TYPES: list[RegisterType] = ["int16", "uint32", "float32", "float64", "uint64"]
TABLES: list[Table] = ["holding", "input", "coil", "discrete"]


def want(address: int, kind: RegisterType = "uint16", table: Table = "holding") -> Wanted:
    return Wanted(f"{table}.{address}", table, address, kind)


@st.composite
def spread_values(draw: st.DrawFn) -> list[Wanted]:
    """Return values that do not overlap, in any order, in any of the tables."""
    wanted: list[Wanted] = []
    for table in draw(st.sets(st.sampled_from(TABLES), min_size=1)):
        address = draw(st.integers(0, 500))
        for gap in draw(st.lists(st.integers(0, 40), min_size=1, max_size=60)):
            kind: RegisterType = "bool" if is_bit_table(table) else draw(st.sampled_from(WORD_TYPES))
            value = want(address + gap, kind, table)
            wanted.append(value)
            address = value.end
    return draw(st.permutations(wanted))


@given(spread_values(), st.integers(0, 20), st.integers(4, 125), st.integers(1, 300))
def test_every_wanted_register_is_read_exactly_once(
    wanted: list[Wanted], gap_max: int, words_max: int, bits_max: int
) -> None:
    """Each value lies whole in one block, no register is asked for twice, and no block is too large."""
    limits = Limits(gap_max, words_max, bits_max)
    blocks = plan_blocks(wanted, limits)
    assert Counter(value.name for block in blocks for value in block.wanted) == Counter(
        value.name for value in wanted
    )
    for block in blocks:
        assert all(
            value.table == block.table
            and block.address <= value.address
            and value.end <= block.address + block.count
            for value in block.wanted
        )
        assert block.count <= (bits_max if is_bit_table(block.table) else words_max)
    asked = Counter(
        (block.table, at) for block in blocks for at in range(block.address, block.address + block.count)
    )
    assert max(asked.values()) == 1


@given(spread_values(), st.integers(0, 20))
def test_no_gap_wider_than_allowed_is_read_through(wanted: list[Wanted], gap_max: int) -> None:
    """Between two neighbours in a block lie at most `gap_max` unwanted registers (16 times that in bits)."""
    for block in plan_blocks(wanted, Limits(gap_max)):
        allowed = 16 * gap_max if is_bit_table(block.table) else gap_max
        ordered = sorted(block.wanted, key=lambda value: value.address)
        for left, right in pairwise(ordered):
            assert right.address - left.end <= allowed


@given(spread_values(), st.integers(0, 20))
def test_neighbours_are_read_together_where_they_fit(wanted: list[Wanted], gap_max: int) -> None:
    """A block ends only where the gap is too wide or the request would be too large."""
    limits = Limits(gap_max)
    blocks = plan_blocks(wanted, limits)
    for left, right in pairwise(blocks):
        if left.table == right.table:
            bits = is_bit_table(left.table)
            gap = right.address - (left.address + left.count)
            together = right.wanted[0].end - left.address
            assert gap > (16 * gap_max if bits else gap_max) or together > (
                limits.bits_max if bits else limits.words_max
            )


def test_a_thousand_registers_take_eight_requests() -> None:
    """1,000 neighbouring registers are 8 requests of 125."""
    blocks = plan_blocks([want(at) for at in range(1_000)], Limits())
    assert [(block.address, block.count) for block in blocks] == [(125 * n, 125) for n in range(8)]


def test_bits_of_one_register_and_overlapping_values_are_read_once() -> None:
    """Sixteen bits of a status word are one register, also beside a number that overlaps them."""
    bits = [Wanted(f"bit {bit}", "holding", 7, "bool", bit) for bit in range(16)]
    (block,) = plan_blocks([*bits, want(6, "uint32")], Limits())
    assert (block.address, block.count, len(block.wanted)) == (6, 2, 17)


def test_a_block_splits_into_halves_that_read_only_what_they_want() -> None:
    """Halving leaves the gap between the halves unread: the gap itself may be what is refused."""
    (block,) = plan_blocks([want(0), want(1), want(9, "float32"), want(11)], Limits())
    left, right = split_block(block, Limits())
    assert (left.address, left.count) == (0, 2)
    assert (right.address, right.count) == (9, 3)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("bool", 1), ("int16", 1), ("uint32", 2), ("float32", 2), ("int64", 4), ("float64", 4)],
)
def test_a_type_takes_as_many_registers_as_it_has_words(kind: RegisterType, words: int) -> None:
    """16, 32 and 64 bits are 1, 2 and 4 registers."""
    assert count_words(kind) == words


def count_calls(calls: Counter[str], name: str, method: Callable[..., object]) -> Callable[..., object]:
    """Return the method, counting its calls."""

    def counted(*given: object) -> object:
        calls[name] += 1
        return method(*given)

    return counted


def test_planning_looks_at_each_value_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether values follow each other or lie apart: the time grows as their number does."""
    looks = Counter[str]()
    for name in ("grow", "enclose"):
        look = getattr(planning._Reach, name)

        monkeypatch.setattr(planning._Reach, name, count_calls(looks, name, look))
    for step in (1, 3, 60):
        looks.clear()
        wanted = [want(at * step) for at in range(1_000)]
        blocks = plan_blocks(reversed(wanted), Limits(gap_max=8))
        assert looks["grow"] <= len(wanted)
        assert looks["enclose"] == len(blocks)
