"""The rarer contents of registers: bytes, half floats, digits, and the numbers that mean "no value"."""

import struct
from math import inf, isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.drivers.modbus.decoding import BlockDecoder, Reading, write_words
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.register_types import ByteOrder, HalfName, RegisterType, shorten_float16
from edge.drivers.modbus.registers import Limits, Wanted
from edge.drivers.modbus.settings import ModbusTagSettings
from models.telemetry import quality

ORDERS: list[ByteOrder] = ["ABCD", "CDAB", "BADC", "DCBA"]


def read(words: list[int], **tag: Any) -> Reading:
    """Read a tag as settings give it, out of the holding registers from 0 on."""
    settings = ModbusTagSettings.model_validate({"name": "x", "table": "holding", "address": 0, **tag})
    (block,) = plan_blocks([settings.want()], Limits())
    assert block.count == len(words)
    return BlockDecoder(block).decode(write_words("holding", words))


def spread(octets: bytes, order: ByteOrder) -> list[int]:
    """Put a number's bytes, the most significant first, into registers the way `order` names."""
    words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


@given(
    st.binary(min_size=2, max_size=2), st.sampled_from(["int8", "uint8"]), st.sampled_from(["low", "high"])
)
def test_either_half_of_a_register_is_an_8_bit_number(
    octets: bytes, kind: RegisterType, half: HalfName
) -> None:
    """The high byte travels first; int8 counts below zero."""
    (word,) = struct.unpack(">H", octets)
    high, low = struct.unpack(">bb" if kind == "int8" else ">BB", octets)
    reading = read([word], type=kind, byte=half)
    assert reading == Reading({"x": float(high if half == "high" else low)}, {})


def test_both_halves_are_read_at_once_and_low_is_meant_unless_said() -> None:
    """Two tags may share a register; one request reads both."""
    wanted = [
        Wanted("low", "holding", 4, "uint8"),
        Wanted("high", "holding", 4, "int8", byte="high", scale=0.5),
        Wanted("word", "holding", 4, "uint16"),
    ]
    (block,) = plan_blocks(wanted, Limits())
    assert BlockDecoder(block).decode(bytes.fromhex("FE07")).values == {
        "low": 7.0,
        "high": -1.0,
        "word": float(0xFE07),
    }


@given(st.floats(width=16, allow_nan=False, allow_infinity=False), st.sampled_from(ORDERS))
def test_a_float16_comes_back(number: float, order: ByteOrder) -> None:
    """What is passed on is the same float16 bit for bit, in at most five digits."""
    value = read(spread(struct.pack(">e", number), order), type="float16", byte_order=order).values["x"]
    assert value is not None
    assert struct.pack(">e", value) == struct.pack(">e", number)
    assert float(f"{value:.5g}") == value


def test_a_decimal_in_a_float16_is_that_decimal_again() -> None:
    """21.5 and 0.1 are sent as such, and 33,000, which a float16 keeps as 32,992."""
    exact = struct.unpack("3e", struct.pack("3e", 21.5, 0.1, 33_000.0))
    assert exact[2] == 32_992.0
    assert shorten_float16(exact) == [21.5, 0.1, 33_000.0]


@given(st.integers(0, 99_999_999), st.sampled_from(ORDERS))
def test_digits_of_two_registers_are_a_number(number: int, order: ByteOrder) -> None:
    """Each four bits are one decimal digit, whatever order the bytes stand in."""
    octets = bytes.fromhex(f"{number:08d}")
    assert read(spread(octets, order), type="bcd32", byte_order=order).values == {"x": float(number)}


@given(st.integers(0, 0xFFFF))
def test_four_bits_above_nine_are_no_digit(word: int) -> None:
    """bcd16 has a value exactly where all four digits are digits; 0x01E5 is no 1e5."""
    reading = read([word], type="bcd16")
    if all(digit in "0123456789" for digit in f"{word:04x}"):
        assert reading == Reading({"x": float(f"{word:04x}")}, {})
    else:
        assert reading == Reading({"x": None}, {"x": quality.BAD_SENSOR_FAILURE})


