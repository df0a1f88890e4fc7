"""How far the watcher has come with each machine, kept in SQL: where it goes on after a restart."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Engine, String, Table, Text, select

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from models.telemetry import MachinePath

watch_progress = Table(
    "watch_progress",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("judged_ns", BigInteger, nullable=False),
    Column("quiet", Text, nullable=False),
    Column("late_first_ns", BigInteger),
    Column("late_last_ns", BigInteger),
)


class Late(msgspec.Struct, frozen=True):
    """Event time, first to last, whose rows were passed over or judged without all of their values."""

    first_ns: int
    last_ns: int

    def join(self, other: "Late | None") -> "Late":
        """Return the span from the beginning of the earlier to the end of the later."""
        if other is None:
            return self
        return Late(min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns))


class Progress(msgspec.Struct, frozen=True):
    """Everything before `judged_ns` (event time) is judged and its scores are stored.

    `late` is what history still has to judge anew. `quiet`: for how many rows of the grid a tag's deadband
    has kept it silent; the store does not know it.
    """

    judged_ns: int
    quiet: dict[str, int] = {}
    late: Late | None = None


class WatchProgress:
    """Puts and lists progress; every call is one transaction and raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, reached: Mapping[MachinePath, Progress]) -> None:
        """Keep how far machines have come."""
        if not reached:
            return
        rows = [
            {
                "machine": str(machine),
                "judged_ns": one.judged_ns,
                "quiet": json.dumps(one.quiet),
                "late_first_ns": one.late and one.late.first_ns,
                "late_last_ns": one.late and one.late.last_ns,
            }
            for machine, one in reached.items()
        ]
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, watch_progress)
            rest = {name: statement.excluded[name] for name in rows[0] if name != "machine"}
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=rest), rows)

    def list(self) -> dict[MachinePath, Progress]:
        """Return the progress of every machine that was ever judged."""
        with begin_read(self._engine) as connection:
            return {
                MachinePath.parse(row.machine): _read(row)
                for row in connection.execute(select(watch_progress))
            }


def _read(row: Any) -> Progress:
    late = None if row.late_first_ns is None else Late(row.late_first_ns, row.late_last_ns)
    return Progress(row.judged_ns, json.loads(row.quiet), late)
