"""Brings what can still be read of an outbox that was set aside into the outbox of now."""

import mmap
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import msgspec

from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Outbox
from edge.outbox.pages import Found, find_batches
from edge.outbox.stored import Coverage, StoredBatch, make_checksum
from models.errors import ForewarnError
from models.telemetry import Batch, MachinePath, count_values, decode_batch

PROBES_MAX = 1_000
PUT_AT_ONCE = 64
_NOT_A_DATABASE = 26


class NoRoom(ForewarnError):
    """What can be rescued does not fit: make room first."""


class Survey(msgspec.Struct, frozen=True):
    """What an outbox still holds: whole batches, and `broken` ones, which are not as they were written.

    `missing_max`: sequences between the first and the last of which nothing is left; those that the cloud
    receipted before are among them.
    """

    batches: int
    values: int
    size: int
    machines: int
    broken: int
    missing_max: int


def survey(path: Path) -> Survey:
    """Return what can be read of the outbox at `path`; raise `OutboxUnavailable` where there is no file."""
    broken: set[int] = set()
    sequences: set[int] = set()
    machines: set[str] = set()
    values = size = 0
    for batch in find_whole(path, broken):
        sequences.add(batch.sequence)
        machines.add(batch.machine)
        values += count_values(decode_batch(batch.payload).frames)
        size += len(batch.payload)
    span = max(sequences) - min(sequences) + 1 if sequences else 0
    return Survey(
        batches=len(sequences),
        values=values,
        size=size,
        machines=len(machines),
        broken=len(broken),
        missing_max=span - len(sequences),
    )


def rescue(path: Path, outbox: Outbox, now_ns: int) -> tuple[int, int]:
    """Put what can be read of `path` into the open `outbox`, under new sequences.

    Returns how many batches and values that made. Raises `NoRoom` before anything older would have to go. A
    second time puts all of it there again, which the cloud takes for repeats.
    """
    seen = survey(path)
    if outbox.waiting_bytes + seen.size > outbox.bytes_max:
        raise NoRoom(
            f"{seen.size} bytes can be rescued, and {outbox.path} has room for "
            f"{outbox.bytes_max - outbox.waiting_bytes}: raise outbox.bytes_max, or wait until it is emptier"
        )
    made = values = 0
    found: list[tuple[MachinePath, Batch]] = []

    def put() -> int:
        flush = [(machine, batch.frames) for machine, batch in found if batch.frames]
        gaps = Coverage([(machine, batch.gaps) for machine, batch in found if batch.gaps])
        return len(outbox.put(flush, now_ns, coverage=gaps).batches) if found else 0

    for one in find_whole(path, set()):
        batch = decode_batch(one.payload)
        values += count_values(batch.frames)
        found.append((MachinePath.parse(one.machine), batch))
        if len(found) == PUT_AT_ONCE:
            made += put()
            found.clear()
    return made + put(), values


def find_whole(path: Path, broken: set[int]) -> Iterator[StoredBatch]:
    """Yield each batch that is as it was written, once; `broken` gets the sequences of those that are not."""
    if not path.is_file():
        raise OutboxUnavailable(f"{path}: there is no such file; an outbox set aside is named ...bad-<time>")
    whole: set[int] = set()
    for sequence, machine, checksum, payload in _find_rows(path):
        if sequence in whole:
            continue
        if make_checksum(machine, payload) == checksum:
            whole.add(sequence)
            broken.discard(sequence)
            yield StoredBatch(sequence, machine, payload)
        else:
            broken.add(sequence)


def _find_rows(path: Path) -> Iterator[Found]:
    """Yield what either way finds: SQLite knows the log beside the file, the bare pages need no tree."""
    all_read = yield from _ask_sqlite(path)
    if not all_read and path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            yield from find_batches(cast("bytes", pages))  # it is indexed and cut just so


def _ask_sqlite(path: Path) -> Generator[Found, None, bool]:
    """Yield the rows that SQLite can read, around those that it cannot; return whether it read all."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        all_read, at, misses = True, 0, 0
        while misses < PROBES_MAX:
            try:
                connection.execute("PRAGMA writable_schema=ON")  # or SQLite refuses a file that was cut short
                row = connection.execute(
                    "SELECT sequence, machine, checksum, payload FROM batches "
                    "WHERE sequence >= ? ORDER BY sequence LIMIT 1",
                    (at,),
                ).fetchone()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) == _NOT_A_DATABASE:
                    return False
                all_read, at, misses = False, at + 1, misses + 1
                continue
            if row is None:
                return all_read
            at, misses = row[0] + 1, 0
            yield row
    return False
