"""Reads a subscription's message straight from its bytes: which one it is, and its values as columns."""

import struct
from collections.abc import Sequence
from itertools import chain

import msgspec

from edge.drivers.columns import Rows
from edge.drivers.opcua.values import ReadVariant, Unusual, decode_values, skip_header

PUBLISH_REQUEST = b"\x01\x00\x3a\x03"
"""The type id with which a PublishRequest begins: i=826, in four bytes."""

PUBLISH_RESPONSE = b"\x01\x00\x3d\x03"
"""The type id with which a PublishResponse begins: i=829, in four bytes."""

_DATA_CHANGE = b"\x01\x00\x2b\x03\x01"
"""The type id of a DataChangeNotification, i=811, and that its body is binary."""

_UINT32 = struct.Struct("<I")
_COUNT = struct.Struct("<i")
_SEQUENCE = struct.Struct("<Iqi")
_ITEMS = struct.Struct("<ii")
_NOTIFICATIONS_MAX = 1_000


class Message(msgspec.Struct):
    """One answer to a publish request; without rows and end it is a mere sign of life.

    `sequence` numbers a subscription's messages; a sign of life has the number of the message to come.
    """

    subscription_id: int
    sequence: int
    rows: Rows | None = None
    end: str = ""
    """Why the subscription is over, when it is."""

    @property
    def is_sign_of_life(self) -> bool:
        """Return whether it tells nothing, and is not to be acknowledged."""
        return self.rows is None and not self.end


def write_acknowledgements(told: Sequence[tuple[int, int]]) -> bytes:
    """Return what follows a PublishRequest's header: of which subscriptions which messages have arrived."""
    return struct.pack(f"<i{2 * len(told)}I", len(told), *chain.from_iterable(told))


def decode_publish(octets: bytes, received_ns: int, read_variant: ReadVariant) -> Message:
    """Return the message of a PublishResponse that tells of changes, or of nothing; raise `Unusual`."""
    try:
        at = skip_header(octets, PUBLISH_RESPONSE)
        (subscription_id,) = _UINT32.unpack_from(octets, at)
        (available,) = _COUNT.unpack_from(octets, at + 4)
        at += 8 + 4 * max(0, available) + 1
        sequence, _, count = _SEQUENCE.unpack_from(octets, at)
        at += _SEQUENCE.size
        if count <= 0:
            return Message(subscription_id, sequence)
        if count > _NOTIFICATIONS_MAX:
            raise Unusual
        rows = Rows()
        for _ in range(count):
            at = _decode_changes(octets, at, received_ns, read_variant, rows)
    except (struct.error, IndexError) as error:
        raise Unusual from error
    return Message(subscription_id, sequence, rows)


def _decode_changes(octets: bytes, at: int, received_ns: int, read_variant: ReadVariant, rows: Rows) -> int:
    """Add the values of one DataChangeNotification to the rows; return where it ends."""
    if octets[at : at + 5] != _DATA_CHANGE:
        raise Unusual
    size, count = _ITEMS.unpack_from(octets, at + 5)
    end: int = at + 9 + size
    if size < 4 or end > len(octets):
        raise Unusual
    if decode_values(octets, at + 13, max(0, count), received_ns, read_variant, rows, has_handles=True) > end:
        raise Unusual
    return end
