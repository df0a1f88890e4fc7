"""A look into an outbox from outside, also while an agent uses it: read-only and without its lock."""

import sqlite3
from pathlib import Path

import msgspec

from edge.outbox.file import APPLICATION_ID, OutboxUnavailable
from models.telemetry import DroppedRange


class MachineBacklog(msgspec.Struct, frozen=True):
    """What waits of one machine; `oldest_ns` is when its oldest batch was put there."""

    machine: str
    batches: int
    values: int
    size: int
    oldest_ns: int


class Glance(msgspec.Struct, frozen=True):
    """An outbox as it is at one instant."""

    path: str
    gateway: str
    epoch: str
    sequence_last: int
    values_total: int
    machines: list[MachineBacklog]
    dropped: list[DroppedRange]
    held_values: int = 0
    """How many wait for the clock to be set."""


def glance(path: Path) -> Glance:
    """Return what lies in the outbox at `path`; raise `OutboxUnavailable` when there is none to read."""
    if not path.is_file():
        raise OutboxUnavailable(f"{path}: there is no outbox yet; forewarn edge run makes it")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return _read(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutboxUnavailable(f"{path}: cannot be read as an outbox ({error})") from error


def _read(connection: sqlite3.Connection, path: Path) -> Glance:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise OutboxUnavailable(f"{path}: is not an outbox")
    connection.execute("BEGIN")  # all that follows is of one instant
    gateway, epoch = connection.execute("SELECT gateway, epoch FROM identity").fetchone()
    sequence_last, values_total = connection.execute(
        "SELECT sequence_last, values_total FROM totals"
    ).fetchone()
    machines = connection.execute(
        "SELECT machine, count(*), sum(value_count), sum(payload_bytes), min(created_ns) "
        "FROM batches GROUP BY machine ORDER BY machine"
    )
    dropped = connection.execute("SELECT first, last, value_count, reason FROM dropped ORDER BY first")
    return Glance(
        path=str(path),
        gateway=gateway,
        epoch=epoch,
        sequence_last=sequence_last,
        values_total=values_total,
        machines=[MachineBacklog(*row) for row in machines],
        dropped=[DroppedRange(*row) for row in dropped],
        held_values=_count_held(connection),
    )


def _count_held(connection: sqlite3.Connection) -> int:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'held'").fetchone() is None:
        return 0
    return int(connection.execute("SELECT coalesce(sum(value_count), 0) FROM held").fetchone()[0])
