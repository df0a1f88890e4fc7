"""What waits in the outbox's file for the clock to be set: values by the steady clock of one boot."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from edge.outbox.tables import OutboxTables
from edge.polling.clock_keeper import Held, Lost
from edge.polling.packing import merge_frames
from models.telemetry import Frame, MachinePath

HELD_BYTES_MAX = 64_000_000
"""Some ten million values; never more than a quarter of what the outbox may hold."""
READ_ROWS_MAX = 64

_TABLES = """
CREATE TABLE IF NOT EXISTS held (
    number INTEGER PRIMARY KEY,
    boot TEXT NOT NULL,
    machine TEXT NOT NULL,
    value_count INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    payload BLOB NOT NULL  -- six columns: a scan of bare pages must not take these for batches
) STRICT;
CREATE TABLE IF NOT EXISTS held_lost (
    boot TEXT NOT NULL, machine TEXT NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, value_count INTEGER NOT NULL,
    PRIMARY KEY (boot, machine)
) STRICT;
CREATE TABLE IF NOT EXISTS held_since (
    boot TEXT NOT NULL, machine TEXT NOT NULL, after_ns INTEGER NOT NULL, PRIMARY KEY (boot, machine)
) STRICT;
CREATE TABLE IF NOT EXISTS clock (seen_ns INTEGER NOT NULL) STRICT;
"""

_decoder = msgspec.json.Decoder(list[Frame])
_encoder = msgspec.json.Encoder()


class HeldRow(msgspec.Struct, frozen=True):
    """Frames of one machine as they lie there, by the steady clock of their boot; `size` in bytes."""

    number: int
    machine: MachinePath
    frames: list[Frame]
    count: int
    size: int


class Unknown(msgspec.Struct, frozen=True):
    """So many values of a machine whose time nobody can tell any more, only that it is after `after_ns`."""

    machine: MachinePath
    count: int
    after_ns: int


class HeldTable:
    """The tables in the open outbox; made when first needed. Times are nanoseconds since the boot's start.

    `bytes_max` is what payloads may take; the oldest go for newer ones, and are written down as lost.
    `look_for_room` raises `OutboxFull` where payloads of these sizes would take the room that deleting needs.
    Writing methods without a transaction of their own say so. Errors are those of `OutboxTables`.
    """

    def __init__(
        self,
        tables: OutboxTables,
        bytes_max: int = HELD_BYTES_MAX,
        look_for_room: Callable[[Iterable[int]], None] = lambda _sizes: None,
    ) -> None:
        self._tables = tables
        self._connection = tables.connection
        self.bytes_max = bytes_max
        self._look_for_room = look_for_room
        self.values = self.bytes = 0
        """What lies here, of all boots."""
        self._has_lost = False
        self.count_anew()

    def add(self, boot: str, held: Sequence[Held], lost: Sequence[Lost], seen_ns: int) -> int:
        """Commit what waits and what was lost meanwhile; return how many values had to go for it.

        `seen_ns` is the latest instant that is known to be over.
        """
        rows = _make_rows(boot, held)
        reached = self._tables.read_reached()
        self._look_for_room(len(row[-1]) for row in rows)
        since = [(boot, row[1], reached.get(row[1], seen_ns)) for row in rows]
        with self._tables.transaction():
            self._make_tables()
            self._connection.executemany("INSERT OR IGNORE INTO held_since VALUES (?, ?, ?)", since)
            self._connection.executemany(
                "INSERT INTO held (boot, machine, value_count, checksum, payload) VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            size = self.bytes + sum(len(row[-1]) for row in rows)
            dropped, gone_bytes = self._drop_oldest(size - self.bytes_max)
            for one in lost:
                self._add_lost(boot, one)
            self._write_seen(seen_ns)
        self._has_lost = self._has_lost or bool(lost or dropped)
        self.bytes = size - gone_bytes
        self.values += sum(one.count for one in held) - dropped
        return dropped

    def note_time(self, seen_ns: int) -> None:
        """Commit that this instant is over: no right clock will ever show less."""
        with self._tables.transaction():
            self._make_tables()
            self._write_seen(seen_ns)

    def read_seen_ns(self) -> int:
        """Return the latest instant that is known to be over; 0 where none was written down."""
        if not self._exists():
            return 0
        return int(self._connection.execute("SELECT coalesce(max(seen_ns), 0) FROM clock").fetchone()[0])

    def read(self, boot: str) -> list[HeldRow]:
        """Return the oldest rows of a boot, `READ_ROWS_MAX` at most; a damaged one holds no frames."""
        if not self._exists():
            return []
        with self._tables.translated():
            found = self._connection.execute(
                "SELECT number, machine, value_count, checksum, payload FROM held WHERE boot = ? "
                "ORDER BY number LIMIT ?",
                (boot, READ_ROWS_MAX),
            ).fetchall()
        return [
            HeldRow(number, MachinePath.parse(machine), _decode(payload, checksum), count, len(payload))
            for number, machine, count, checksum, payload in found
        ]

    @property
    def holds_any(self) -> bool:
        """Whether there is anything to settle."""
        return self.values > 0 or self._has_lost

    def read_lost(self, boot: str) -> list[Lost]:
        """Return what was lost in a boot, by machine."""
        if not self._exists():
            return []
        rows = self._connection.execute(
            "SELECT machine, first_ns, last_ns, value_count FROM held_lost WHERE boot = ?", (boot,)
        )
        return [Lost(MachinePath.parse(machine), *rest) for machine, *rest in rows]

    def count_foreign(self, boot: str) -> list[Unknown]:
        """Return how many values are of other boots, by machine."""
        if not self._exists():
            return []
        rows = self._connection.execute(
            "SELECT machine, sum(value_count), min(after_ns) FROM "
            "(SELECT boot, machine, value_count FROM held "
            "UNION ALL SELECT boot, machine, value_count FROM held_lost) "
            "LEFT JOIN held_since USING (boot, machine) WHERE boot <> ? GROUP BY machine",
            (boot,),
        )
        return [Unknown(MachinePath.parse(machine), count, after or 0) for machine, count, after in rows]

    def read_since(self, boot: str) -> dict[str, int]:
        """Return by machine what was the last instant known when its values of a boot began to wait."""
        if not self._exists():
            return {}
        rows = self._connection.execute("SELECT machine, after_ns FROM held_since WHERE boot = ?", (boot,))
        return dict(rows.fetchall())

    def delete(self, rows: Sequence[HeldRow]) -> None:
        """Take rows out, within the caller's transaction; call `count_anew` or `forget` after its commit."""
        self._connection.executemany("DELETE FROM held WHERE number = ?", [(row.number,) for row in rows])
        self._connection.execute(
            "DELETE FROM held_since WHERE (boot, machine) NOT IN (SELECT boot, machine FROM held)"
        )

    def delete_lost(self, boot: str) -> None:
        """Take the losses of a boot out, within the caller's transaction."""
        self._connection.execute("DELETE FROM held_lost WHERE boot = ?", (boot,))

    def delete_foreign(self, boot: str) -> None:
        """Take what is of other boots out, within the caller's transaction; call `count_anew` after it."""
        for table in ("held", "held_lost", "held_since"):
            self._connection.execute(f"DELETE FROM {table} WHERE boot <> ?", (boot,))  # noqa: S608  # names of ours

    def forget(self, rows: Sequence[HeldRow]) -> None:
        """Count these no more."""
        self.values -= sum(row.count for row in rows)
        self.bytes -= sum(row.size for row in rows)

    def count_anew(self) -> None:
        """Count what lies here."""
        self.values, self.bytes, self._has_lost = 0, 0, False
        if not self._exists():
            return
        with self._tables.translated():
            self.values, self.bytes = self._connection.execute(
                "SELECT coalesce(sum(value_count), 0), coalesce(sum(length(payload)), 0) FROM held"
            ).fetchone()
            lost = self._connection.execute("SELECT EXISTS (SELECT 1 FROM held_lost)").fetchone()
            self._has_lost = bool(lost[0])

    def _exists(self) -> bool:
        with self._tables.translated():
            found = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'clock'").fetchone()
        return found is not None

    def _make_tables(self) -> None:
        for statement in _TABLES.split(";\n"):
            self._connection.execute(statement)

    def _write_seen(self, seen_ns: int) -> None:
        self._connection.execute("DELETE FROM clock")
        self._connection.execute("INSERT INTO clock VALUES (?)", (seen_ns,))

    def _drop_oldest(self, excess_bytes: int) -> tuple[int, int]:
        dropped = gone_bytes = 0
        while excess_bytes > gone_bytes:
            row = self._connection.execute(
                "SELECT number, boot, machine, value_count, checksum, payload FROM held "
                "ORDER BY number LIMIT 1"
            ).fetchone()
            if row is None:
                break
            number, boot, machine, count, checksum, payload = row
            times = [at for frame in _decode(payload, checksum) for at in frame.timestamps] or [0]
            self._add_lost(boot, Lost(MachinePath.parse(machine), min(times), max(times), count))
            self._connection.execute("DELETE FROM held WHERE number = ?", (number,))
            dropped, gone_bytes = dropped + count, gone_bytes + len(payload)
        return dropped, gone_bytes

    def _add_lost(self, boot: str, gone: Lost) -> None:
        self._connection.execute(
            "INSERT INTO held_lost VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), "
            "value_count = value_count + excluded.value_count",
            (boot, str(gone.machine), gone.first_ns, gone.last_ns, gone.count),
        )


def _make_rows(boot: str, held: Sequence[Held]) -> list[tuple[str, str, int, int, bytes]]:
    """Return a row per machine."""
    frames: dict[MachinePath, list[Frame]] = {}
    counts: Counter[MachinePath] = Counter()
    for one in held:
        frames.setdefault(one.machine, []).extend(one.frames)
        counts[one.machine] += one.count
    payloads = {machine: _encoder.encode(merge_frames(found)) for machine, found in frames.items()}
    return [
        (boot, str(machine), counts[machine], zlib.crc32(payload), payload)
        for machine, payload in payloads.items()
    ]


def _decode(payload: bytes, checksum: int) -> list[Frame]:
    return _decoder.decode(payload) if zlib.crc32(payload) == checksum else []
