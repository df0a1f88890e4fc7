"""Batches of frames as columnar JSON: what travels from a gateway to the cloud, and how it is refused."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from models.errors import ForewarnError
from models.telemetry.gap import GAP_DETAIL_CHARS_MAX, GAPS_MAX, Gap
from models.telemetry.topics import SEGMENT

SCHEMA_VERSION = 1
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
FRAMES_MAX = 10_000
TAGS_MAX = 10_000
TAG_NAME_CHARS_MAX = 128
SEQUENCE_MAX = 2**53
TIMESTAMP_NS_MAX = 2**63 - 1
STATUS_CODE_MAX = 2**32 - 1
EPOCH_CHARS_MAX = 64

Value = float | None
Column = Sequence[Value]
"""A tag's values, row by row: a list, or a tuple where nothing is added to it any more."""


class BatchRejected(ForewarnError):
    """The payload can never be stored: keep it as a dead letter with this reason and go on."""


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Values of some tags of one machine, observed at the same instants.

    `timestamps` are nanoseconds since 1970 UTC, strictly ascending; `values[tag][i]` was observed at
    `timestamps[i]` and is None where its quality is bad. `quality[tag][i]` is an OPC UA status code;
    a value without one is good, a None without one is bad for an unknown reason. `repeats[tag]` are the rows
    in which an unchanged value was said again only because its heartbeat was due.
    """

    timestamps: list[int]
    values: dict[str, Column]
    quality: dict[str, dict[int, int]] = {}
    repeats: dict[str, list[int]] = {}


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One flush of one machine: what a gateway numbers, keeps and lets go as a whole.

    `sequence` counts from 1 per (gateway, epoch); `epoch` is a random id born with the outbox file.
    `gaps` say what was not acquired; a batch may hold nothing else.
    """

    gateway: str
    epoch: str
    sequence: int
    frames: list[Frame]
    gaps: list[Gap] = []


class _WireBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """`Batch` with the schema version in front, as it stands on the wire."""

    v: int
    gateway: str
    epoch: str
    sequence: int
    frames: list[Frame]
    gaps: list[Gap] = []


class _RawBatch(msgspec.Struct, frozen=True):
    """`_WireBatch` whose frames are encoded already."""

    v: int
    gateway: str
    epoch: str
    sequence: int
    frames: msgspec.Raw


class _Version(msgspec.Struct, frozen=True):
    """Only the schema version: read first when the whole does not fit."""

    v: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_WireBatch)
_version_decoder = msgspec.json.Decoder(_Version)


def count_values(frames: list[Frame], encoded: bytes | None = None) -> int:
    """Return how many numbers the frames carry (a None is a reading without a value, and not counted).

    `encoded`: what `encode_frames` or `encode_batch` made of them, where that is at hand. A look through it
    finds, at a quarter of the price, that there is no None.
    """
    if encoded is not None and b"null" not in encoded:
        return sum([len(frame.timestamps) * len(frame.values) for frame in frames])
    columns = [column for frame in frames for column in frame.values.values()]
    return sum([len(column) - column.count(None) for column in columns])


def encode_batch(batch: Batch) -> bytes:
    """Return the payload of `batch`: columnar JSON, schema 1. The caller vouches for the shapes."""
    return _encoder.encode(
        _WireBatch(SCHEMA_VERSION, batch.gateway, batch.epoch, batch.sequence, batch.frames, batch.gaps)
    )


def encode_frames(frames: list[Frame]) -> bytes:
    """Return the frames as they stand in a batch, for `encode_framed`."""
    return _encoder.encode(frames)


def encode_framed(gateway: str, epoch: str, sequence: int, frames: bytes) -> bytes:
    """Return what `encode_batch` returns of a batch with the frames that `encode_frames` has encoded."""
    return _encoder.encode(_RawBatch(SCHEMA_VERSION, gateway, epoch, sequence, msgspec.Raw(frames)))


def decode_batch(payload: bytes) -> Batch:
    """Return the batch in `payload`, checked; raise `BatchRejected` with the reason for anything else."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BatchRejected(f"payload has {len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    try:
        wire = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BatchRejected(_explain(payload, error)) from error
    if wire.v != SCHEMA_VERSION:
        raise BatchRejected(_unknown_version(wire.v))
    _check_header(wire)
    for index, frame in enumerate(wire.frames):
        _check_frame(index, frame)
    for index, gap in enumerate(wire.gaps):
        _check_gap(index, gap)
    if payload.count(b'"') != _count_quotes(wire):
        _refuse_duplicate_keys(payload)
    return Batch(wire.gateway, wire.epoch, wire.sequence, wire.frames, wire.gaps)


def _unknown_version(version: int) -> str:
    return (
        f"schema version {version} is not known here (this side reads {SCHEMA_VERSION}): "
        "update the cloud, then replay the dead letter"
    )


def _explain(payload: bytes, error: Exception) -> str:
    """Say why the payload does not fit, naming an unknown schema version before anything else."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    try:
        version = _version_decoder.decode(payload).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return str(error)
    return str(error) if version == SCHEMA_VERSION else _unknown_version(version)


