"""What a machine insists on is kept by every request: multiples, spans whole or untouched, single reads."""

from math import ceil
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.drivers.modbus.planning import CannotBeRead, plan_blocks, split_block
from edge.drivers.modbus.register_types import RegisterType
from edge.drivers.modbus.registers import ADDRESS_MAX, Block, Limits, Quirks, Span, Table, Wanted
from edge.drivers.modbus.settings import ModbusMachineSettings

KINDS: list[RegisterType] = ["uint16", "float32", "float64"]


def want(address: int, kind: RegisterType = "uint16", table: Table = "holding") -> Wanted:
    return Wanted(f"{table}.{address}.{kind}", table, address, kind)


@st.composite
def spans(draw: st.DrawFn) -> tuple[Span, ...]:
    """Return spans that lie apart."""
    found, at = [], 0
    for _ in range(draw(st.integers(0, 4))):
        first = at + draw(st.integers(0, 60))
        at = first + draw(st.integers(1, 9))
        found.append(Span("holding", first, at))
    return tuple(found)


@st.composite
def quirks(draw: st.DrawFn) -> Quirks:
    """Return what a machine may insist on."""
    return Quirks(
        start_multiple=draw(st.sampled_from([1, 1, 2, 3, 4, 10])),
        count_multiple=draw(st.sampled_from([1, 1, 2, 4])),
        whole=draw(spans()),
        skip=draw(spans()),
        single=draw(st.sampled_from([frozenset(), frozenset(["holding"])])),
    )


@st.composite
def possible_values(draw: st.DrawFn, limits: Limits) -> list[Wanted]:
    """Return values that can each be read by themselves, overlapping or not, in any order."""
    places = st.tuples(st.integers(0, 200), st.sampled_from(KINDS))
    wanted = []
    for address, kind in draw(st.lists(places, min_size=1, max_size=40, unique=True)):
        try:
            plan_blocks([want(address, kind)], limits)
        except CannotBeRead:
            continue
        wanted.append(want(address, kind))
    assume(wanted)
    return wanted


def check(block: Block, limits: Limits) -> None:
    """See that a request breaks none of the rules."""
    rules, first, end = limits.quirks, block.address, block.address + block.count
    assert first % rules.start_multiple == 0
    assert block.count % rules.count_multiple == 0
    assert block.count <= limits.words_max
    assert end <= ADDRESS_MAX + 1
    assert all(first <= value.address and value.end <= end for value in block.wanted)
    assert not [span for span in rules.skip if span.first < end and first < span.end]
    torn = [span for span in rules.whole if span.first < end and first < span.end]
    assert all(first <= span.first and span.end <= end for span in torn)


@given(st.data(), quirks(), st.integers(0, 12), st.integers(16, 125))
def test_every_request_is_as_the_machine_wants_it(
    data: st.DataObject, rules: Quirks, gap_max: int, words_max: int
) -> None:
    """Every value is read by exactly one request that breaks no rule, and so is every half of a request."""
    limits = Limits(gap_max, words_max, quirks=rules)
    wanted = data.draw(possible_values(limits))
    blocks = plan_blocks(wanted, limits)
    assert sorted(value.name for block in blocks for value in block.wanted) == sorted(v.name for v in wanted)
    for block in blocks:
        check(block, limits)
        if len(block.wanted) > 1:
            halves = split_block(block, limits)
            assert [value for half in halves for value in half.wanted] == list(block.wanted)
            assert len(halves) > 1
            for half in halves:
                check(half, limits)


@given(st.data(), quirks(), st.integers(16, 125))
def test_a_single_read_reads_nothing_more_than_its_value_needs(
    data: st.DataObject, rules: Quirks, words_max: int
) -> None:
    """In a table of single reads each request is what its first value alone would be asked with."""
    limits = Limits(8, words_max, quirks=rules)
    single = Limits(
        8,
        words_max,
        quirks=Quirks(
            rules.start_multiple, rules.count_multiple, rules.whole, rules.skip, frozenset(["holding"])
        ),
    )
    wanted = data.draw(possible_values(limits))
    for block in plan_blocks(wanted, single):
        (alone,) = plan_blocks(block.wanted[:1], limits)
        assert (block.address, block.count) == (alone.address, alone.count)


