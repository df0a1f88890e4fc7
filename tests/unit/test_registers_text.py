"""Numbers that a machine keeps as text: which characters they are, and what is no number."""

from decimal import Decimal
from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.decoding import BlockDecoder, Reading
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Limits, Wanted
from edge.drivers.modbus.settings import ModbusTagSettings
from models.telemetry import quality


def read(text: bytes, **tag: Any) -> Reading:
    """Read a tag of as many characters from the holding registers in which the text stands."""
    settings = ModbusTagSettings.model_validate(
        {
            "name": "x",
            "table": "holding",
            "address": 7,
            "type": "string",
            "characters": len(text),
            **tag,
        }
    )
    (block,) = plan_blocks([settings.want()], Limits())
    octets = text + b"?" * (len(text) % 2)  # what else stands in the last register is none of ours
    assert block.octets == len(octets)
    if tag.get("byte_order") == "BADC":
        octets = b"".join(octets[at : at + 2][::-1] for at in range(0, len(octets), 2))
    return BlockDecoder(block).decode(octets)


@given(
    st.decimals(-(10**9), 10**9, places=3),
    st.sampled_from(["ABCD", "BADC"]),
    st.sampled_from([b"", b"\0", b"  ", b"\0\0\0", b" \0OK"]),
)
def test_a_decimal_in_text_is_that_decimal(number: Decimal, order: str, after: bytes) -> None:
    """Whichever byte of a register travels first, and whatever fills the rest of the string."""
    reading = read(f"{number}".encode() + after, byte_order=order)
    assert reading == Reading({"x": float(number)}, {})


@pytest.mark.parametrize(
    ("text", "number"),
    [(b"12.40", 12.4), (b"  -7", -7.0), (b"+0015", 15.0), (b".5", 0.5), (b"3.", 3.0), (b"1.5E-3", 0.0015)],
)
def test_numbers_as_machines_write_them(text: bytes, number: float) -> None:
    """Signs, leading zeros and blanks, and exponents."""
    assert read(text).values == {"x": number}


@pytest.mark.parametrize(
    "text",
    [b"OK", b"", b"    ", b"12,4", b"0x1F", b"nan", b"inf", b"1_000", b"1 2", b"1e999", b"\xff\xfe", b"--1"],
)
def test_text_that_is_no_number_has_no_value(text: bytes) -> None:
    """Its tag is bad by name, and nothing is guessed."""
    reading = read(text or b"\0\0")
    assert reading == Reading({"x": None}, {"x": quality.BAD_DECODING_ERROR})


@given(st.binary(min_size=1, max_size=32))
def test_no_text_at_all_breaks_the_decoder(text: bytes) -> None:
    """Whatever bytes stand there: a finite number, or none with its quality."""
    reading = read(text)
    value = reading.values["x"]
    assert value is None or isfinite(value)
    assert (value is None) == (reading.quality == {"x": quality.BAD_DECODING_ERROR})


def test_scale_offset_and_markers_hold_for_text_too() -> None:
    """A marker is the machine's own word for "no value": another quality than text that is no number."""
    assert read(b"250", scale=0.1, offset=-5.0).values == {"x": 20.0}
    assert read(b"-999", invalid=[-999]) == Reading({"x": None}, {"x": quality.BAD_SENSOR_FAILURE})


def test_text_and_numbers_share_a_request() -> None:
    """Strings of several lengths that overlap, beside a number: one request reads all."""
    wanted = [
        Wanted("long", "holding", 0, "string", characters=5),
        Wanted("short", "holding", 0, "string", characters=2),
        Wanted("tail", "holding", 1, "string", characters=4),
        Wanted("word", "holding", 3, "uint16"),
    ]
    (block,) = plan_blocks(wanted, Limits())
    assert (block.address, block.count) == (0, 4)
    reading = BlockDecoder(block).decode(b"12.5 \0\x01\x02")
    assert reading == Reading({"long": 12.5, "short": 12.0, "tail": 0.5, "word": 258.0}, {})
