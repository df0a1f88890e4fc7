"""Which challengers there were, kept in SQL, and the alerts that they are measured by."""

import time
from collections.abc import Mapping

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Engine, String, Table, Text, select

from cloud.alerts.tables import alert_table
from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.refit import Event, Refit
from models.telemetry import MachinePath

EVENTS_MAX = 1_000

refit_table = Table(
    "refit",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("is_promoted", Boolean, nullable=False),
    Column("words", Text, nullable=False),
)


class KeptRefit(msgspec.Struct, frozen=True):
    """The last refit of a machine and when it was."""

    at_ns: int
    refit: Refit


class RefitBook:
    """Puts and lists refits; every call is one transaction and raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, refits: Mapping[str, Refit], at_ns: int) -> None:
        """Keep the last refit of each machine, by its path."""
        rows = [
            {"machine": machine, "at_ns": at_ns, "is_promoted": one.is_promoted, "words": one.words}
            for machine, one in refits.items()
        ]
        if not rows:
            return
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, refit_table)
            rest = {name: statement.excluded[name] for name in rows[0] if name != "machine"}
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=rest), rows)

    def list_events(self, machine: MachinePath, since_ns: int) -> list[Event]:
        """Return the machine's alerts since an instant (event time); one that is open lasts until now."""
        table = alert_table.c
        query = (
            select(table.raised_ns, table.cleared_ns, table.acknowledged_ns)
            .where(table.machine == str(machine), table.kind == "machine", table.raised_ns >= since_ns)
            .order_by(table.raised_ns.desc())
            .limit(EVENTS_MAX)
        )
        with begin_read(self._engine) as connection:
            return [
                Event(row.raised_ns, row.cleared_ns or time.time_ns(), row.acknowledged_ns is not None)
                for row in connection.execute(query)
            ]

    def list(self) -> dict[str, KeptRefit]:
        """Return the last refit of each machine, by its path."""
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(refit_table)).all()
        return {row.machine: KeptRefit(row.at_ns, Refit(row.is_promoted, row.words)) for row in rows}
