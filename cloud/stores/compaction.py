"""Turns many small chunks of a machine into few large ones, a bounded piece of work at a time."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from cloud.stores.columns import ChunkDamaged, Group, cut_group, decode_chunk, encode_groups
from cloud.stores.merging import merge_groups

RUN_CHUNKS = 64
"""So many chunks of one level become one of the next: about a minute, then about an hour, at one a second."""
CHUNK_VALUES_MAX = 200_000
"""A run ends early at this size: it bounds the time of one merge to some 20 ms."""
LEVEL_LARGE = 2
LEVEL_DAMAGED = 9
LEVELS = (0, 1, LEVEL_LARGE, LEVEL_DAMAGED)
_LEVEL_VALUES = (2_048, 32_768)

HOUR_NS = 3_600_000_000_000
HOURS_MAX = 1_000
HOUR_VALUES_MIN = 2_048

ChunkRow = tuple[int, int, int, bytes]
"""id, level, count, blob"""
NewChunk = tuple[int, int, int, int, int, int, bytes]
"""id, series, level, start_ns, end_ns, count, blob"""


def level_of(count: int) -> int:
    """Return the level of a chunk written with so many values: the largest are never merged again."""
    return sum(count > bound for bound in _LEVEL_VALUES)


class Run(msgspec.Struct, frozen=True):
    """Neighbours of one level, in the order of writing, that are to become fewer and larger chunks."""

    series: int
    level: int
    rows: list[ChunkRow]


class Merged(msgspec.Struct, frozen=True):
    """What a run has become: rows of the table, and the ids of those of it that are damaged."""

    chunks: list[NewChunk]
    damaged: list[int]


class Compaction:
    """Knows where chunks wait to be merged, finds the next run, and puts in its place what it became."""

    def __init__(self) -> None:
        self._chunks: Counter[tuple[int, int]] = Counter()

    def load(self, connection: sqlite3.Connection) -> None:
        """Count the small chunks that are there."""
        rows = connection.execute(
            "SELECT series, level, COUNT(*) FROM chunk WHERE level < ? GROUP BY series, level", (LEVEL_LARGE,)
        )
        self._chunks = Counter({(series, level): count for series, level, count in rows})

    def count(self, series: int, level: int) -> None:
        """Take note of one more chunk."""
        self._chunks[series, level] += 1

    def find_run(self, connection: sqlite3.Connection, runs_min: int = 1) -> Run | None:
        """Return the oldest run where most chunks wait; None when `runs_min` whole runs wait nowhere."""
        while self._chunks:
            (series, level), count = self._chunks.most_common(1)[0]
            if count < RUN_CHUNKS * runs_min:
                return None
            rows = _choose_run(connection, series, level)
            if rows:
                return Run(series, level, rows)
            self.load(connection)  # another writer was here first
        return None

    def replace(self, connection: sqlite3.Connection, run: Run, merged: Merged) -> bool:
        """Put `merged` in the place of `run`, inside the caller's transaction; False: it is gone."""
        ids = [row[0] for row in run.rows]
        marks = ",".join("?" * len(ids))
        (there,) = connection.execute(
            f"SELECT COUNT(*) FROM chunk WHERE level = ? AND id IN ({marks})",  # noqa: S608  # only marks
            (run.level, *ids),
        ).fetchone()
        if there != len(ids):
            self.load(connection)
            return False
        self._chunks[run.series, run.level] -= len(ids)
        sound = set(ids) - set(merged.damaged)
        # A damaged one stays as it is, for whoever restores it; the reader says where it is.
        connection.executemany(
            "UPDATE chunk SET level = ? WHERE id = ?", [(LEVEL_DAMAGED, one) for one in merged.damaged]
        )
        connection.executemany("DELETE FROM chunk WHERE id = ?", [(one,) for one in sound])
        connection.executemany(
            "INSERT INTO chunk (id, series, level, start_ns, end_ns, count, blob) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            merged.chunks,
        )
        for chunk in merged.chunks:
            if chunk[2] < LEVEL_LARGE:
                self._chunks[run.series, chunk[2]] += 1
        return True


def merge_run(run: Run) -> Merged:
    """Return what the chunks of a run become: one chunk, or of large ones one an hour. Pure, some 20 ms."""
    groups: list[Group] = []
    damaged: list[int] = []
    for row in run.rows:
        try:
            groups.extend(decode_chunk(row[3]))
        except ChunkDamaged:
            damaged.append(row[0])
    # Ids of the run itself: what was written before it stays below them, what came after above.
    ids = [row[0] for row in run.rows if row[0] not in damaged]
    if not ids:
        return Merged([], damaged)
    merged = merge_groups(groups)
    hours = cut_hours(merged) if run.level == LEVEL_LARGE - 1 else []
    pieces = hours if 1 < len(hours) <= len(ids) else [merged]
    chunks = []
    for at, (number, piece) in enumerate(zip(reversed(ids), reversed(pieces), strict=False)):
        count = _count(piece)
        level = max(run.level + 1, level_of(count))
        if at == 0 and len(pieces) > 1 and count < CHUNK_VALUES_MAX // 2:
            level = run.level  # its hour goes on: merged with what comes next
        chunks.append((number, run.series, level, *span_of(piece), count, encode_groups(piece)))
    return Merged(chunks, damaged)


def cut_hours(groups: Sequence[Group]) -> list[list[Group]]:
    """Return groups cut at whole hours (UTC); hours of few values stay with the one after them."""
    first_ns, last_ns = span_of(groups)
    cuts = [hour * HOUR_NS for hour in range(first_ns // HOUR_NS + 1, last_ns // HOUR_NS + 1)]
    if len(cuts) > HOURS_MAX:
        return [list(groups)]
    pieces, begin = [], first_ns
    for end in [*cuts, last_ns + 1]:
        piece = [part for group in groups if (part := cut_group(group, begin, end)) is not None]
        if _count(piece) >= HOUR_VALUES_MIN or end > last_ns:
            if piece:
                pieces.append(piece)
            begin = end
    return pieces


def _count(groups: Sequence[Group]) -> int:
    return sum(len(group.timestamps) * len(group.tags) for group in groups)


def span_of(groups: Sequence[Group]) -> tuple[int, int]:
    """Return the first and the last instant of the groups."""
    return (
        int(np.min([group.timestamps[0] for group in groups])),
        int(np.max([group.timestamps[-1] for group in groups])),
    )


def _choose_run(connection: sqlite3.Connection, series: int, level: int) -> list[ChunkRow]:
    """Return the oldest chunks of this level that nothing of another level was written between."""
    ids = connection.execute(
        "SELECT id FROM chunk WHERE series = ? AND level = ? ORDER BY id LIMIT ?", (series, level, RUN_CHUNKS)
    ).fetchall()
    if not ids:
        return []
    rows = connection.execute(
        "SELECT id, level, count, blob FROM chunk WHERE series = ? AND id BETWEEN ? AND ? ORDER BY id",
        (series, ids[0][0], ids[-1][0]),
    )
    run: list[ChunkRow] = []
    values = 0
    for row in rows:
        values += row[2]
        if row[1] != level or (run and values > CHUNK_VALUES_MAX):
            break
        run.append(row)
    return run
