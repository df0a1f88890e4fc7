"""Values read straight from an answer's bytes are what the library's objects say, whatever a server sends."""

import struct
from datetime import UTC, datetime, timedelta
from math import inf, nan

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.columns import Rows
from edge.drivers.opcua.notifications import Message, decode_publish
from edge.drivers.opcua.reading import convert_message, make_rows, read_variant
from edge.drivers.opcua.values import ALIKE_MIN, READ_RESPONSE, Unusual, decode_read, list_kinds
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


def make(places: list[int], values: list[ua.DataValue]) -> Rows:
    """What the library's objects say."""
    return make_rows(places, values, NOW_NS)


def decode_slowly(octets: bytes) -> Rows:
    """What the library's objects say of a whole answer."""
    answers = struct_from_binary(ua.ReadResponse, Buffer(octets)).Results
    return make(list(range(len(answers))), answers)


def decode(octets: bytes, count: int) -> Rows:
    return decode_read(octets, range(count), NOW_NS, read_variant)


@settings(max_examples=400, deadline=None)
@given(st.lists(usual, max_size=8))
def test_numbers_of_every_kind_are_read_as_the_library_reads_them(values: list[ua.DataValue]) -> None:
    """Every numeric type, any status code, times or none: the same rows, bit for bit."""
    octets = encode(values)
    assert repr(decode(octets, len(values))) == repr(decode_slowly(octets))


_OLD, _NEW = datetime(1970, 1, 2), datetime(2026, 11, 22)  # noqa: DTZ001  # hypothesis adds the zone
recently = st.datetimes(_OLD, _NEW, timezones=st.just(UTC))
no_numbers = st.builds(
    ua.Variant, st.sampled_from([nan, inf, -inf]), st.sampled_from([_KINDS.Float, _KINDS.Double])
)
plain = st.builds(
    make_value, numbers | no_numbers, st.sampled_from([None, 0, 0, 0x40000000]), recently, times
)
in_a_row = st.tuples(plain | usual, st.integers(1, 3 * ALIKE_MIN))
steps = st.sampled_from([0, 1, 250])


@settings(max_examples=150, deadline=None)
@given(st.lists(in_a_row, max_size=4), steps, st.data())
def test_many_alike_in_a_row_are_read_as_the_library_reads_them(
    runs: list[tuple[ua.DataValue, int]], step: int, told: st.DataObject
) -> None:
    """Values of one layout are read as columns, with handles and without; one odd among them changes none."""
    values = [move_time(value, step * at) for value, count in runs for at in range(count)]
    if values and told.draw(st.booleans()):
        values.insert(told.draw(st.integers(0, len(values))), told.draw(usual | unusual))
    octets = encode(values)
    assert repr(decode(octets, len(values))) == repr(decode_slowly(octets))
    items = make_items(list(range(7, 7 + len(values))), values)
    message = publish(ua.DataChangeNotification(items))
    result = struct_from_binary(ua.PublishResponse, Buffer(message)).Parameters
    expected = convert_message(5, result.NotificationMessage, NOW_NS)
    assert repr(decode_publish(message, NOW_NS, read_variant).rows) == repr(expected.rows)


def move_time(value: ua.DataValue, microseconds: int) -> ua.DataValue:
    """Return the value, measured so much later."""
    code, own = value.StatusCode, value.SourceTimestamp
    if own is not None and own.year < _LAST.year:
        own += timedelta(microseconds=microseconds)
    return make_value(value.Value, None if code is None else code.value, own, value.ServerTimestamp)


@settings(max_examples=100, deadline=None)
@given(st.lists(usual, max_size=3), unusual, st.lists(usual, max_size=3))
def test_a_text_among_numbers_is_read_by_the_library_alone(
    before: list[ua.DataValue], strange: ua.DataValue, after: list[ua.DataValue]
) -> None:
    """One text, array or structure costs nothing of the rest, and its neighbours are read right."""
    values = [*before, strange, *after]
    octets = encode(values)
    assert repr(decode(octets, len(values))) == repr(decode_slowly(octets))


@given(st.lists(usual | unusual, max_size=6))
def test_the_types_of_all_values_are_known(values: list[ua.DataValue]) -> None:
    """Whatever stands between them; 0 is no value."""
    expected = [0 if value.Value is None else int(value.Value.VariantType.value) for value in values]
    kinds = list_kinds(encode(values), len(values), read_variant)
    assert [kind % 64 for kind in kinds] == expected  # an array has another bit


def make_items(handles: list[int], values: list[ua.DataValue]) -> list[ua.MonitoredItemNotification]:
    return [
        ua.MonitoredItemNotification(ClientHandle=handle, Value=value)
        for handle, value in zip(handles, values, strict=True)
    ]


