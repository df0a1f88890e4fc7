"""Reads the embedded store's file, from any thread and beside any writer."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.stores import Measurement, StoredMachine, StoreUnavailable, Table
from cloud.stores.chunk_file import explain_errors, open_for_reading
from cloud.stores.columns import ChunkDamaged, Group, cut_group, decode_chunk
from cloud.stores.compaction import LEVELS
from cloud.stores.merging import merge_groups, spread_codes
from models.telemetry import MachinePath
from models.words import say_instant

# Without the levels SQLite could not use the order of start_ns in the index.
_CHUNKS_OF_SPAN = (
    "SELECT start_ns, end_ns, blob FROM chunk INDEXED BY chunk_span "
    "WHERE series = ? AND level IN (?, ?, ?, ?) AND start_ns < ? AND end_ns >= ? ORDER BY id"
)


class StoredChunkDamaged(StoreUnavailable):
    """A part of the store cannot be read any more; other spans and machines can."""


class EmbeddedReader:
    """One connection that only reads; each call sees everything committed before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def read(
        self,
        measurement: Measurement,
        machine: MachinePath,
        start_ns: int,
        end_ns: int,
        tags: Sequence[str] | None = None,
    ) -> Table:
        """Return the values of `tags` (None: all) in start_ns <= t < end_ns; raise `StoreUnavailable`."""
        with self._lock, explain_errors(self._path):
            names, rows = self._fetch(measurement, machine, start_ns, end_ns)
        if tags is None:
            wanted = None
        else:
            wanted = frozenset(number for number, name in names.items() if name in set(tags))
        groups: list[Group] = []
        for first_ns, last_ns, blob in rows:
            try:
                groups.extend(decode_chunk(blob, wanted))
            except ChunkDamaged as error:
                raise StoredChunkDamaged(
                    f"store {self._path}: {measurement} of {machine} from {say_instant(first_ns)} to "
                    f"{say_instant(last_ns)} "
                    f"is damaged ({error}): restore the file from a backup, or read around this span"
                ) from error
        cut = [part for group in groups if (part := cut_group(group, start_ns, end_ns)) is not None]
        return _tabulate(merge_groups(cut), names, tags)

    def list_machines(self) -> list[StoredMachine]:
        """Return every machine with telemetry, by path; raise `StoreUnavailable`."""
        with self._lock, explain_errors(self._path):
            connection = self._open()
            if connection is None:
                return []
            tags: dict[int, list[str]] = {}
            with _snapshot(connection):
                series = connection.execute(
                    "SELECT id, machine, first_ns, last_ns FROM series "
                    "WHERE measurement = 'telemetry' AND first_ns <= last_ns"
                ).fetchall()
                for number, name in connection.execute("SELECT series, name FROM tag ORDER BY series, name"):
                    tags.setdefault(number, []).append(name)
        machines = [
            StoredMachine(MachinePath.parse(path), tags.get(number, []), first_ns, last_ns)
            for number, path, first_ns, last_ns in series
        ]
        return sorted(machines, key=lambda stored: stored.machine)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None:
            self._connection = open_for_reading(self._path)
        return self._connection

    def _fetch(
        self, measurement: Measurement, machine: MachinePath, start_ns: int, end_ns: int
    ) -> tuple[dict[int, str], list[tuple[int, int, bytes]]]:
        """Return the tags' names by number, and the chunks that touch the span in the order of writing."""
        connection = self._open()
        if connection is None:
            return {}, []
        with _snapshot(connection):
            found = connection.execute(
                "SELECT id FROM series WHERE measurement = ? AND machine = ?", (measurement, str(machine))
            ).fetchone()
            if found is None:
                return {}, []
            names = dict(connection.execute("SELECT number, name FROM tag WHERE series = ?", found))
            rows = connection.execute(_CHUNKS_OF_SPAN, (found[0], *LEVELS, end_ns, start_ns)).fetchall()
        return names, rows


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all statements inside see the file as of one instant."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _tabulate(groups: Sequence[Group], names: dict[int, str], tags: Sequence[str] | None) -> Table:
    """Return the groups side by side over all their instants; a tag asked for is there even if empty."""
    timestamps = _unite([group.timestamps for group in groups])
    values: dict[str, NDArray[np.float64]] = {}
    quality: dict[str, NDArray[np.uint32]] = {}
    for group in groups:
        whole = len(group.timestamps) == len(timestamps)
        rows = slice(None) if whole else np.searchsorted(timestamps, group.timestamps)
        for position, tag in enumerate(group.tags):
            values[names[tag]] = np.full(len(timestamps), np.nan)
            values[names[tag]][rows] = group.columns[position]
        for position, codes in spread_codes(group).items():
            name = names[group.tags[position]]
            quality[name] = np.zeros(len(timestamps), np.uint32)
            quality[name][rows] = codes
    for name in tags or ():
        if name not in values:
            values[name] = np.full(len(timestamps), np.nan)
    order = sorted(values) if tags is None else list(dict.fromkeys(tags))
    return Table(timestamps, {name: values[name] for name in order}, quality)


def _unite(instants: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    if not instants:
        return np.empty(0, np.int64)
    if len(instants) == 1:
        return instants[0].copy()
    return np.unique(np.concatenate(instants))
