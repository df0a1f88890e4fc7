"""The few MQTT 5 packets that pass all day long: PUBLISH at QoS 0 and 1, and PUBACK. Pure.

MQTT Version 5.0 (OASIS, 2019), 2.1 fixed header, 3.3 PUBLISH, 3.4 PUBACK.
"""

import struct
from typing import Final, NamedTuple

PUBACK: Final = 0x40
PUBLISH: Final = 0x30
QOS_1: Final = 0x02
TYPE_MASK: Final = 0xF0
_QOS_MASK = 0x06
_LENGTH_BYTES_MAX = 4
_PUBACK = struct.Struct(">BBH")
_SHORT = struct.Struct(">H")


class Malformed(ValueError):
    """This is not MQTT."""


class Published(NamedTuple):
    """A message as it came; `mid` is 0 where `qos` is."""

    topic: str
    payload: bytes
    mid: int
    qos: int


def find_packet(received: bytes, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet that begins at `at` begins and where it ends.

    The end may lie beyond what was received; None while not even its length has come whole. Raises
    `Malformed` for a length of more than four bytes.
    """
    length = shift = 0
    for place in range(at + 1, at + 1 + _LENGTH_BYTES_MAX):
        if place >= len(received):
            return None
        octet = received[place]
        length |= (octet & 0x7F) << shift
        if octet < 0x80:
            return place + 1, place + 1 + length
        shift += 7
    raise Malformed("the length of a packet has more than four bytes")


def read_puback(received: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """Return which message is answered for and with what reason code; None where that cannot be read."""
    if end - begin < 2:
        return None
    (mid,) = _SHORT.unpack_from(received, begin)
    return mid, received[begin + 2] if end - begin > 2 else 0


def read_publish(received: bytes, at: int, begin: int, end: int) -> Published | None:
    """Return the message in the packet at `at`; None where it is no plain one of QoS 0 or 1."""
    qos = (received[at] & _QOS_MASK) >> 1
    topic_begin = begin + 2
    if qos > 1 or topic_begin > end:
        return None
    place = topic_end = topic_begin + _SHORT.unpack_from(received, begin)[0]
    mid = 0
    if qos:
        place += 2
        if place > end:
            return None
        (mid,) = _SHORT.unpack_from(received, topic_end)
    # Properties of more than 127 bytes: nobody sends us such.
    if place >= end or received[place] > 0x7F or place + 1 + received[place] > end:
        return None
    try:
        topic = str(received[topic_begin:topic_end], "utf-8")
    except UnicodeDecodeError:
        return None
    return Published(topic, received[place + 1 + received[place] : end], mid, qos)


def make_publish(topic: bytes, mid: int, payload: bytes, *, retain: bool = False) -> bytes:
    """Return a PUBLISH at QoS 1 without properties."""
    length = len(topic) + len(payload) + 5
    head = bytearray((PUBLISH | QOS_1 | retain,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, _SHORT.pack(len(topic)), topic, _SHORT.pack(mid), b"\0", payload))


def make_puback(mid: int) -> bytes:
    """Return the PUBACK that says that message `mid` is taken care of."""
    return _PUBACK.pack(PUBACK, 2, mid)
