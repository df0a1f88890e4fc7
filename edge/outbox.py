"""What the gateway keeps until the cloud says "stored": a SQLite file that survives power cuts."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from edge.outbox_file import Identity, lock, open_file, translate
from edge.packing import pack
from models.errors import ForewarnError
from models.telemetry import (
    PAYLOAD_BYTES_MAX,
    Batch,
    DroppedRange,
    Frame,
    MachinePath,
    SequenceRanges,
    count_values,
    decode_batch,
    encode_batch,
)

DROPPED_RANGES_MAX = 500
SEQUENCE_DIGITS_MAX = 16


class StoredBatch(msgspec.Struct, frozen=True):
    """A batch as it lies in the outbox, ready to be published."""

    sequence: int
    machine: str
    payload: bytes


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


class Outbox:
    """Batches numbered 1, 2, 3... within an epoch. Every method blocks; use it from one thread only.

    `put` and `release` return after the commit is on the disk. Errors: `OutboxUnavailable` (nothing was
    changed: repeat), `OutboxCorrupt` (end the program).
    """

    def __init__(
        self, path: Path, gateway: str, bytes_max: int, payload_bytes_max: int = PAYLOAD_BYTES_MAX
    ) -> None:
        self.path = path
        self.gateway = gateway
        self.bytes_max = bytes_max
        self.payload_bytes_max = payload_bytes_max
        self._lock_file: IO[str] | None = None
        self._sequence_last = self._values_total = self._waiting_values = self.waiting_bytes = 0
        self._waiting = SequenceRanges()
        self._dropped: list[DroppedRange] = []

    def open(self) -> None:
        """Lock and open the file; a damaged one is set aside and a fresh one (new epoch) begun."""
        self._lock_file = lock(self.path)
        try:
            self._connection, self._identity = open_file(self.path, self.gateway)
            with self._translated():
                self._load()
        except ForewarnError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and let others open it."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    @property
    def identity(self) -> Identity:
        """Whose outbox this is."""
        return self._identity

    def put(self, flush: Sequence[tuple[MachinePath, list[Frame]]], now_ns: int) -> Put:
        """Commit the frames as one transaction: a batch per machine, more where one would be too large."""
        rows, sequence, values = [], self._sequence_last, 0
        for machine, frames in flush:
            for part, payload in self._encode(frames, sequence + 1):
                sequence += 1
                counted = count_values(part)
                values += counted
                rows.append((sequence, str(machine), counted, len(payload), now_ns, payload))
        added_bytes = sum(row[3] for row in rows)
        with self._transaction():
            self._connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._connection.execute(
                "UPDATE totals SET sequence_last = ?, values_total = values_total + ?", (sequence, values)
            )
            dropped, freed_bytes = self._drop_oldest(self.waiting_bytes + added_bytes - self.bytes_max)
        if rows:
            self._waiting.add(rows[0][0], sequence)
        self._sequence_last = sequence
        self._values_total += values
        self.waiting_bytes += added_bytes - freed_bytes
        self._waiting_values += values - sum(gone.values for gone in dropped)
        if dropped:
            self._waiting = self._waiting.minus(SequenceRanges((gone.first, gone.last) for gone in dropped))
            self._dropped = self._read_dropped()
        return Put([StoredBatch(row[0], row[1], row[5]) for row in rows], dropped)

    def read(
        self, ranges: Iterable[tuple[int, int]], count_max: int, bytes_max: int
    ) -> tuple[list[StoredBatch], bool]:
        """Return the batches in `ranges`, in order, and whether those are all.

        They are not when there are more than `count_max`, or (but for the first) than `bytes_max` bytes.
        """
        found: list[StoredBatch] = []
        size = 0
        with self._translated():
            for first, last in ranges:
                for row in self._connection.execute(
                    "SELECT sequence, machine, payload FROM batches WHERE sequence BETWEEN ? AND ? "
                    "ORDER BY sequence",
                    (first, last),
                ):
                    size += len(row[2])
                    if found and (len(found) == count_max or size > bytes_max):
                        return found, False
                    found.append(StoredBatch(*row))
        return found, True

    def release(self, receipted: Iterable[tuple[int, int]]) -> int:
        """Delete the batches in the ranges, as one transaction; return how many there were."""
        gone = [
            (max(first, 1), min(last, self._sequence_last))
            for first, last in receipted
            if first <= min(last, self._sequence_last)
        ]
        count = values = size = 0
        with self._transaction():
            for bounds in gone:
                sums = self._connection.execute(
                    "SELECT count(*), coalesce(sum(value_count), 0), coalesce(sum(payload_bytes), 0) "
                    "FROM batches WHERE sequence BETWEEN ? AND ?",
                    bounds,
                ).fetchone()
                if sums[0]:
                    self._connection.execute("DELETE FROM batches WHERE sequence BETWEEN ? AND ?", bounds)
                    count, values, size = count + sums[0], values + sums[1], size + sums[2]
        self._waiting = self._waiting.minus(SequenceRanges(gone))
        self._waiting_values -= values
        self.waiting_bytes -= size
        return int(count)

    def recut(self, sequence: int, now_ns: int) -> Put:
        """Replace a batch that is larger than `payload_bytes_max` by smaller ones under new sequences.

        The old sequence counts as dropped with no values; not there any more: nothing happens.
        """
        found, _ = self.read([(sequence, sequence)], 1, 1)
        if not found:
            return Put([], [])
        parts = self._encode(decode_batch(found[0].payload).frames, self._sequence_last + 1)
        last = self._sequence_last + len(parts)
        rows = [
            (number, found[0].machine, count_values(part), len(payload), now_ns, payload)
            for number, (part, payload) in enumerate(parts, self._sequence_last + 1)
        ]
        reason = f"cut into {rows[0][0]} to {last}: larger than the broker takes"
        gone = [DroppedRange(sequence, sequence, 0, reason)]
        with self._transaction():
            self._connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._connection.execute("UPDATE totals SET sequence_last = ?", (last,))
            self._connection.execute("DELETE FROM batches WHERE sequence = ?", (sequence,))
            self._record_dropped(gone)
        self._waiting.add(rows[0][0], last)
        self._waiting = self._waiting.minus(SequenceRanges([(sequence, sequence)]))
        self._sequence_last = last
        self.waiting_bytes += sum(row[3] for row in rows) - len(found[0].payload)
        self._dropped = self._read_dropped()
        return Put([StoredBatch(row[0], row[1], row[5]) for row in rows], gone)

    def totals(self) -> OutboxTotals:
        """Return the outbox in numbers."""
        return OutboxTotals(
            epoch=self._identity.epoch,
            sequence_last=self._sequence_last,
            values_total=self._values_total,
            waiting=list(self._waiting),
            waiting_values=self._waiting_values,
            waiting_bytes=self.waiting_bytes,
            dropped=self._dropped,
        )

    def _encode(self, frames: list[Frame], sequence: int) -> list[tuple[list[Frame], bytes]]:
        gateway, epoch = self._identity.gateway, self._identity.epoch

        def encode(part: list[Frame], number: int = sequence) -> bytes:
            return encode_batch(Batch(gateway, epoch, number, part))

        packed = pack(frames, encode, self.payload_bytes_max - SEQUENCE_DIGITS_MAX)
        return packed[:1] + [
            (part, encode(part, sequence + offset)) for offset, (part, _) in enumerate(packed[1:], 1)
        ]

    def _drop_oldest(self, excess_bytes: int) -> tuple[list[DroppedRange], int]:
        """Delete the oldest batches until `excess_bytes` are free; return what went, and the bytes freed."""
        if excess_bytes <= 0:
            return [], 0
        reason = f"the outbox was full ({self.bytes_max} bytes)"
        ranges: list[DroppedRange] = []
        freed = 0
        for sequence, values, size in self._connection.execute(
            "SELECT sequence, value_count, payload_bytes FROM batches ORDER BY sequence"
        ):
            if freed >= excess_bytes:
                break
            freed += size
            _extend(ranges, DroppedRange(sequence, sequence, values, reason))
        for gone in ranges:
            self._connection.execute(
                "DELETE FROM batches WHERE sequence BETWEEN ? AND ?", (gone.first, gone.last)
            )
        self._record_dropped(ranges)
        return ranges, freed

    def _record_dropped(self, ranges: list[DroppedRange]) -> None:
        kept = list(self._dropped)
        for gone in ranges:
            _extend(kept, gone)
        while len(kept) > DROPPED_RANGES_MAX:
            first, second = kept[0], kept[1]
            kept[:2] = [DroppedRange(first.first, second.last, first.values + second.values, second.reason)]
        self._connection.execute("DELETE FROM dropped")
        self._connection.executemany(
            "INSERT INTO dropped VALUES (?, ?, ?, ?)",
            [(gone.first, gone.last, gone.values, gone.reason) for gone in kept],
        )

    def _read_dropped(self) -> list[DroppedRange]:
        rows = self._connection.execute("SELECT first, last, value_count, reason FROM dropped ORDER BY first")
        return [DroppedRange(*row) for row in rows]

    def _load(self) -> None:
        self._sequence_last, self._values_total = self._connection.execute(
            "SELECT sequence_last, values_total FROM totals"
        ).fetchone()
        self._waiting = SequenceRanges()
        self._waiting_values = self.waiting_bytes = 0
        for sequence, values, size in self._connection.execute(
            "SELECT sequence, value_count, payload_bytes FROM batches ORDER BY sequence"
        ):
            self._waiting.add(sequence)
            self._waiting_values += values
            self.waiting_bytes += size
        self._dropped = self._read_dropped()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block did, or undo it whole."""
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error


def _extend(ranges: list[DroppedRange], gone: DroppedRange) -> None:
    """Put `gone` after the last range, or into it where it follows without a hole and for the same reason."""
    if ranges and ranges[-1].last + 1 == gone.first and ranges[-1].reason == gone.reason:
        before = ranges.pop()
        gone = DroppedRange(before.first, gone.last, before.values + gone.values, gone.reason)
    ranges.append(gone)
