"""What a known value may stand for in registers: the right reading is among those found, and near the top."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from edge.drivers.modbus.decoding import BlockDecoder, write_words
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.probe import find_candidates, list_places, write_tag
from edge.drivers.modbus.register_types import ByteOrder, RegisterType
from edge.drivers.modbus.registers import Limits
from edge.drivers.modbus.settings import ModbusTagSettings

CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "float64": "d",
    "int64": "q",
}
SWAPPED = "- {name: x, table: holding, address: 0, type: float32, byte_order: CDAB}"


def spread(octets: bytes, order: ByteOrder) -> list[int]:
    """Put a number's bytes, the most significant first, into registers the way `order` names."""
    words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def load(line: str) -> ModbusTagSettings:
    """Read a pasted line as the settings would."""
    (tag,) = YAML(typ="safe").load(line)
    return ModbusTagSettings.model_validate(tag)


@given(
    st.sampled_from(sorted(CODES)),
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
    st.integers(1, 30_000),
    st.sampled_from([1.0, 0.1, 0.01]),
    st.integers(-4, 4),
)
def test_the_right_reading_is_found_wherever_it_stands(
    kind: RegisterType, order: ByteOrder, raw: int, scale: float, away: int
) -> None:
    """A candidate reads the very registers into which the value was put; its line gives the value again."""
    is_float = kind.startswith("float")
    expected = raw * scale
    words = spread(struct.pack(">" + CODES[kind], expected if is_float else raw), order)
    registers = dict.fromkeys(range(92, 112), 0) | dict(enumerate(words, 100 + away))
    found = find_candidates({"holding": registers}, {"holding": [100]}, expected, 1e-3 * expected)
    span = (100 + away, 100 + away + len(words))
    right = [one for one in found if (one.wanted.address, one.wanted.end) == span]
    assert right
    tag = load(write_tag(right[0], "x"))
    (block,) = plan_blocks([tag.want()], Limits())
    run = [registers[at] for at in range(tag.address, tag.address + block.count)]
    read = BlockDecoder(block).decode(write_words("holding", run))
    assert read.values["x"] == pytest.approx(expected, rel=1.1e-3)


@pytest.mark.parametrize(
    ("registers", "expected", "line"),
    [
        ({0: 0x4276, 1: 0x0000}, 61.5, "- {name: x, table: holding, address: 0, type: float32}"),
        ({0: 0x0000, 1: 0x4276}, 61.5, SWAPPED),
        ({0: 615, 1: 0}, 61.5, "- {name: x, table: holding, address: 0, type: int16, scale: 0.1}"),
        ({0: 7, 1: 6_150}, 61.5, "- {name: x, table: holding, address: 1, type: int16, scale: 0.01}"),
        ({0: 0xFF38}, -20.0, "- {name: x, table: holding, address: 0, type: int16, scale: 0.1}"),
        ({0: 40_000}, 40_000.0, "- {name: x, table: holding, address: 0, type: uint16}"),
    ],
)
def test_the_plainest_reading_stands_first(registers: dict[int, int], expected: float, line: str) -> None:
    """What devices mostly mean comes before what merely happens to fit."""
    around = dict.fromkeys(range(8), 0) | registers
    places = list_places(40_001, expected)
    found = find_candidates({"holding": around}, places, expected, 0.01 * abs(expected))
    assert write_tag(found[0], "x") == line


@pytest.mark.parametrize(
    ("around", "expected", "places"),
    [
        (40_001, 61.5, {"holding": [0, 40_001, 40_000], "input": [40_001, 40_000]}),
        (30_011, 61.5, {"holding": [30_011, 30_010], "input": [10, 30_011, 30_010]}),
        (400_001, 61.5, {"holding": [0]}),
        (0, 61.5, {"holding": [0], "input": [0]}),
        (10_004, 1.0, {table: [*first, 10_004, 10_003] for table, first in (
            ("holding", []), ("input", []), ("coil", []), ("discrete", [3]))}),
    ],
)  # fmt: skip
def test_a_number_in_a_manual_may_mean_several_addresses(
    around: int, expected: float, places: dict[str, Any]
) -> None:
    """The first digit may name the table, and counting may begin at 0 or at 1; bits are 0 or 1."""
    assert list_places(around, expected) == places


def test_what_is_too_far_off_is_no_candidate() -> None:
    """The tolerance holds for the value as scaled."""
    assert not find_candidates({"holding": {0: 620}}, {"holding": [0]}, 61.5, 0.4)
    assert find_candidates({"holding": {0: 620}}, {"holding": [0]}, 61.5, 0.5)
