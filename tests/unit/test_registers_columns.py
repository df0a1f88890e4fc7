"""Whole blocks against `struct`: whatever tags lie in a block, each is what its own bytes say."""

import struct
from math import isfinite, isinf, nan

from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.decoding import BlockDecoder, read_words, write_words
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.register_types import ByteOrder, RegisterType
from edge.drivers.modbus.registers import Limits, Table, Wanted
from models.telemetry import quality

CODES: dict[RegisterType, str] = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
ORDERS: list[ByteOrder] = ["ABCD", "DCBA", "BADC", "CDAB"]
SPAN = 40


def unpack_alone(octets: bytes, kind: RegisterType, order: ByteOrder) -> float:
    """Return what one value's registers say, by hand: put the bytes into their order, then one `struct`."""
    words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    (number,) = struct.unpack(">" + CODES[kind], b"".join(words))
    return float(number)


@st.composite
def tags(draw: st.DrawFn) -> list[Wanted]:
    """Return tags of any kind that lie in the first registers, beside and over each other."""
    shapes = st.tuples(
        st.integers(0, SPAN - 4),
        st.sampled_from(sorted(CODES)),
        st.sampled_from(ORDERS),
        st.sampled_from([1.0, 1.0, 0.1, -2.0]),
        st.sampled_from([0.0, 0.0, -40.0]),
        st.sampled_from([frozenset[float](), frozenset[float](), frozenset([0.0, 1.0, 32_767.0])]),
    )
    return [
        Wanted(
            f"{number}", "holding", at, kind, byte_order=order, scale=scale, offset=offset, invalid=markers
        )
        for number, (at, kind, order, scale, offset, markers) in enumerate(
            draw(st.lists(shapes, min_size=1, max_size=30))
        )
    ]


@given(tags(), st.binary(min_size=2 * SPAN, max_size=2 * SPAN))
def test_a_block_says_what_each_value_says_alone(wanted: list[Wanted], octets: bytes) -> None:
    """Every type, byte order, scale, offset and marker, in any mixture; what is no number is bad alone."""
    (block,) = plan_blocks(wanted, Limits(gap_max=125))
    reading = BlockDecoder(block).decode(octets[2 * block.address : 2 * (block.address + block.count)])
    assert set(reading.values) == {value.name for value in wanted}
    columns, bad = BlockDecoder(block).read_columns(
        octets[2 * block.address : 2 * (block.address + block.count)]
    )
    assert columns == {name: (value,) for name, value in reading.values.items()}
    assert bad == reading.quality
    assert all(isinstance(value, float | None) for (value,) in columns.values())
    for value in wanted:
        raw = unpack_alone(octets[2 * value.address : 2 * value.end], value.type, value.byte_order)
        expected = (nan if raw in value.invalid else raw) * value.scale + value.offset
        found = reading.values[value.name]
        if not isfinite(expected):
            assert found is None
            assert reading.quality[value.name] == quality.BAD_SENSOR_FAILURE
            continue
        assert found is not None
        assert value.name not in reading.quality
        assert is_close(found, expected, value)


def is_close(found: float, expected: float, value: Wanted) -> bool:
    """Return whether they are the same number: of short floats, any that has the same bits unscaled."""
    if value.type not in ("float16", "float32"):
        return found == expected
    code = "<" + CODES[value.type]
    if value.scale == 1.0 and value.offset == 0.0:
        return struct.pack(code, found) == struct.pack(code, expected)
    share, least = (2.0**-11, 2.0**-24) if value.type == "float16" else (2.0**-24, 2.0**-149)
    unscaled = abs(expected - value.offset)
    return abs(found - expected) <= 2 * share * unscaled + 2 * least + 1e-9 * abs(expected)


@given(st.data(), st.sampled_from(["holding", "input", "coil", "discrete"]))
def test_words_are_written_as_they_are_read(data: st.DataObject, table: Table) -> None:
    """Registers of two bytes; bits eight to a byte, the first the lowest."""
    top = 1 if table in ("coil", "discrete") else 0xFFFF
    words = data.draw(st.lists(st.integers(0, top), min_size=1, max_size=50))
    octets = write_words(table, words)
    (block,) = plan_blocks(
        [Wanted(str(at), table, at, "bool" if top == 1 else "uint16") for at in range(len(words))], Limits()
    )
    assert len(octets) == block.octets
    assert read_words(table, octets, len(words)) == words
    assert list(BlockDecoder(block).decode(octets).values.values()) == [float(word) for word in words]


@given(st.floats(width=32, allow_nan=False), st.sampled_from(ORDERS))
def test_a_float32_keeps_its_bits_in_every_byte_order(number: float, order: ByteOrder) -> None:
    """Only an infinity is lost, and says so."""
    octets = struct.pack(">f", number)
    words = [octets[:2], octets[2:]]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    (block,) = plan_blocks([Wanted("x", "input", 3, "float32", byte_order=order)], Limits())
    found = BlockDecoder(block).decode(b"".join(words)).values["x"]
    if isinf(number):
        assert found is None
    else:
        assert found is not None
        assert struct.pack(">f", found) == octets
