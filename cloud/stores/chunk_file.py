"""The SQLite file of the embedded store: its tables, how it is opened, and its errors in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.stores import StoreUnavailable

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10.0
WAL_BYTES_MAX = 64 * 1024 * 1024
PAGE_BYTES = 8192

# Ids of chunks grow in the order of writing: where two chunks name one instant, the greater id wins.
_TABLES = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL,
    machine TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    UNIQUE (measurement, machine)
);
CREATE TABLE tag (
    series INTEGER NOT NULL REFERENCES series,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (series, number),
    UNIQUE (series, name)
) WITHOUT ROWID;
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series,
    level INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    count INTEGER NOT NULL,
    blob BLOB NOT NULL
);
CREATE INDEX chunk_span ON chunk (series, level, start_ns, end_ns);
"""


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into `StoreUnavailable` with the mend in words."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"store {path}: {_explain(error)}") from error
    except OSError as error:
        raise StoreUnavailable(f"store {path}: {error.strerror}: check the path and its rights") from error


def _explain(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    mend = {
        sqlite3.SQLITE_FULL: "free space on its disk",
        sqlite3.SQLITE_BUSY: f"another program has locked it for more than {BUSY_TIMEOUT_S:.0f} s",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
        sqlite3.SQLITE_CANTOPEN: "make its folder, and make it writable for this user",
        sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
        sqlite3.SQLITE_NOTADB: "this is not a store of Forewarn: check store.path",
        sqlite3.SQLITE_IOERR: "its disk fails: check the system's log",
    }.get(code)
    return f"{error}: {mend}" if mend else str(error)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return the one connection that writes, with the tables there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        read_version(connection, path)  # before anything in the file is changed
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        # A receipt follows the commit, and a receipt has to survive a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES_MAX}")
        connection.execute("BEGIN IMMEDIATE")
        if read_version(connection, path) == 0:
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except (sqlite3.Error, StoreUnavailable):
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Return a connection that only reads; None while there is no file, or no tables, yet."""
    if not path.exists():
        return None
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        BUSY_TIMEOUT_S,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if read_version(connection, path) != 0:
            return connection
    except (sqlite3.Error, StoreUnavailable):
        connection.close()
        raise
    connection.close()
    return None


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file's tables, 0 for none; raise `StoreUnavailable` for a newer one."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"store {path}: written by a newer Forewarn (version {version} of the file, "
            f"this one knows {SCHEMA_VERSION}): update this installation"
        )
    return version
