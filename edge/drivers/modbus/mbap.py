"""Frames of Modbus TCP: requests that read, and the one answer that belongs to a request. Pure.

Modbus Messaging on TCP/IP 1.0b, 3.1: transaction, protocol (0), how many bytes follow, unit; the function.
"""

import struct
from typing import Final

import msgspec

from edge.drivers.modbus.registers import Table

READ_CODES: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""All that is ever asked for: there is no other function code here."""

TRANSACTION_MAX = 65_535
HEADER_BYTES = 6
PDU_BYTES_MAX = 254  # with the unit before it
_REFUSED = 0x80
_REQUEST = struct.Struct(">HHHBBHH")
_ANSWER = struct.Struct(">HHHBBB")
_HEADER = struct.Struct(">HHH")


class Asked(msgspec.Struct, frozen=True):
    """What an answer must fit. Unit 0 is answered by whoever is there."""

    transaction: int
    unit_id: int
    function: int


class Told(msgspec.Struct, frozen=True):
    """An answer: the bytes of its registers or bits, as many as it has of them, or a refusal's code."""

    octets: bytes | None
    code: int = 0


def make_request(asked: Asked, address: int, count: int) -> bytes:
    """Return the request for `count` registers or bits from `address` on."""
    return _REQUEST.pack(asked.transaction, 0, 6, asked.unit_id, asked.function, address, count)


def make_answer_head(asked: Asked, octets: int) -> bytes:
    """Return how a plain answer begins that has so many bytes; they follow, and nothing else does."""
    return _ANSWER.pack(asked.transaction, 0, octets + 3, asked.unit_id, asked.function, octets)


def find_answer(received: bytes, asked: Asked) -> tuple[Told | None, bytes]:
    """Return the answer among what was received, None while it has not come, and the bytes still of use.

    Answers to earlier requests are passed over; what is no frame is dropped. A transaction 0 fits, too: some
    devices never repeat the one they were given.
    """
    while len(received) >= HEADER_BYTES + 2:
        transaction, protocol, length = _HEADER.unpack_from(received)
        if protocol or not 2 <= length <= PDU_BYTES_MAX:
            return None, b""
        end = HEADER_BYTES + length
        if len(received) < end:
            break
        function = received[7]
        if length == 2 and function & _REFUSED and len(received) > end:
            end += 1  # devices are known that do not count the exception's code
        is_ours = transaction in (asked.transaction, 0) and asked.unit_id in (received[6], 0)
        if is_ours and function & ~_REFUSED == asked.function:
            return _read(received[7:end]), received[end:]
        received = received[end:]
    return None, received


def _read(pdu: bytes) -> Told:
    if pdu[0] & _REFUSED:
        return Told(None, pdu[1] if len(pdu) > 1 else 0)
    return Told(pdu[2 : 2 + pdu[1]] if len(pdu) > 1 else b"")