def publish(*notifications: object, sequence: int = 7, available: int = 0) -> bytes:
    """Return an answer to a publish request that tells these."""
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId = 5
    response.Parameters.AvailableSequenceNumbers = list(range(available))
    response.Parameters.NotificationMessage.SequenceNumber = sequence
    response.Parameters.NotificationMessage.NotificationData = list(notifications)
    response.Parameters.Results = [ua.StatusCode()] * available
    return struct_to_binary(response)


handles = st.integers(0, 2**32 - 1)
items = st.lists(st.tuples(handles, usual | unusual), max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(items, max_size=3), st.integers(0, 4))
def test_messages_are_read_as_the_library_reads_them(
    parts: list[list[tuple[int, ua.DataValue]]], available: int
) -> None:
    """Any number of notifications of any values: the same rows in the same order, and its number."""
    notifications = [
        ua.DataChangeNotification(make_items([one for one, _ in part], [value for _, value in part]))
        for part in parts
    ]
    octets = publish(*notifications, available=available)
    result = struct_from_binary(ua.PublishResponse, Buffer(octets)).Parameters
    expected = convert_message(5, result.NotificationMessage, NOW_NS)
    told = decode_publish(octets, NOW_NS, read_variant)
    assert (told.subscription_id, told.sequence) == (5, 7)
    assert repr(told.rows) == repr(expected.rows)


def test_a_sign_of_life_has_no_rows() -> None:
    """An empty message is no news, and is not to be acknowledged."""
    assert decode_publish(publish(sequence=9), NOW_NS, read_variant) == Message(5, 9)
    assert Message(5, 9).is_sign_of_life


def test_the_end_of_a_subscription_is_read_by_name() -> None:
    """By the library's objects; what was told beside it is told still."""
    end = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTimeout)))
    told = ua.DataChangeNotification(make_items([3], [make_value(None, 0, None, None)]))
    result = struct_from_binary(ua.PublishResponse, Buffer(publish(told, end))).Parameters
    message = convert_message(5, result.NotificationMessage, NOW_NS)
    assert message.end == "BadTimeout"
    assert message.rows is not None
    assert message.rows.places == [3]
    assert not message.is_sign_of_life


def test_another_kind_of_notification_is_left_to_the_library() -> None:
    """The end of a subscription, and events, are read by the library."""
    for strange in (ua.StatusChangeNotification(), ua.EventNotificationList()):
        with pytest.raises(Unusual):
            decode_publish(publish(ua.DataChangeNotification(), strange), NOW_NS, read_variant)
    with pytest.raises(Unusual):
        decode_publish(struct_to_binary(ua.ServiceFault()), NOW_NS, read_variant)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(handles, usual), min_size=1, max_size=4), st.data())
def test_a_cut_message_is_never_misread(part: list[tuple[int, ua.DataValue]], told: st.DataObject) -> None:
    """A message that ends before its values do is no message."""
    values = make_items([one for one, _ in part], [value for _, value in part])
    octets = publish(ua.DataChangeNotification(values))
    cut = told.draw(st.integers(0, len(octets) - 13))  # its last 12 bytes are no values
    with pytest.raises(Unusual):
        decode_publish(octets[:cut], NOW_NS, read_variant)


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


def test_an_overflow_is_marked_beside_its_value() -> None:
    """The value itself is good; that others before it are lost is said of its row."""
    values = [make_value(ua.Variant(1.5, _KINDS.Double), code, None, None) for code in (0, 0x480)]
    rows = decode(encode(values), 2)
    assert (rows.values, rows.codes, rows.overflowed) == ([1.5, 1.5], {}, [1])


@pytest.mark.parametrize(("own", "expected"), [(True, 1_000_000_000), (False, 2_000_000_000)])
def test_picoseconds_stand_behind_their_own_timestamp(own: bool, expected: int) -> None:
    """As OPC 10000-6, 5.2.2.17 orders them; asyncua puts both timestamps before both picoseconds."""
    seconds = [struct.pack("<q", (11_644_473_600 + after) * 10_000_000) for after in (1, 2)]
    mask, first = (0x3D, seconds[0] + b"\x10\x00") if own else (0x29, b"")
    value = bytes([mask]) + b"\x0b" + struct.pack("<d", 1.5) + first + seconds[1] + b"\x20\x00"
    rows = decode(encode([])[:-8] + struct.pack("<i", 1) + value + b"\xff" * 4, 1)
    assert (rows.timestamps, rows.values, rows.codes) == ([expected], [1.5], {})


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
    rows = decode(octets, 1)
    assert (rows.values, rows.codes) == ([None], {0: quality.BAD_SENSOR_FAILURE})