@pytest.mark.parametrize(
    ("kind", "marker", "octets"),
    [
        ("int8", 0x80, "0080"),
        ("uint8", 0xFF, "12FF"),
        ("int16", 0x8000, "8000"),
        ("int16", -32_768, "8000"),
        ("uint16", 0xFFFF, "FFFF"),
        ("int32", 0x80000000, "80000000"),
        ("int64", 0x8000000000000000, "8000000000000000"),
        ("uint64", 0xFFFFFFFFFFFFFFFF, "FFFFFFFFFFFFFFFF"),
        ("bcd16", 9_999, "9999"),
        ("float16", -99.9, struct.pack(">e", -99.9).hex()),
        ("float32", -9_999.9, struct.pack(">f", -9_999.9).hex()),
        ("float32", 3.4028235e38, "7F7FFFFF"),
        ("float64", 1e30, struct.pack(">d", 1e30).hex()),
    ],
)
def test_a_marker_means_that_there_is_no_value(kind: RegisterType, marker: float, octets: str) -> None:
    """As a number or as the bit pattern in the manual; scale and offset do not hide it."""
    words = spread(bytes.fromhex(octets), "ABCD")
    reading = read(words, type=kind, invalid=[1, marker], scale=0.1, offset=5.0)
    assert reading == Reading({"x": None}, {"x": quality.BAD_SENSOR_FAILURE})
    words[-1] ^= 0x0001
    other = read(words, type=kind, invalid=[marker])
    assert other.values["x"] is not None
    assert isfinite(other.values["x"])


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=2, unique=True))
def test_only_the_marker_is_refused(numbers: list[int]) -> None:
    """Its neighbour in the same request keeps its value."""
    gone, kept = numbers
    wanted = [
        Wanted("gone", "input", 0, "int16", invalid=frozenset([gone])),
        Wanted("kept", "input", 1, "int16", invalid=frozenset([gone])),
    ]
    (block,) = plan_blocks(wanted, Limits())
    reading = BlockDecoder(block).decode(struct.pack(">hh", gone, kept))
    assert reading == Reading({"gone": None, "kept": float(kept)}, {"gone": quality.BAD_SENSOR_FAILURE})


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (
            {"type": "int16", "invalid": [70_000]},
            "70000 never stands in int16, which holds whole numbers -32768",
        ),
        ({"type": "int16", "invalid": [1.5]}, "1.5 never stands in int16"),
        ({"type": "uint16", "invalid": [-1]}, "-1 never stands in uint16"),
        ({"type": "float32", "invalid": [1e39]}, "too large for float32"),
        ({"bit": 3, "invalid": [1]}, "leave invalid out"),
        ({"type": "uint8", "byte_order": "BADC"}, "say byte: low or byte: high instead of byte_order"),
        ({"type": "uint16", "byte": "low"}, "byte goes with type: int8 or uint8, not with uint16"),
        ({"type": "string"}, "a string needs its length: characters: 8 are four registers"),
        ({"type": "uint16", "characters": 4}, "characters goes with type: string, not with uint16"),
        ({"type": "string", "characters": 8, "byte_order": "CDAB"}, "CDAB swaps registers, and those of a"),
        ({"type": "string", "characters": 4, "address": 65_535}, "end behind the last register"),
    ],
)
def test_what_cannot_be_is_said(tag: dict[str, Any], message: str) -> None:
    """Each mistake names what is wrong and what to write."""
    with pytest.raises(ValidationError) as caught:
        ModbusTagSettings.model_validate({"name": "x", "table": "holding", "address": 0, **tag})
    assert message in str(caught.value)


def test_an_infinite_marker_need_not_be_named() -> None:
    """NaN and the infinities are never values: naming them is refused as no finite number."""
    with pytest.raises(ValidationError, match="finite"):
        ModbusTagSettings.model_validate(
            {"name": "x", "table": "holding", "address": 0, "type": "float32", "invalid": [inf]}
        )
