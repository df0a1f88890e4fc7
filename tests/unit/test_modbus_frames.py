"""Frames of Modbus TCP: what is asked, which answer belongs to it, and that no bytes can do harm."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse

from edge.drivers.modbus.mbap import READ_CODES, Asked, Told, find_answer, make_answer_head, make_request

ASKED = Asked(transaction=7, unit_id=17, function=3)
ANSWER = struct.pack(">HHHBBBHH", 7, 0, 7, 17, 3, 4, 615, 1)


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Return a frame by the standard's text."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def test_only_reads_can_be_asked_for() -> None:
    """The four function codes that read, and no other."""
    assert READ_CODES == {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


@given(st.integers(1, 65_535), st.integers(0, 255), st.integers(0, 65_535), st.integers(1, 125))
def test_a_request_is_the_one_that_pymodbus_makes(
    transaction: int, unit: int, address: int, count: int
) -> None:
    """Byte for byte."""
    theirs = ReadHoldingRegistersRequest(
        address=address, count=count, dev_id=unit, transaction_id=transaction
    )
    expected = FramerSocket(DecodePDU(False)).buildFrame(theirs)
    assert make_request(Asked(transaction, unit, 3), address, count) == expected


@given(
    st.integers(1, 65_535), st.integers(1, 255), st.lists(st.integers(0, 65_535), min_size=1, max_size=125)
)
def test_an_answer_of_pymodbus_is_read(transaction: int, unit: int, registers: list[int]) -> None:
    """The registers come out as they stood on the wire."""
    theirs = ReadHoldingRegistersResponse(registers=registers, dev_id=unit, transaction_id=transaction)
    received = FramerSocket(DecodePDU(True)).buildFrame(theirs)
    told, rest = find_answer(received, Asked(transaction, unit, 3))
    assert (told, rest) == (Told(struct.pack(f">{len(registers)}H", *registers)), b"")


def test_a_refusal_of_pymodbus_is_read() -> None:
    """With its code."""
    theirs = ExceptionResponse(3, 2, device_id=17, transaction=7)
    received = FramerSocket(DecodePDU(True)).buildFrame(theirs)
    assert find_answer(received, ASKED) == (Told(None, 2), b"")


@given(st.integers(0, len(ANSWER) - 1))
def test_a_piece_of_an_answer_waits_for_the_rest(cut: int) -> None:
    """Wherever the network cuts it."""
    told, kept = find_answer(ANSWER[:cut], ASKED)
    assert (told, kept) == (None, ANSWER[:cut])
    assert find_answer(kept + ANSWER[cut:], ASKED) == (Told(ANSWER[9:]), b"")


@pytest.mark.parametrize(
    "other",
    [
        frame(6, 17, b"\x03\x04\x00\x00\x00\x00"),  # the answer to an earlier request
        frame(7, 18, b"\x03\x04\x00\x00\x00\x00"),  # another unit's
        frame(7, 17, b"\x04\x04\x00\x00\x00\x00"),  # another table's
        frame(6, 17, b"\x83\x02"),
    ],
)
def test_what_belongs_to_another_request_is_passed_over(other: bytes) -> None:
    """The right answer behind it is found."""
    assert find_answer(other, ASKED) == (None, b"")
    assert find_answer(other + ANSWER, ASKED) == (Told(ANSWER[9:]), b"")


def test_devices_that_never_repeat_the_transaction_are_understood() -> None:
    """They answer with 0, as pymodbus takes it."""
    told, _ = find_answer(frame(0, 17, b"\x03\x02\x00\x2a"), ASKED)
    assert told == Told(b"\x00\x2a")


def test_a_refusal_whose_code_is_not_counted_is_understood() -> None:
    """Two bytes said, three sent: such devices are known."""
    received = struct.pack(">HHHBBB", 7, 0, 2, 17, 0x83, 2)
    assert find_answer(received, ASKED) == (Told(None, 2), b"")


def test_whoever_is_asked_as_unit_0_may_answer_by_its_own_number() -> None:
    """Many devices ignore the unit on TCP."""
    told, _ = find_answer(frame(7, 255, b"\x03\x02\x00\x2a"), Asked(7, 0, 3))
    assert told == Told(b"\x00\x2a")


def test_an_answer_says_how_much_it_has() -> None:
    """Fewer bytes than counted are fewer: whoever asked sees that it is short."""
    told, _ = find_answer(frame(7, 17, b"\x03\x04\x00\x2a"), ASKED)
    assert told == Told(b"\x00\x2a")


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\r\n", b"\x00\x07\x00\x00\x00\x01\x11\x03\x04", b"\xff" * 300]
)
def test_what_is_no_frame_is_dropped(noise: bytes) -> None:
    """The next exchange begins with nothing."""
    assert find_answer(noise, ASKED) == (None, b"")


@given(st.binary(max_size=600))
def test_no_bytes_do_harm(received: bytes) -> None:
    """Whatever comes is an answer, waits or is dropped; nothing grows, and nothing is made up."""
    told, kept = find_answer(received, ASKED)
    assert received.endswith(kept)
    assert len(kept) < 270 or told is not None
    if told is not None and told.octets:
        assert told.octets in received


@given(st.integers(1, 65_535), st.integers(0, 255), st.sampled_from([1, 2, 3, 4]), st.binary(max_size=250))
def test_a_plain_answer_is_known_by_its_head(transaction: int, unit: int, code: int, octets: bytes) -> None:
    """What begins with that head and ends with its bytes is read alike by the way for all answers."""
    asked = Asked(transaction, unit, code)
    head = make_answer_head(asked, len(octets))
    assert find_answer(head + octets, asked) == (Told(octets), b"")
    assert head[7] == code
