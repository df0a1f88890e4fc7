"""Frames and gaps of one machine as numbered payloads, none larger than the broker takes. Pure."""

from collections.abc import Sequence

import msgspec

from edge.outbox.file import Identity
from edge.polling.packing import FRAMES_PER_BATCH_MAX, pack
from models.telemetry import (
    Batch,
    Frame,
    Gap,
    count_values,
    encode_batch,
    encode_framed,
    encode_frames,
)
from models.telemetry.gap import GAPS_MAX

SEQUENCE_DIGITS_MAX = 16

Payload = tuple[int, int, bytes]
"""Sequence, how many numbers it carries, the bytes."""


class Ready(msgspec.Struct, frozen=True):
    """Frames that are encoded already, and how many numbers they carry."""

    frames: bytes
    values: int


def make_ready(frames: list[Frame]) -> Ready:
    """Encode what does not depend on the sequence."""
    encoded = encode_frames(frames)
    return Ready(encoded, count_values(frames, encoded))


def make_payloads(
    identity: Identity,
    sequence: int,
    frames: list[Frame],
    gaps: Sequence[Gap],
    bytes_max: int,
    ready: Ready | None = None,
) -> list[Payload]:
    """Return the payloads of batches `sequence`, `sequence` + 1, ..., those of gaps first.

    `ready` is what `make_ready` made of the frames. Raises `TooLarge` when a single value does not fit.
    """
    size_max = bytes_max - SEQUENCE_DIGITS_MAX
    told = _encode_gaps(identity, sequence, list(gaps), size_max) if gaps else []
    if ready is not None and not told and len(frames) <= FRAMES_PER_BATCH_MAX:
        payload = encode_framed(identity.gateway, identity.epoch, sequence, ready.frames)
        if len(payload) <= size_max:
            return [(sequence, ready.values, payload)]
    return told + (_encode_frames(identity, sequence + len(told), frames, size_max) if frames else [])


def _encode_frames(identity: Identity, sequence: int, frames: list[Frame], size_max: int) -> list[Payload]:
    def encode(part: list[Frame], number: int = sequence) -> bytes:
        return encode_batch(Batch(identity.gateway, identity.epoch, number, part))

    packed = pack(frames, encode, size_max)
    return [(sequence, count_values(*packed[0]), packed[0][1])] + [
        (number, count_values(part, payload), encode(part, number))
        for number, (part, payload) in enumerate(packed[1:], sequence + 1)
    ]


def _encode_gaps(identity: Identity, sequence: int, gaps: list[Gap], size_max: int) -> list[Payload]:
    payload = encode_batch(Batch(identity.gateway, identity.epoch, sequence, [], gaps))
    if len(payload) <= size_max and len(gaps) <= GAPS_MAX:
        return [(sequence, 0, payload)]
    if len(gaps) == 1:
        # So many names that they do not fit: the gap of all tags covers these, too.
        if not gaps[0].tags:
            return [(sequence, 0, payload)]
        return _encode_gaps(identity, sequence, [msgspec.structs.replace(gaps[0], tags=[])], size_max)
    middle = len(gaps) // 2
    first = _encode_gaps(identity, sequence, gaps[:middle], size_max)
    return first + _encode_gaps(identity, sequence + len(first), gaps[middle:], size_max)
