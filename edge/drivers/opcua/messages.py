"""Writes and reads OPC UA messages that are neither signed nor encrypted (OPC 10000-6, 6.7.2). Pure."""

import struct
from typing import NamedTuple

WHOLE = b"MSGF"
"""How a message begins that is in one piece, or the last piece of one."""

_HEAD = struct.Struct("<4sIIIII")
_REQUEST = struct.Struct("<qIIiIHB")
_NOTHING = -1
"""The length of a text that is not there."""


class Head(NamedTuple):
    """What stands before a message's body; `size` counts both."""

    kind: bytes
    size: int
    channel_id: int
    token_id: int
    sequence: int
    request_id: int


HEAD_BYTES = _HEAD.size


def write_message(channel_id: int, token_id: int, sequence: int, request_id: int, body: bytes) -> bytes:
    """Return a message in one piece."""
    return _HEAD.pack(WHOLE, HEAD_BYTES + len(body), channel_id, token_id, sequence, request_id) + body


def read_head(octets: bytes, at: int) -> Head | None:
    """Return the head of the message that begins there; None where it is not there yet as a whole."""
    if len(octets) - at < HEAD_BYTES:
        return None
    head = Head(*_HEAD.unpack_from(octets, at))
    return head if HEAD_BYTES <= head.size <= len(octets) - at else None


def write_request_header(session: bytes, time: int, handle: int, timeout_ms: int) -> bytes:
    """Return what begins each request after its type: of which session, when, and until when it is of use.

    `session`: the bytes of its authentication token. `time`: in steps of 100 ns since 1601.
    """
    return session + _REQUEST.pack(time, handle, 0, _NOTHING, timeout_ms, 0, 0)
