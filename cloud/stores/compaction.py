"""Turns many small chunks of a machine into few large ones, a bounded piece of work at a time."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np

from cloud.stores.columns import ChunkDamaged, Group, decode_chunk, encode_groups
from cloud.stores.merging import merge_groups

RUN_CHUNKS = 64
"""So many chunks of one level become one of the next: about a minute, then about an hour, at one a second."""
CHUNK_VALUES_MAX = 200_000
"""A run ends early at this size: it bounds the time of one merge to some 20 ms."""
LEVEL_LARGE = 2
LEVEL_DAMAGED = 9
LEVELS = (0, 1, LEVEL_LARGE, LEVEL_DAMAGED)
_LEVEL_VALUES = (2_048, 32_768)

ChunkRow = tuple[int, int, int, bytes]
"""id, level, count, blob"""


def level_of(count: int) -> int:
    """Return the level of a chunk written with so many values: the largest are never merged again."""
    return sum(count > bound for bound in _LEVEL_VALUES)


class Compaction:
    """Knows which series have chunks enough to merge, and merges them inside the caller's transaction."""

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

    def find_due(self) -> tuple[int, int] | None:
        """Return the (series, level) with the most chunks to merge, None when no run is complete."""
        if not self._chunks:
            return None
        (series, level), count = self._chunks.most_common(1)[0]
        return (series, level) if count >= RUN_CHUNKS else None

    def merge_run(self, connection: sqlite3.Connection, series: int, level: int) -> None:
        """Replace the oldest run of chunks of this level by one chunk of a higher level."""
        run = _choose_run(connection, series, level)
        if not run:
            self.load(connection)  # another writer was here first
            return
        groups: list[Group] = []
        sound: list[ChunkRow] = []
        for row in run:
            try:
                groups.extend(decode_chunk(row[3]))
                sound.append(row)
            except ChunkDamaged:
                # It stays as it is, for whoever restores it; the reader says where it is.
                connection.execute("UPDATE chunk SET level = ? WHERE id = ?", (LEVEL_DAMAGED, row[0]))
        self._chunks[series, level] -= len(run)
        if sound:
            new_level = self._replace(connection, series, level, sound, merge_groups(groups))
            if new_level < LEVEL_LARGE:
                self._chunks[series, new_level] += 1

    def _replace(
        self,
        connection: sqlite3.Connection,
        series: int,
        level: int,
        run: Sequence[ChunkRow],
        groups: Sequence[Group],
    ) -> int:
        count = sum(len(group.timestamps) * len(group.tags) for group in groups)
        new_level = max(level + 1, level_of(count))
        connection.executemany("DELETE FROM chunk WHERE id = ?", [(row[0],) for row in run])
        # The last id of the run: what was written before the run stays below it, what came after above.
        connection.execute(
            "INSERT INTO chunk (id, series, level, start_ns, end_ns, count, blob) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run[-1][0], series, new_level, *span_of(groups), count, encode_groups(groups)),
        )
        return new_level


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
