"""What the words of registers mean: types, byte orders, bits, scales and what is no number."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.decoding import BlockDecoder, Reading, write_words
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.register_types import ByteOrder, RegisterType, shorten_float32
from edge.drivers.modbus.registers import Limits, Wanted
from models.telemetry import quality

CODES = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
ORDERS: list[ByteOrder] = ["ABCD", "CDAB", "BADC", "DCBA"]


def decode(words: list[int], *wanted: Wanted) -> Reading:
    """Read one block whose words are these."""
    (block,) = plan_blocks(wanted, Limits(gap_max=125))
    assert block.count == len(words)
    return BlockDecoder(block).decode(write_words(block.table, words))


def spread(octets: bytes, order: ByteOrder) -> list[int]:
    """Put a number's bytes, the most significant first, into registers the way `order` names."""
    words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def decode_one(words: list[int], kind: RegisterType, order: ByteOrder = "ABCD", **more: Any) -> Any:
    return decode(words, Wanted("x", "holding", 100, kind, byte_order=order, **more)).values["x"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", [0x4145, 0x0A3D]),
        ("CDAB", [0x0A3D, 0x4145]),
        ("BADC", [0x4541, 0x3D0A]),
        ("DCBA", [0x3D0A, 0x4541]),
    ],
)
def test_the_four_byte_orders_mean_what_telegraf_says(order: ByteOrder, words: list[int]) -> None:
    """12.315 is 41 45 0A 3D, and each order names where these four bytes stand in the two registers."""
    assert decode_one(words, "float32", order) == 12.315


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", [0x0102, 0x0304, 0x0506, 0x0708]),
        ("CDAB", [0x0708, 0x0506, 0x0304, 0x0102]),
        ("BADC", [0x0201, 0x0403, 0x0605, 0x0807]),
        ("DCBA", [0x0807, 0x0605, 0x0403, 0x0201]),
    ],
)
def test_byte_orders_go_on_over_four_registers(order: ByteOrder, words: list[int]) -> None:
    """In 64 bits the words, or the bytes in them, or both stand the other way round."""
    assert decode_one(words, "uint64", order) == float(0x0102030405060708)


@pytest.mark.parametrize(("order", "word"), [("ABCD", 0x0102), ("CDAB", 0x0102), ("BADC", 0x0201)])
def test_a_single_register_knows_only_swapped_bytes(order: ByteOrder, word: int) -> None:
    """CDAB swaps words, of which a 16-bit value has one: nothing changes."""
    assert decode_one([word], "uint16", order) == 258.0


@given(st.data(), st.sampled_from(sorted(CODES)), st.sampled_from(ORDERS))
def test_whole_numbers_come_back(data: st.DataObject, kind: RegisterType, order: ByteOrder) -> None:
    """Any number of any type, put into registers by hand in any order, is read again."""
    size = struct.calcsize(CODES[kind])
    low, high = (
        (0, 2 ** (8 * size)) if kind.startswith("u") else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1))
    )
    number = data.draw(st.integers(low, high - 1))
    assert decode_one(spread(struct.pack(">" + CODES[kind], number), order), kind, order) == float(number)


def test_scale_and_offset_turn_the_raw_number_into_the_value() -> None:
    """value = raw * scale + offset."""
    assert decode_one([653], "int16", scale=0.5, offset=-40.0) == 286.5


def test_types_and_orders_mix_in_one_block() -> None:
    """Neighbours of other types, a gap, a bit and an overlapping value are all read from the same words."""
    words = [0xFFFE, 0x4145, 0x0A3D, 0xDEAD, 0x0005, 0x0A3D, 0x4145]
    reading = decode(
        words,
        Wanted("low", "holding", 10, "int16"),
        Wanted("straight", "holding", 11, "float32"),
        Wanted("bit 0", "holding", 14, "bool", 0),
        Wanted("bit 1", "holding", 14, "bool", 1),
        Wanted("any", "holding", 14, "bool"),
        Wanted("word", "holding", 14, "uint16"),
        Wanted("swapped", "holding", 15, "float32", byte_order="CDAB"),
        Wanted("over", "holding", 14, "uint32"),
        Wanted("overlap", "holding", 15, "uint32"),
    )
    assert reading.quality == {}
    assert reading.values == {
        "low": -2.0,
        "straight": 12.315,
        "bit 0": 1.0,
        "bit 1": 0.0,
        "any": 1.0,
        "word": 5.0,
        "swapped": 12.315,
        "over": float(0x00050A3D),
        "overlap": float(0x0A3D4145),
    }


def test_bits_of_a_bit_table_are_one_and_zero() -> None:
    """A coil that is on is 1.0, one that is off 0.0."""
    on, off = Wanted("on", "coil", 3, "bool"), Wanted("off", "coil", 5, "bool")
    assert decode([1, 1, 0], on, off).values == {"on": 1.0, "off": 0.0}


@pytest.mark.parametrize("words", [[0x7FC0, 0x0000], [0x7F80, 0x0000], [0xFF80, 0x0000]])
def test_what_is_no_number_has_no_value_and_says_so(words: list[int]) -> None:
    """NaN and the infinities are None with a bad quality; the neighbour keeps its value."""
    reading = decode(
        [*words, 0x4145, 0x0A3D],
        Wanted("x", "holding", 0, "float32"),
        Wanted("next", "holding", 2, "float32"),
    )
    assert reading.values == {"x": None, "next": 12.315}
    assert reading.quality == {"x": quality.BAD_SENSOR_FAILURE}


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=125))
def test_a_short_text_still_says_the_same_float32(numbers: list[float]) -> None:
    """Shortened numbers give the same float32 bit for bit, in at most nine digits."""
    short = shorten_float32(numbers)
    layout = f"{len(numbers)}f"
    assert struct.pack(layout, *short) == struct.pack(layout, *numbers)
    assert all(float(f"{kept:.9g}") == kept for kept in short)


def test_a_decimal_in_a_float32_register_is_that_decimal_again() -> None:
    """12.3 is sent as 12.3, not as 12.300000190734863."""
    numbers = struct.unpack("4f", struct.pack("4f", 12.3, 0.1, 61.57, 16_777_217.0))
    assert shorten_float32(numbers) == [12.3, 0.1, 61.57, 16_777_216.0]


def write_shortest(number: float) -> float:
    """Six digits are enough for a decimal of six; then as many as it takes."""
    texts = (float(f"{number:.{digits}g}") for digits in (6, 7, 8, 9))
    return next(short for short in texts if fit(short) == number)


def fit(number: float) -> float:
    """Return the nearest float32."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


float32s = st.floats(-8e9, 8e9, width=32) | st.builds(
    lambda digits, places: fit(float(f"{digits}e-{places}")), st.integers(-(10**8), 10**8), st.integers(0, 12)
)


@given(st.lists(float32s, min_size=1, max_size=30), st.sampled_from([1, 20]))
def test_reckoning_shortens_as_writing_does(numbers: list[float], times: int) -> None:
    """Few numbers or a long column, of any size, with any number of digits: the same doubles and signs."""
    column = [number for number in numbers if number == 0 or abs(number) >= 1e-15] * times
    expected = [number if number == 0 else write_shortest(number) for number in column]
    assert list(map(repr, shorten_float32(column))) == list(map(repr, expected))
    assert shorten_float32([fit(0.000987), fit(-9.87e-7)]) == [0.000987, -9.87e-7]
    assert shorten_float32([fit(1.5e-38)] * 20) == [1.5e-38] * 20
