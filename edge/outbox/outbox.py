"""What the gateway keeps until the cloud says "stored": a SQLite file that survives power cuts."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Literal

from edge.outbox.encoding import Ready, make_payloads
from edge.outbox.file import Identity, OutboxAtCap, OutboxFull, lock, open_file
from edge.outbox.held import HELD_BYTES_MAX, HeldTable
from edge.outbox.room import Ballast, count_pages
from edge.outbox.stored import (
    Coverage,
    OutboxTotals,
    Put,
    Row,
    StoredBatch,
    add_dropped,
    clip,
    extend_dropped,
    make_row,
)
from edge.outbox.tables import OutboxTables
from models.errors import ForewarnError
from models.telemetry import (
    PAYLOAD_BYTES_MAX,
    DroppedRange,
    Frame,
    Gap,
    MachinePath,
    SequenceRanges,
    decode_batch,
)
from models.telemetry.ranges import Range
from models.words import say_duration

RELEASED_AT_ONCE_MAX = 32  # on a full disk

WhenFull = Literal["drop_oldest", "stop_polling"]
__all__ = ["Outbox", "OutboxTotals", "Put", "StoredBatch", "WhenFull"]


class Outbox:
    """Batches numbered 1, 2, 3... within an epoch. Every method blocks; use it from one thread only.

    `put` and `release` return after the commit is on the disk. Errors: `OutboxUnavailable` (what was not
    committed is as it was: repeat), `OutboxCorrupt` (end the program).
    `when_full`: let the oldest go, or raise `OutboxAtCap`. Without `age_max_s` nothing is ever too old.
    """

    def __init__(
        self,
        path: Path,
        gateway: str,
        bytes_max: int,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        *,
        age_max_s: float | None = None,
        when_full: WhenFull = "drop_oldest",
    ) -> None:
        self.path = path
        self.gateway = gateway
        self.bytes_max = bytes_max
        self.payload_bytes_max = payload_bytes_max
        self.age_max_s = age_max_s
        self.when_full = when_full
        self._ballast = Ballast(path)
        self._lock_file: IO[str] | None = None
        self.sequence_last = self._values_total = self._waiting_values = self.waiting_bytes = 0
        self._waiting = SequenceRanges()
        self.dropped: list[DroppedRange] = []

    def open(self) -> None:
        """Lock and open the file; a damaged one is set aside and a fresh one (new epoch) begun."""
        self._lock_file = lock(self.path)
        try:
            self._open_file()
            with self._tables.translated():
                self._load()
            self._ballast.stow()
        except ForewarnError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and let others open it."""
        if hasattr(self, "_tables"):
            self._tables.connection.close()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    @property
    def identity(self) -> Identity:
        """Whose outbox this is."""
        return self._identity

    def put(
        self,
        flush: Sequence[tuple[MachinePath, list[Frame]]],
        now_ns: int,
        *,
        also: Callable[[], None] = lambda: None,
        coverage: Coverage | None = None,
        ready: Sequence[Ready] = (),
        receipted: Iterable[Range] = (),
    ) -> Put:
        """Commit the frames as one transaction: a batch per machine, more where one would be too large.

        `also` writes in the same transaction, and what is `receipted` goes with it. The gaps of `coverage`
        come before the frames; `ready` is nothing, or what was encoded of each machine's frames before.
        """
        rows: list[Row] = []
        told = coverage or Coverage()
        for machine, gaps in told.gaps:
            rows += self._make_rows(len(rows), machine, [], gaps, now_ns)
        for at, (machine, frames) in enumerate(flush):
            rows += self._make_rows(len(rows), machine, frames, [], now_ns, *ready[at : at + 1])
        self._look_for_room(row[3] for row in rows)
        gone = clip(receipted, self.sequence_last)

        def write_beside() -> None:
            self._tables.write_reached(told.reached)
            also()

        try:
            dropped = self._commit(rows, now_ns, write_beside, gone)
        except OutboxFull:
            self._tables.fold_log()  # a log that begins anew may need no more room
            dropped = self._commit(rows, now_ns, write_beside, gone)
        if not self._ballast.is_stowed:
            self._tables.fold_log()
        return Put([StoredBatch(row[0], row[1], row[-1]) for row in rows], dropped)

    def read(
        self, ranges: Iterable[tuple[int, int]], count_max: int, bytes_max: int
    ) -> tuple[list[StoredBatch], bool]:
        """Return the batches in `ranges`, in order, and whether those are all.

        They are not when there are more than `count_max`, or (but for the first) than `bytes_max` bytes.
        """
        return self._tables.read(ranges, count_max, bytes_max)

    def release(self, receipted: Iterable[Range]) -> int:
        """Delete the batches in the ranges; return how many there were.

        One transaction; on a full disk several small ones, in the room that the ballast gives up.
        """
        gone = clip(receipted, self.sequence_last)
        try:
            count = self._delete(gone)
        except OutboxFull:
            self._ballast.jettison()
            count = 0
            for part in self._tables.cut(gone, RELEASED_AT_ONCE_MAX):
                self._tables.fold_log()
                count += self._delete([part])
        if not self._ballast.stow():
            self._tables.fold_log()
        return count

    def recut(self, sequence: int, now_ns: int) -> Put:
        """Replace a batch that is larger than `payload_bytes_max` by smaller ones under new sequences.

        The old sequence counts as dropped with no values; not there any more: nothing happens.
        """
        found, _ = self.read([(sequence, sequence)], 1, 1)
        if not found:
            return Put([], [])
        batch = decode_batch(found[0].payload)
        rows = self._make_rows(0, found[0].machine, batch.frames, batch.gaps, now_ns)
        last = rows[-1][0]
        reason = f"cut into {rows[0][0]} to {last}: larger than the broker takes"
        gone = [DroppedRange(sequence, sequence, 0, reason)]
        known = add_dropped(self.dropped, gone)
        with self._tables.transaction():
            self._tables.insert(rows, last, 0)
            self._tables.delete([(sequence, sequence)])
            self._tables.replace_dropped(known)
        self.dropped = known
        self._waiting.add(rows[0][0], last)
        self._waiting = self._waiting.minus(SequenceRanges([(sequence, sequence)]))
        self.sequence_last = last
        self.waiting_bytes += sum(row[3] for row in rows) - len(found[0].payload)
        return Put([StoredBatch(row[0], row[1], row[-1]) for row in rows], gone)

    def totals(self) -> OutboxTotals:
        """Return the outbox in numbers."""
        return OutboxTotals(
            epoch=self._identity.epoch,
            sequence_last=self.sequence_last,
            values_total=self._values_total,
            waiting=list(self._waiting),
            waiting_values=self._waiting_values,
            waiting_bytes=self.waiting_bytes,
            dropped=self.dropped,
        )

    def read_reached(self) -> dict[str, int]:
        """Return up to when each machine is acquired, or stands in a gap (nanoseconds since 1970)."""
        with self._tables.translated():
            return self._tables.read_reached()

    def _commit(
        self, rows: list[Row], now_ns: int, also: Callable[[], None], gone: list[Range]
    ) -> list[DroppedRange]:
        """Write the rows, delete what is `gone`, what is too old, what must go for them; return what went."""
        sequence = rows[-1][0] if rows else self.sequence_last
        values, added_bytes = sum(row[2] for row in rows), sum(row[3] for row in rows)
        with self._tables.transaction():
            self._tables.insert(rows, sequence, values)
            _, gone_values, gone_bytes = self._tables.delete(gone)
            excess_bytes = self.waiting_bytes + added_bytes - gone_bytes - self.bytes_max
            dropped = self._choose_oldest(excess_bytes, now_ns)
            known = add_dropped(self.dropped, dropped) if dropped else self.dropped
            _, lost_values, lost_bytes = self._tables.delete((one.first, one.last) for one in dropped)
            if dropped:
                self._tables.replace_dropped(known)
            also()
        if rows:
            self._waiting.add(rows[0][0], sequence)
        self.sequence_last = sequence
        self._values_total += values
        self.waiting_bytes += added_bytes - gone_bytes - lost_bytes
        self._waiting_values += values - gone_values - lost_values
        self.dropped = known
        if gone or dropped:
            left = [*gone, *((one.first, one.last) for one in dropped)]
            self._waiting = self._waiting.minus(SequenceRanges(left))
        return dropped

    def _delete(self, gone: list[tuple[int, int]]) -> int:
        with self._tables.transaction():
            count, values, size = self._tables.delete(gone)
        self._waiting = self._waiting.minus(SequenceRanges(gone))
        self._waiting_values -= values
        self.waiting_bytes -= size
        return count

    def _make_rows(
        self, offset: int, whose: object, frames: list[Frame], gaps: list[Gap], now_ns: int, *ready: Ready
    ) -> list[Row]:
        """Return the batches of a machine as rows, numbered from `offset` after the last sequence."""
        first, size_max = self.sequence_last + offset + 1, self.payload_bytes_max
        found = make_payloads(self._identity, first, frames, gaps, size_max, *ready)
        return [make_row(number, str(whose), values, now_ns, payload) for number, values, payload in found]

    def _choose_oldest(self, excess_bytes: int, now_ns: int) -> list[DroppedRange]:
        """Return what is too old, and after it the oldest batches until `excess_bytes` are free."""
        if excess_bytes <= 0 and self.age_max_s is None:
            return []
        # One nanosecond before 1970 is older than any batch.
        oldest_ns = -1 if self.age_max_s is None else now_ns - int(self.age_max_s * 1e9)
        ranges: list[DroppedRange] = []
        for sequence, values, size, created_ns in self._tables.list_sizes():
            if created_ns < oldest_ns:
                reason = f"older than outbox.age_max_s ({say_duration(self.age_max_s or 0)})"
            elif excess_bytes > 0:
                reason = f"the outbox was full ({self.bytes_max} bytes)"
                if self.when_full == "stop_polling":
                    if not self.waiting_bytes:
                        break  # one flush that is larger than the cap would else wait for ever
                    raise OutboxAtCap(
                        f"{reason}, and outbox.when_full is stop_polling: bring broker and cloud back, "
                        "or raise outbox.bytes_max"
                    )
            else:
                break
            excess_bytes -= size
            extend_dropped(ranges, DroppedRange(sequence, sequence, values, reason))
        return ranges

    def _look_for_room(self, payload_sizes: Iterable[int]) -> None:
        """Raise `OutboxFull` where a put would take the room that deleting needs."""
        if not self._ballast.stow() and count_pages(payload_sizes) > self._tables.count_free_pages():
            raise OutboxFull(
                f"{self.path}: the disk is full, and the little that is left is kept for deletions: "
                "make room on the disk; values go on by themselves then"
            )

    def _open_file(self) -> None:
        try:
            connection, self._identity = open_file(self.path, self.gateway, self.bytes_max)
        except OutboxFull:
            self._ballast.jettison()
            connection, self._identity = open_file(self.path, self.gateway, self.bytes_max)
        self._tables = OutboxTables(connection, self.path)
        held_bytes_max = min(HELD_BYTES_MAX, self.bytes_max // 4)
        self.held = HeldTable(self._tables, held_bytes_max, self._look_for_room)

    def _load(self) -> None:
        self.sequence_last, self._values_total = self._tables.read_totals()
        self._waiting = SequenceRanges()
        self._waiting_values = self.waiting_bytes = 0
        for sequence, values, size, _ in self._tables.list_sizes():
            self._waiting.add(sequence)
            self._waiting_values += values
            self.waiting_bytes += size
        self.dropped = self._tables.read_dropped()