@given(st.data(), st.integers(1, 8), st.integers(0, 12))
def test_multiples_cost_no_more_registers_than_they_must(
    data: st.DataObject, multiple: int, gap_max: int
) -> None:
    """Requests for whole groups of registers read each group once, wherever values do not lie across two."""
    groups = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True))
    wanted = [want(group * multiple + data.draw(st.integers(0, multiple - 1))) for group in groups]
    limits = Limits(gap_max, quirks=Quirks(multiple, multiple))
    read = [
        at
        for block in plan_blocks(wanted, limits)
        for at in range(block.address, block.address + block.count)
    ]
    assert len(read) == len(set(read))
    assert {at // multiple for at in read} >= set(groups)
    if gap_max == 0:
        assert len(read) == multiple * len(groups)
    assert len(plan_blocks(wanted, limits)) <= len(wanted)
    assert len(plan_blocks(wanted, limits)) >= ceil(len(read) / 125)


@pytest.mark.parametrize(
    ("rules", "addresses", "requests"),
    [
        (Quirks(start_multiple=2), [3, 5], [(2, 4)]),
        (Quirks(start_multiple=2, count_multiple=2), [3, 6], [(2, 6)]),
        (Quirks(count_multiple=4), [3, 5], [(3, 4)]),
        (Quirks(whole=(Span("holding", 3, 5),)), [4], [(3, 2)]),
        (Quirks(whole=(Span("holding", 4, 6),)), [3, 4], [(3, 3)]),
        (Quirks(whole=(Span("input", 3, 5),)), [4], [(4, 1)]),
        (Quirks(skip=(Span("holding", 4, 5),)), [3, 5], [(3, 1), (5, 1)]),
        (Quirks(skip=(Span("input", 4, 5),)), [3, 5], [(3, 3)]),
        (Quirks(single=frozenset(["holding"])), [3, 4], [(3, 1), (4, 1)]),
        (Quirks(single=frozenset(["input"])), [3, 4], [(3, 2)]),
    ],
)
def test_each_quirk_by_itself(rules: Quirks, addresses: list[int], requests: list[tuple[int, int]]) -> None:
    """What is asked for two registers of a machine that insists on one thing."""
    blocks = plan_blocks([want(at) for at in addresses], Limits(quirks=rules))
    assert [(block.address, block.count) for block in blocks] == requests


def test_bits_of_one_register_share_a_single_read() -> None:
    """They are one value on the wire; and the multiples are for registers, not for coils."""
    rules = Quirks(start_multiple=10, single=frozenset(["holding"]))
    bits = [Wanted(f"bit {bit}", "holding", 7, "bool", bit) for bit in range(3)]
    blocks = plan_blocks([*bits, Wanted("coil", "coil", 3, "bool")], Limits(quirks=rules))
    assert [(block.table, block.address, block.count) for block in blocks] == [
        ("coil", 3, 1),
        ("holding", 0, 8),
    ]


def describe(**machine: Any) -> dict[str, Any]:
    tags = [{"name": "level", "table": "holding", "address": 9, "type": "float32"}]
    return {"kind": "modbus", "path": "s/a/l/m", "host": "plc", "tags": tags, **machine}


def span(first: int, last: int, table: str = "holding") -> dict[str, Any]:
    return {"table": table, "first": first, "last": last}


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            {"quirks": {"skip": [span(10, 12)]}},
            "tags[0] (level): holding 9..10 cannot be read: skip forbids 10..12",
        ),
        (
            {"quirks": {"start_multiple": 8, "skip": [span(8, 8)]}},
            "tags[0] (level): holding 9..10 can only be read as 8..10: skip forbids 8..8",
        ),
        (
            {"quirks": {"whole": [span(0, 40)]}, "registers_max": 32},
            "can only be read as 0..40: these are 41, and a request may ask for 32",
        ),
        (
            {"quirks": {"whole": [span(4, 6), span(6, 7)]}},
            "holding 4..6 and 6..7 overlap: make one span of them",
        ),
        ({"quirks": {"skip": [span(6, 4)]}}, "4 is before first (6)"),
    ],
)
def test_quirks_that_leave_a_tag_unreadable_are_refused(machine: dict[str, Any], message: str) -> None:
    """The settings say which tag, which registers, and why; not the first poll."""
    with pytest.raises(ValidationError) as caught:
        ModbusMachineSettings.model_validate(describe(**machine))
    assert message in str(caught.value)
    assert caught.value.error_count() == 1


def test_a_string_longer_than_a_request_is_refused() -> None:
    """Also without quirks: the device takes fewer registers than the value has."""
    tag = {"name": "reading", "table": "input", "address": 0, "type": "string", "characters": 12}
    with pytest.raises(
        ValidationError, match=r"tags\[0\] \(reading\): input 0\.\.5 cannot be read: these are 6"
    ):
        ModbusMachineSettings.model_validate(describe(tags=[tag], registers_max=4))


def test_the_settings_reach_the_planner() -> None:
    """`last` is included; what is not said changes nothing."""
    rules = {"start_multiple": 2, "whole": [span(4, 5)], "skip": [span(7, 7, "input")], "single": ["coil"]}
    limits = ModbusMachineSettings.model_validate(describe(quirks=rules, gap_max=3)).limits
    assert limits == Limits(
        3,
        quirks=Quirks(2, 1, (Span("holding", 4, 6),), (Span("input", 7, 8),), frozenset(["coil"])),
    )
    assert ModbusMachineSettings.model_validate(describe()).limits == Limits()