def _check_header(wire: _WireBatch) -> None:
    if not SEGMENT.fullmatch(wire.gateway):
        raise BatchRejected(f"gateway {wire.gateway[:80]!r} does not match {SEGMENT.pattern}")
    if not (0 < len(wire.epoch) <= EPOCH_CHARS_MAX and wire.epoch.isascii() and wire.epoch.isalnum()):
        raise BatchRejected(f"epoch {wire.epoch[:80]!r} is not 1 to {EPOCH_CHARS_MAX} letters or digits")
    if not 1 <= wire.sequence <= SEQUENCE_MAX:
        raise BatchRejected(f"sequence {wire.sequence} is outside 1..{SEQUENCE_MAX}")
    if len(wire.frames) > FRAMES_MAX:
        raise BatchRejected(f"{len(wire.frames)} frames, more than {FRAMES_MAX}")
    if len(wire.gaps) > GAPS_MAX:
        raise BatchRejected(f"{len(wire.gaps)} gaps, more than {GAPS_MAX}")


def _check_frame(index: int, frame: Frame) -> None:
    times, rows = frame.timestamps, len(frame.timestamps)
    if rows == 0:
        raise BatchRejected(f"frames[{index}].timestamps is empty")
    # Sorting what is sorted already is one pass in C: ten times cheaper than comparing neighbours here.
    if not (times[0] > 0 and times[-1] <= TIMESTAMP_NS_MAX) or sorted(set(times)) != times:
        raise BatchRejected(f"frames[{index}].timestamps are not strictly ascending in 1..2^63-1")
    if not 0 < len(frame.values) <= TAGS_MAX:
        raise BatchRejected(f"frames[{index}].values has {len(frame.values)} tags, not 1..{TAGS_MAX}")
    for tag, column in frame.values.items():
        if len(column) != rows:
            raise BatchRejected(
                f"frames[{index}].values[{tag[:80]!r}] has {len(column)} values for {rows} timestamps"
            )
        _check_tag_name(f"frames[{index}]", tag)
    if frame.quality:
        _check_quality(index, frame, rows)
    for tag, repeated in frame.repeats.items():
        if tag not in frame.values:
            raise BatchRejected(f"frames[{index}].repeats names {tag[:80]!r}, which has no values")
        if repeated and not (min(repeated) >= 0 and max(repeated) < rows):
            raise BatchRejected(f"frames[{index}].repeats[{tag[:80]!r}] names a row outside 0..{rows - 1}")


def _check_tag_name(where: str, tag: str) -> None:
    if not (0 < len(tag) <= TAG_NAME_CHARS_MAX and tag.isprintable()):
        raise BatchRejected(
            f"{where}: tag name {tag[:80]!r} is not 1 to {TAG_NAME_CHARS_MAX} printable characters"
        )


def _check_gap(index: int, gap: Gap) -> None:
    if not 0 <= gap.first < gap.last <= TIMESTAMP_NS_MAX:
        raise BatchRejected(f"gaps[{index}] does not reach from an earlier instant to a later one")
    if gap.filled < 0 or (gap.values or 0) < 0:
        raise BatchRejected(f"gaps[{index}] counts fewer than no values")
    if len(gap.detail) > GAP_DETAIL_CHARS_MAX or len(gap.tags) > TAGS_MAX:
        raise BatchRejected(f"gaps[{index}] is too long: {len(gap.detail)} letters, {len(gap.tags)} tags")
    for tag in gap.tags:
        _check_tag_name(f"gaps[{index}]", tag)


def _check_quality(index: int, frame: Frame, rows: int) -> None:
    for tag, codes in frame.quality.items():
        if tag not in frame.values:
            raise BatchRejected(f"frames[{index}].quality names {tag[:80]!r}, which has no values")
        if codes and not (min(codes) >= 0 and max(codes) < rows):
            raise BatchRejected(f"frames[{index}].quality[{tag[:80]!r}] names a row outside 0..{rows - 1}")
        if codes and not (min(codes.values()) >= 0 and max(codes.values()) <= STATUS_CODE_MAX):
            raise BatchRejected(f"frames[{index}].quality[{tag[:80]!r}] holds no OPC UA status code")


def _count_quotes(wire: _WireBatch) -> int:
    """Count the quotation marks of the shortest payload that says `wire`.

    JSON decoders keep the last of two equal keys without a word. Any key more than the needed ones
    (a repeat, an unknown key, an escaped quote) raises the count, and only then the slow look is due.
    """
    strings = 7  # five keys, gateway, epoch
    for frame in wire.frames:
        strings += 2 + len(frame.values)
        if frame.quality:
            strings += 1 + len(frame.quality) + sum(len(codes) for codes in frame.quality.values())
        if frame.repeats:
            strings += 1 + len(frame.repeats)
    # Gaps are rare and their optional keys many: a batch with gaps always gets the slow look.
    return 2 * strings


def _refuse_duplicate_keys(payload: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(unique) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            raise BatchRejected(f"key {repeated[:80]!r} stands twice in one object")
        return unique

    try:
        json.loads(payload, object_pairs_hook=check)
    except (ValueError, RecursionError) as error:
        raise BatchRejected(f"not JSON that every reader takes alike: {error}") from error
