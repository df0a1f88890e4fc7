"""What the outbox gives: batches as they lie there, what a put brought about, and the whole in numbers."""

import zlib
from collections.abc import Iterable

import msgspec

from models.telemetry import DroppedRange, Gap, MachinePath
from models.telemetry.ranges import Range

DROPPED_RANGES_MAX = 500

Row = tuple[int, str, int, int, int, int, bytes]
"""Sequence, machine, values, bytes, when it was put there, checksum, payload."""


class StoredBatch(msgspec.Struct, frozen=True):
    """A batch as it lies in the outbox, ready to be published."""

    sequence: int
    machine: str
    payload: bytes


class Coverage(msgspec.Struct, frozen=True):
    """What a flush says beside its frames: gaps, and up to when each machine is acquired (nanoseconds)."""

    gaps: list[tuple[MachinePath, list[Gap]]] = []
    reached: dict[str, int] = {}


class Put(msgspec.Struct, frozen=True):
    """What a `put` committed, and what it had to give up for room."""

    batches: list[StoredBatch]
    dropped: list[DroppedRange]


class OutboxTotals(msgspec.Struct, frozen=True):
    """The outbox in numbers. `waiting` are the inclusive ranges of sequences that lie there."""

    epoch: str
    sequence_last: int
    values_total: int
    waiting: list[tuple[int, int]]
    waiting_values: int
    waiting_bytes: int
    dropped: list[DroppedRange]


def make_checksum(machine: str, payload: bytes) -> int:
    """Return what tells a batch as it was written from one that a dying disk has changed."""
    return zlib.crc32(payload, zlib.crc32(machine.encode()))


def make_row(sequence: int, machine: str, values: int, now_ns: int, payload: bytes) -> Row:
    """Return a batch as it is written."""
    return sequence, machine, values, len(payload), now_ns, make_checksum(machine, payload), payload


def clip(ranges: Iterable[Range], sequence_last: int) -> list[Range]:
    """Return what was ever numbered of the ranges: a receipt may say anything."""
    return [
        (max(first, 1), min(last, sequence_last))
        for first, last in ranges
        if first <= min(last, sequence_last)
    ]


def extend_dropped(ranges: list[DroppedRange], gone: DroppedRange) -> None:
    """Put `gone` after the last range, or into it where it follows without a hole and for the same reason."""
    if ranges and ranges[-1].last + 1 == gone.first and ranges[-1].reason == gone.reason:
        before = ranges.pop()
        gone = DroppedRange(before.first, gone.last, before.values + gone.values, gone.reason)
    ranges.append(gone)


def add_dropped(known: list[DroppedRange], gone: list[DroppedRange]) -> list[DroppedRange]:
    """Return both together; beyond `DROPPED_RANGES_MAX` the oldest become one that covers too much."""
    kept: list[DroppedRange] = []
    for dropped in sorted([*known, *gone], key=lambda dropped: dropped.first):
        extend_dropped(kept, dropped)
    while len(kept) > DROPPED_RANGES_MAX:
        first, second = kept[0], kept[1]
        kept[:2] = [DroppedRange(first.first, second.last, first.values + second.values, second.reason)]
    return kept
