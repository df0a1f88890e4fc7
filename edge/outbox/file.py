"""The outbox's file: locked against a second process, checked when it is opened, set aside when broken."""

import errno
import fcntl
import os
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

import msgspec
import structlog

from edge.outbox.room import bound_files
from models.errors import ForewarnError

APPLICATION_ID = 0x464F5257  # "FORW": tells our file from any other SQLite file
SCHEMA_VERSION = 2
BUSY_TIMEOUT_S = 10.0
_CORRUPT, _FULL, _NOT_A_DATABASE = 11, 13, 26  # sqlite3.h
_IOERR_SHMSIZE = 4874  # what a full disk is called while the log's index is made

_SCHEMA = """
CREATE TABLE identity (gateway TEXT NOT NULL, epoch TEXT NOT NULL, created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE totals (sequence_last INTEGER NOT NULL, values_total INTEGER NOT NULL) STRICT;
CREATE TABLE batches (
    sequence INTEGER PRIMARY KEY,
    machine TEXT NOT NULL,
    value_count INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    payload BLOB NOT NULL  -- last, so that sums over the other columns never read it
) STRICT;
CREATE TABLE reached (machine TEXT PRIMARY KEY, reached_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE dropped (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, value_count INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
"""

log = structlog.get_logger()


class OutboxBusy(ForewarnError):
    """Another program has the outbox open: stop one of the two."""


class OutboxUnavailable(ForewarnError):
    """The disk does not take or give anything now: keep what you have, wait, repeat."""


class OutboxFull(OutboxUnavailable):
    """There is no room: like `OutboxUnavailable`; deleting makes room."""


class OutboxAtCap(OutboxUnavailable):
    """The outbox holds what it may, and shall not give up older values: stop polling, wait, repeat."""


class OutboxCorrupt(ForewarnError):
    """The file is damaged: end the program; the next start sets the file aside and begins a fresh one."""


class OutboxForeign(ForewarnError):
    """The outbox holds another gateway's values: the settings or the file are the wrong ones."""

    exit_code = 3


class Identity(msgspec.Struct, frozen=True):
    """Whose outbox it is. `epoch` is a random id born with the file."""

    gateway: str
    epoch: str


def lock(path: Path) -> IO[str]:
    """Return the locked lock file of the outbox at `path`; raise `OutboxBusy` naming who has it."""
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = beside.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutboxUnavailable(
            f"{beside}: cannot be written ({error.strerror}): give this user the folder, or set outbox.path"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        owner = held.read().strip() or "unknown"
        held.close()
        raise OutboxBusy(
            f"{path} is in use by another edge agent (process {owner}): stop that one, "
            "or give this one an outbox.path of its own"
        ) from error
    held.seek(0)
    held.truncate()
    with suppress(OSError):  # on a full disk: the lock is what counts, the number only helps a person
        held.write(str(os.getpid()))
        held.flush()
    return held


def open_file(path: Path, gateway: str, bytes_max: int) -> tuple[sqlite3.Connection, Identity]:
    """Return the outbox at `path`, made anew where there is none or none that can be read.

    Raises `OutboxForeign` when it holds values of another gateway, `OutboxUnavailable` when the disk fails,
    `OutboxFull` among them when it is full.
    """
    try:
        reason = _find_fault(path)
        reached: list[tuple[str, int]] = []
        if reason is not None:
            reached = _salvage_reached(path)
            _set_aside(path, reason)
        connection = _connect(path, bytes_max)
        if _is_empty(connection):
            _create(connection, gateway)
            connection.executemany("INSERT INTO reached VALUES (?, ?)", reached)
        identity = Identity(*connection.execute("SELECT gateway, epoch FROM identity").fetchone())
        if identity.gateway == gateway:
            return connection, identity
        waiting = connection.execute("SELECT count(*) FROM batches").fetchone()[0]
        connection.close()
    except (sqlite3.Error, OSError) as error:
        kind = OutboxFull if _is_full(error) else OutboxUnavailable
        raise kind(
            f"{path}: cannot be opened ({error}): check the disk, its free space and the file's owner"
        ) from error
    if waiting:
        raise OutboxForeign(
            f"{path} holds {waiting} batches of gateway {identity.gateway}, the settings say {gateway}: "
            "set gateway back until they are delivered, or give the new gateway an outbox.path of its own"
        )
    _set_aside(path, f"it belongs to gateway {identity.gateway} and nothing waits in it")
    return open_file(path, gateway, bytes_max)


def translate(error: sqlite3.Error, path: Path) -> ForewarnError:
    """Return what the caller of a failed statement must be told."""
    if _is_damage(error):
        return OutboxCorrupt(
            f"{path} is damaged ({error}): start the agent again; it sets the file aside and begins anew"
        )
    if _is_full(error):
        return OutboxFull(f"{path}: {error}: make room on the disk; values go on by themselves then")
    return OutboxUnavailable(f"{path}: {error}: check the disk and its free space")


def _connect(path: Path, bytes_max: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    # With NORMAL a power cut takes what was "saved" since the last checkpoint.
    connection.execute("PRAGMA synchronous=FULL")
    # Debian's SQLite writes zeros over all that is deleted: half as much again on an SD card.
    connection.execute("PRAGMA secure_delete=OFF")
    bound_files(connection, bytes_max)
    return connection


def _create(connection: sqlite3.Connection, gateway: str) -> None:
    identity = (gateway, uuid.uuid4().hex, time.time_ns())
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            f"{_SCHEMA}"
        )
        connection.execute("INSERT INTO identity VALUES (?, ?, ?)", identity)
        connection.execute("INSERT INTO totals VALUES (0, 0)")
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.close()
        raise


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _find_fault(path: Path) -> str | None:
    """Return why the file at `path` cannot serve as an outbox, None when it can or is not there."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        if _is_empty(connection):
            return None  # its making was cut short, by a kill or a full disk
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID:
            return "it is another program's file"
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            return f"it is an outbox of version {version}, and this program reads {SCHEMA_VERSION}"
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            return f"it is damaged ({verdict})"
        # Read as the outbox will, so that a missing table or row shows here and not while values flow.
        found = connection.execute("SELECT count(*) FROM identity, totals").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            return f"it is damaged ({error})"
        raise
    finally:
        connection.close()
    return None if found == 1 else "it has no identity"


def _salvage_reached(path: Path) -> list[tuple[str, int]]:
    """Return what a damaged file says of up to when machines are acquired: there the next gap begins."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        return connection.execute("SELECT machine, reached_ns FROM reached").fetchall()
    return []


def _is_full(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    return getattr(error, "sqlite_errorcode", None) in (_FULL, _IOERR_SHMSIZE)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (_CORRUPT, _NOT_A_DATABASE)


def _set_aside(path: Path, reason: str) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.bad-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.bad-{stamp}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    log.error(
        "outbox_set_aside",
        file=str(path),
        reason=reason,
        kept_as=str(aside),
        mend=f"a fresh outbox begins now; forewarn edge outbox rescue {aside.name} --config FILE brings what "
        "waited in the old one into it",
    )
