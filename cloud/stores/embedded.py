"""The store that needs no server: one SQLite file of column chunks, read by others while it is written."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from pydantic import Field

from cloud.stores import Block, Rejection, StoreFindings, StoreReader, StoreWriter
from cloud.stores.chunk_check import check_file
from cloud.stores.chunk_file import explain_errors, open_for_writing
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.columns import encode_frames, encode_groups, group_frames
from cloud.stores.compaction import LEVEL_LARGE, Compaction, level_of, merge_run
from cloud.stores.readings import check_shapes, join_frames
from cloud.stores.retention import delete_before
from models.settings import ConfigPath, Settings
from models.telemetry import Frame, MachinePath
from models.words import say_bytes

DAY_NS = 86_400_000_000_000
DELETE_INTERVAL_NS = 600_000_000_000
INLINE_RUNS_MIN = 4
COMPACTION_BUDGET_S = 0.02
PLAIN_VALUES_MAX = 2_048
"""A block up to this size is stored plain: its compression is left to the merge with its neighbours."""


class EmbeddedStoreSettings(Settings):
    """Keeps everything in one SQLite file beside the cloud service: no server, about 2 bytes a value."""

    kind: Literal["embedded"]
    path: ConfigPath
    retention_days: int | None = Field(default=None, ge=1)

    def build_writer(self) -> StoreWriter:
        """Return the writer; it opens the file at its first write."""
        return EmbeddedWriter(self.path, self.retention_days)

    def build_reader(self) -> StoreReader:
        """Return a reader; without a file there is nothing stored."""
        return EmbeddedReader(self.path)

    def set_up(self) -> list[str]:
        """Make the file where it is missing, return what was done; raise `StoreUnavailable`."""
        there = self.path.exists()
        with explain_errors(self.path):
            open_for_writing(self.path).close()
        kept = f"{self.retention_days} days" if self.retention_days else "for ever"
        return [f"{self.path} {'was there' if there else 'is made'}; it keeps values {kept}"]

    def recompute(self, _start_ns: int, _end_ns: int) -> list[str]:
        """Say that there is nothing to compute."""
        return ["the embedded store has no roll-ups: it is fast enough without"]

    def check(self) -> StoreFindings:
        """Look at every page and every chunk; raise `StoreUnavailable` when the file cannot be opened."""
        return check_file(self.path)

    def describe(self) -> str:
        """Return what the store is, for a person."""
        size = say_bytes(self.path.stat().st_size) if self.path.exists() else "not there yet"
        return f"embedded store {self.path}, {size}"


class _Series:
    """One machine in one measurement, as the writer remembers it."""

    __slots__ = ("first_ns", "last_ns", "number", "tags", "touched")

    def __init__(self, number: int, first_ns: int, last_ns: int, tags: dict[str, int]) -> None:
        self.number = number
        self.first_ns = first_ns
        self.last_ns = last_ns
        self.tags = tags
        self.touched = False


class EmbeddedWriter:
    """Appends each block as one chunk, all blocks of a write in one transaction, synced before it returns.

    May be called from several threads. Small chunks are merged by `tidy`; where nobody calls it, on the way,
    `COMPACTION_BUDGET_S` a write.
    """

    def __init__(self, path: ConfigPath, retention_days: int | None = None) -> None:
        self._path = path
        self._retention_days = retention_days
        self._delete_due_ns = 0
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._series: dict[tuple[str, MachinePath], _Series] = {}
        self._compaction = Compaction()

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Return once everything not listed as rejected is on disk; raise `StoreUnavailable`."""
        with self._lock, explain_errors(self._path), self._transaction() as connection:
            rejections = self._append(connection, blocks)
            self._compact(connection)
        return rejections

    def tidy(self, now_ns: int) -> bool:
        """Merge one run of small chunks, or delete what is too old; return whether more is due now."""
        if self._connection is None and not self._path.exists():
            return False
        if self._merge_next():
            return True
        if self._retention_days is None or now_ns < self._delete_due_ns:
            return False
        more = self._delete_old(now_ns - self._retention_days * DAY_NS)
        self._delete_due_ns = now_ns if more else now_ns + DELETE_INTERVAL_NS
        return more

    def close(self) -> None:
        """Close the file; what was written is in it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._series.clear()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_for_writing(self._path)
            self._compaction.load(self._connection)
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the body as one transaction; the caller holds the lock."""
        connection = self._open()
        committed = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            committed = True
        finally:
            if not committed:
                self._forget(connection)

    def _forget(self, connection: sqlite3.Connection) -> None:
        """After a write that broke off: closing rolls back, and what memory says of it is not true."""
        self._series.clear()
        connection.close()
        self._connection = None

    def _append(self, connection: sqlite3.Connection, blocks: Sequence[Block]) -> list[Rejection]:
        rejections: list[Rejection] = []
        rows: list[tuple[int, int, int, int, int, bytes]] = []
        touched: list[_Series] = []
        for index, block in enumerate(blocks):
            frames = [frame for frame in join_frames(block.frames) if frame.timestamps and frame.values]
            if not frames:
                continue
            count = sum(len(frame.timestamps) * len(frame.values) for frame in frames)
            try:
                check_shapes(frames)
                series = self._find_series(connection, block, frames)
                blob = _encode(frames, series.tags, count)
            except ValueError as error:
                rejections.append(Rejection(index, str(error)))
                continue
            first_ns = min([frame.timestamps[0] for frame in frames])
            last_ns = max([frame.timestamps[-1] for frame in frames])
            level = level_of(count)
            rows.append((series.number, level, first_ns, last_ns, count, blob))
            if level < LEVEL_LARGE:
                self._compaction.count(series.number, level)
            if first_ns < series.first_ns or last_ns > series.last_ns:
                series.first_ns = min(first_ns, series.first_ns)
                series.last_ns = max(last_ns, series.last_ns)
                if not series.touched:
                    series.touched = True
                    touched.append(series)
        connection.executemany(
            "INSERT INTO chunk (series, level, start_ns, end_ns, count, blob) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        _save_spans(connection, touched)
        return rejections

    def _find_series(self, connection: sqlite3.Connection, block: Block, frames: list[Frame]) -> _Series:
        series = self._series.get((block.measurement, block.machine))
        if series is None:
            series = _load_series(connection, block, frames[0].timestamps[0])
            self._series[block.measurement, block.machine] = series
        for frame in frames:
            if not frame.values.keys() <= series.tags.keys():
                _add_tags(connection, series, frame)
        return series

    def _compact(self, connection: sqlite3.Connection) -> None:
        """Merge what has piled up where nobody calls `tidy`."""
        begun = perf_counter()
        while perf_counter() - begun < COMPACTION_BUDGET_S:
            run = self._compaction.find_run(connection, INLINE_RUNS_MIN)
            if run is None:
                return
            self._compaction.replace(connection, run, merge_run(run))

    def _merge_next(self) -> bool:
        """Merge the next run that waits, beside the writes; return whether there was one."""
        with self._lock, explain_errors(self._path):
            run = self._compaction.find_run(self._open())
        if run is None:
            return False
        merged = merge_run(run)
        with self._lock, explain_errors(self._path), self._transaction() as connection:
            self._compaction.replace(connection, run, merged)
        return True

    def _delete_old(self, before_ns: int) -> bool:
        with self._lock, explain_errors(self._path), self._transaction() as connection:
            gone = delete_before(connection, before_ns)
            if gone.chunks:
                self._series.clear()  # their beginnings have changed
                self._compaction.load(connection)
        return gone.more


def _encode(frames: Sequence[Frame], tags: dict[str, int], count: int) -> bytes:
    if count <= PLAIN_VALUES_MAX:
        return encode_frames(frames, tags)
    return encode_groups(group_frames(frames, tags))


def _load_series(connection: sqlite3.Connection, block: Block, instant_ns: int) -> _Series:
    machine = str(block.machine)
    connection.execute(
        "INSERT OR IGNORE INTO series (measurement, machine, first_ns, last_ns) VALUES (?, ?, ?, ?)",
        (block.measurement, machine, instant_ns, instant_ns),
    )
    number, first_ns, last_ns = connection.execute(
        "SELECT id, first_ns, last_ns FROM series WHERE measurement = ? AND machine = ?",
        (block.measurement, machine),
    ).fetchone()
    if first_ns > last_ns:  # everything in it was deleted by age
        first_ns = last_ns = instant_ns
        connection.execute(
            "UPDATE series SET first_ns = ?, last_ns = ? WHERE id = ?", (first_ns, last_ns, number)
        )
    tags = dict(connection.execute("SELECT name, number FROM tag WHERE series = ?", (number,)))
    return _Series(number, first_ns, last_ns, tags)


def _add_tags(connection: sqlite3.Connection, series: _Series, frame: Frame) -> None:
    for tag in frame.values.keys() - series.tags.keys():
        connection.execute(
            "INSERT OR IGNORE INTO tag (series, number, name) "
            "SELECT ?, COALESCE(MAX(number) + 1, 0), ? FROM tag WHERE series = ?",
            (series.number, tag, series.number),
        )
    # Read back, since another program may have added the same tag under its own number.
    series.tags.update(connection.execute("SELECT name, number FROM tag WHERE series = ?", (series.number,)))


def _save_spans(connection: sqlite3.Connection, touched: Sequence[_Series]) -> None:
    connection.executemany(
        "UPDATE series SET first_ns = min(first_ns, ?), last_ns = max(last_ns, ?) WHERE id = ?",
        [(series.first_ns, series.last_ns, series.number) for series in touched],
    )
    for series in touched:
        series.touched = False
