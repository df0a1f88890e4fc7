"""The outbox's SQL: every statement on its tables, and what a failed one means to the caller."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.outbox.file import OutboxUnavailable, translate
from edge.outbox.stored import Row, StoredBatch
from models.telemetry import DroppedRange
from models.telemetry.ranges import Range


class OutboxTables:
    """The open file. Writing is done inside `transaction`, all of which happens or nothing.

    Raises `OutboxUnavailable` (`OutboxFull` when there is no room) and `OutboxCorrupt`.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self._path = path

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did, or undo it whole."""
        with self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what the caller must be told."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def insert(self, rows: list[Row], sequence_last: int, values: int) -> None:
        """Add batches of the sequences up to `sequence_last`, with `values` new values."""
        self.connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.connection.execute(
            "UPDATE totals SET sequence_last = ?, values_total = values_total + ?", (sequence_last, values)
        )

    def delete(self, ranges: Iterable[Range]) -> tuple[int, int, int]:
        """Take batches out; return how many there were, their values and their bytes."""
        count = values = size = 0
        for bounds in ranges:
            sums = self.connection.execute(
                "SELECT count(*), coalesce(sum(value_count), 0), coalesce(sum(payload_bytes), 0) "
                "FROM batches WHERE sequence BETWEEN ? AND ?",
                bounds,
            ).fetchone()
            if sums[0]:
                self.connection.execute("DELETE FROM batches WHERE sequence BETWEEN ? AND ?", bounds)
                count, values, size = count + sums[0], values + sums[1], size + sums[2]
        return count, values, size

    def read(self, ranges: Iterable[Range], count_max: int, bytes_max: int) -> tuple[list[StoredBatch], bool]:
        """See `Outbox.read`."""
        found: list[StoredBatch] = []
        size = 0
        with self.translated():
            for bounds in ranges:
                for row in self.connection.execute(
                    "SELECT sequence, machine, payload FROM batches WHERE sequence BETWEEN ? AND ? "
                    "ORDER BY sequence",
                    bounds,
                ):
                    size += len(row[2])
                    if found and (len(found) == count_max or size > bytes_max):
                        return found, False
                    found.append(StoredBatch(*row))
        return found, True

    def list_sizes(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (sequence, values, bytes, when it was put there) of every batch, the oldest first."""
        yield from self.connection.execute(
            "SELECT sequence, value_count, payload_bytes, created_ns FROM batches ORDER BY sequence"
        )

    def cut(self, ranges: Iterable[Range], count_max: int) -> list[Range]:
        """Return the ranges in parts of at most `count_max` batches that are there."""
        parts = []
        with self.translated():
            for bounds in ranges:
                there = self.connection.execute(
                    "SELECT sequence FROM batches WHERE sequence BETWEEN ? AND ? ORDER BY sequence", bounds
                ).fetchall()
                for at in range(0, len(there), count_max):
                    part = there[at : at + count_max]
                    parts.append((int(part[0][0]), int(part[-1][0])))
        return parts

    def read_totals(self) -> tuple[int, int]:
        """Return the last sequence that was given away, and how many values ever came."""
        sequence_last, values_total = self.connection.execute(
            "SELECT sequence_last, values_total FROM totals"
        ).fetchone()
        return int(sequence_last), int(values_total)

    def read_dropped(self) -> list[DroppedRange]:
        """Return what was given up, ever."""
        rows = self.connection.execute("SELECT first, last, value_count, reason FROM dropped ORDER BY first")
        return [DroppedRange(*row) for row in rows]

    def replace_dropped(self, dropped: list[DroppedRange]) -> None:
        """Write down all that was given up, ever."""
        self.connection.execute("DELETE FROM dropped")
        self.connection.executemany(
            "INSERT INTO dropped VALUES (?, ?, ?, ?)",
            [(gone.first, gone.last, gone.values, gone.reason) for gone in dropped],
        )

    def write_reached(self, reached: Mapping[str, int]) -> None:
        """Write down up to when machines are acquired, in nanoseconds; within the caller's transaction."""
        if reached:
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS reached "
                "(machine TEXT PRIMARY KEY, reached_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID"
            )
            self.connection.executemany("INSERT OR REPLACE INTO reached VALUES (?, ?)", list(reached.items()))

    def read_reached(self) -> dict[str, int]:
        """Return up to when each machine is acquired; a file of an older program does not say."""
        there = "SELECT count(*) FROM sqlite_master WHERE name = 'reached'"
        if not self.connection.execute(there).fetchone()[0]:
            return {}
        return dict(self.connection.execute("SELECT machine, reached_ns FROM reached").fetchall())

    def count_free_pages(self) -> int:
        """Return how many pages of the file are free to be written anew."""
        with self.translated():
            return int(self.connection.execute("PRAGMA freelist_count").fetchone()[0])

    def fold_log(self) -> None:
        """Carry what the write-ahead log holds into the file, as far as the disk allows."""
        with suppress(OutboxUnavailable), self.translated():
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
