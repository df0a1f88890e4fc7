"""Deletes what is too old from the embedded store, whole chunks at a time."""

import sqlite3

import msgspec

from cloud.stores.compaction import LEVELS

CHUNKS_DELETED_MAX = 500
"""Of one transaction: others that write wait no longer than for one of their own kind."""


class Gone(msgspec.Struct, frozen=True):
    """How much one call deleted, and whether more is that old."""

    chunks: int
    more: bool


def delete_before(connection: sqlite3.Connection, before_ns: int) -> Gone:
    """Delete chunks that end before `before_ns`, inside the caller's transaction, at most so many.

    The file does not shrink: its free pages are written next.
    """
    marks = ",".join("?" * len(LEVELS))
    old = connection.execute(
        "SELECT id FROM series WHERE first_ns < min(?, last_ns + 1)", (before_ns,)
    ).fetchall()
    chunks = 0
    for (number,) in old:
        # Without the levels SQLite could not use the order of start_ns in the index.
        doomed = connection.execute(
            f"SELECT id FROM chunk INDEXED BY chunk_span WHERE series = ? AND level IN ({marks}) "  # noqa: S608
            "AND start_ns < ? AND end_ns < ? LIMIT ?",
            (number, *LEVELS, before_ns, before_ns, CHUNKS_DELETED_MAX - chunks),
        ).fetchall()
        connection.executemany("DELETE FROM chunk WHERE id = ?", doomed)
        chunks += len(doomed)
        if doomed:
            _note_first(connection, number)
        if chunks >= CHUNKS_DELETED_MAX:
            return Gone(chunks, more=True)
    return Gone(chunks, more=False)


def _note_first(connection: sqlite3.Connection, number: int) -> None:
    """Correct where a series begins: of one with nothing left, after its end.

    Its row stays: another program that writes it now may know it by its number.
    """
    firsts = [
        connection.execute(
            "SELECT MIN(start_ns) FROM chunk WHERE series = ? AND level = ?", (number, level)
        ).fetchone()[0]
        for level in LEVELS
    ]
    first = min([one for one in firsts if one is not None], default=None)
    connection.execute("UPDATE series SET first_ns = COALESCE(?, last_ns + 1) WHERE id = ?", (first, number))
