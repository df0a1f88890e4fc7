"""Looks through the whole file of the embedded store: SQLite's pages, and every chunk's checksum and span."""

import sqlite3
from contextlib import closing
from pathlib import Path

from cloud.stores import StoreFindings
from cloud.stores.chunk_file import explain_errors, open_for_reading
from cloud.stores.columns import ChunkDamaged, decode_chunk
from models.words import say_bytes, say_instant

CHUNKS_AT_ONCE = 200
"""Between two parts the writer may empty its log: a look through gigabytes does not make it grow."""
DAMAGES_SHOWN_MAX = 100

_NEXT_CHUNKS = (
    "SELECT c.id, measurement, machine, start_ns, end_ns, count, blob FROM chunk c "
    "LEFT JOIN series s ON s.id = c.series WHERE c.id > ? ORDER BY c.id LIMIT ?"
)


def check_file(path: Path) -> StoreFindings:
    """Return what is wrong with the file; raise `StoreUnavailable` when it cannot be opened."""
    with explain_errors(path):
        connection = open_for_reading(path)
        if connection is None:
            return StoreFindings([f"{path}: nothing is stored yet"])
        with closing(connection):
            return _check_chunks(path, connection, _check_pages(connection))


def _check_pages(connection: sqlite3.Connection) -> list[str]:
    try:
        said = connection.execute(f"PRAGMA integrity_check({DAMAGES_SHOWN_MAX})").fetchall()
    except sqlite3.DatabaseError as error:
        return [f"SQLite: {error}"]
    return [f"SQLite: {words}" for (words,) in said if words != "ok"]


def _check_chunks(path: Path, connection: sqlite3.Connection, damages: list[str]) -> StoreFindings:
    chunks = values = last = 0
    while True:
        try:
            rows = connection.execute(_NEXT_CHUNKS, (last, CHUNKS_AT_ONCE)).fetchall()
        except sqlite3.DatabaseError as error:
            damages.append(f"SQLite cannot read on after chunk {last}: {error}")
            break
        if not rows:
            break
        last = rows[-1][0]
        for _, measurement, machine, start_ns, end_ns, count, blob in rows:
            chunks += 1
            values += count
            if problem := _find_problem(blob, start_ns, end_ns, count):
                span = f"{say_instant(start_ns)} to {say_instant(end_ns)}"
                damages.append(f"{measurement} of {machine}, {span}: {problem}")
    size = say_bytes(path.stat().st_size)
    summary = f"{path}: {chunks:,} chunks with {values:,} readings in {size}"
    if not damages:
        return StoreFindings([f"{summary}, all whole"])
    shown = damages[:DAMAGES_SHOWN_MAX]
    more = [f"and {len(damages) - len(shown):,} more"] if len(damages) > len(shown) else []
    mend = "restore the file from a backup; what is not named here can be read and exported"
    return StoreFindings([f"{summary}; {len(damages):,} DAMAGED:", *shown, *more, mend], damaged=True)


def _find_problem(blob: bytes, start_ns: int, end_ns: int, count: int) -> str:
    try:
        groups = decode_chunk(blob)
    except ChunkDamaged as error:
        return str(error)
    if sum(len(group.timestamps) * len(group.tags) for group in groups) != count:
        return f"it does not hold its {count:,} readings"
    outside = any(group.timestamps[0] < start_ns or group.timestamps[-1] > end_ns for group in groups)
    return "it holds instants outside its span" if outside else ""
