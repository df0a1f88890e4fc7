"""Values read straight from an answer's bytes are what the library's objects say, whatever a server sends."""

import struct
from datetime import UTC, datetime
from math import inf, nan

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.opcua.reading import observe
from edge.drivers.opcua.values import READ_RESPONSE, Unusual, decode_read
from models.telemetry import quality

NOW_NS = 1_795_402_800_000_000_000

_KINDS = ua.VariantType
_INTEGERS = {
    *((_KINDS.SByte, 8, True), (_KINDS.Byte, 8, False), (_KINDS.Int16, 16, True), (_KINDS.UInt16, 16, False)),
    *(
        (_KINDS.Int32, 32, True),
        (_KINDS.UInt32, 32, False),
        (_KINDS.Int64, 64, True),
        (_KINDS.UInt64, 64, False),
    ),
}
numbers = st.one_of(
    st.builds(ua.Variant, st.booleans(), st.just(_KINDS.Boolean)),
    st.builds(ua.Variant, st.floats(width=32), st.just(_KINDS.Float)),
    st.builds(ua.Variant, st.floats(), st.just(_KINDS.Double)),
    *(
        st.builds(
            ua.Variant,
            st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1),
            st.just(kind),
        )
        for kind, bits, signed in sorted(_INTEGERS)
    ),
)
_FIRST, _LAST = datetime(1601, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001  # hypothesis adds the zone
times = st.none() | st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))
codes = st.sampled_from([0, 0x40000000, 0x80000000, 0x80320000, 0x00000480, 0x408F0000]) | st.integers(
    0, 2**32 - 1
)


def make_value(
    variant: ua.Variant | None,
    code: int | None,
    own: datetime | None,
    server: datetime | None,
) -> ua.DataValue:
    return ua.DataValue(
        variant,
        StatusCode=None if code is None else ua.StatusCode(ua.UInt32(code)),
        SourceTimestamp=own,
        ServerTimestamp=server,
    )


empty = st.builds(ua.Variant, st.none(), st.just(_KINDS.Null))
usual = st.builds(make_value, numbers | empty, st.none() | codes, times, times)
text = st.builds(ua.Variant, st.text(max_size=5), st.just(_KINDS.String))
arrays = st.builds(ua.Variant, st.lists(st.floats(), min_size=1, max_size=3), st.just(_KINDS.Double))
unusual = st.builds(make_value, text | arrays, codes, times, times)


def encode(values: list[ua.DataValue]) -> bytes:
    response = ua.ReadResponse(Results=values)
    return struct_to_binary(response)


def decode_slowly(octets: bytes) -> list[tuple[str, int, object, int]]:
    """What the library's objects say."""
    answers = struct_from_binary(ua.ReadResponse, Buffer(octets)).Results
    return [observe(f"t{at}", answer, NOW_NS) for at, answer in enumerate(answers)]


def decode(octets: bytes, count: int) -> list[tuple[str, int, object, int]]:
    return list(decode_read(octets, [f"t{at}" for at in range(count)], NOW_NS))


@settings(max_examples=400, deadline=None)
@given(st.lists(usual, max_size=8))
def test_numbers_of_every_kind_are_read_as_the_library_reads_them(values: list[ua.DataValue]) -> None:
    """Every numeric type, any status code, times or none: the same observation, bit for bit."""
    octets = encode(values)
    assert repr(decode(octets, len(values))) == repr(decode_slowly(octets))


@settings(max_examples=100, deadline=None)
@given(st.lists(usual, max_size=3), unusual, st.lists(usual, max_size=3))
def test_what_is_unusual_is_left_to_the_library(
    before: list[ua.DataValue], strange: ua.DataValue, after: list[ua.DataValue]
) -> None:
    """One text or array in an answer, and the whole answer is the library's to read."""
    values = [*before, strange, *after]
    with pytest.raises(Unusual):
        decode(encode(values), len(values))


@settings(max_examples=200, deadline=None)
@given(st.lists(usual, min_size=1, max_size=4), st.data())
def test_a_cut_or_altered_answer_is_never_misread_without_end(
    values: list[ua.DataValue], told: st.DataObject
) -> None:
    """A short answer, and one of another number of values, is no result."""
    octets = encode(values)
    cut = told.draw(st.integers(0, len(octets) - 5))
    with pytest.raises(Unusual):
        decode(octets[:cut], len(values))
    with pytest.raises(Unusual):
        decode(octets, len(values) + 1)


@pytest.mark.parametrize(("own", "expected"), [(True, 1_000_000_000), (False, 2_000_000_000)])
def test_picoseconds_stand_behind_their_own_timestamp(own: bool, expected: int) -> None:
    """As OPC 10000-6, 5.2.2.17 orders them; asyncua puts both timestamps before both picoseconds."""
    seconds = [struct.pack("<q", (11_644_473_600 + after) * 10_000_000) for after in (1, 2)]
    mask, first = (0x3D, seconds[0] + b"\x10\x00") if own else (0x29, b"")
    value = bytes([mask]) + b"\x0b" + struct.pack("<d", 1.5) + first + seconds[1] + b"\x20\x00"
    ((_, timestamp_ns, read, code),) = decode(encode([])[:-8] + struct.pack("<i", 1) + value + b"\xff" * 4, 1)
    assert (timestamp_ns, read, code) == (expected, 1.5, 0)


def test_a_refusal_is_left_to_the_library() -> None:
    """A service fault, and a response whose result is bad, are errors that the library words."""
    bad = ua.ReadResponse(Results=[])
    bad.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(0x80100000))
    for response in (bad, ua.ServiceFault()):
        with pytest.raises(Unusual):
            decode(struct_to_binary(response), 0)
    assert encode([]).startswith(READ_RESPONSE)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_number_has_no_value(value: float) -> None:
    """NaN and infinities are bad, also on the short way for good doubles."""
    octets = encode([ua.DataValue(ua.Variant(value, _KINDS.Double))])
    ((_, _, read, code),) = decode(octets, 1)
    assert (read, code) == (None, quality.BAD_SENSOR_FAILURE)
