"""Which challengers there were, kept in SQL, and the alerts that they are measured by."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Engine, String, Table, Text, select

from cloud.alerts.tables import alert_table
from cloud.alerts.verdicts import alert_verdict
from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.refit import Event, Refit
from cloud.watch.watching import LearningSettings
from models.anomaly.bundle import Card
from models.anomaly.grid import NS_PER_S
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
        """Return the machine's alerts since an instant (event time); one that is open lasts until now.

        A false alarm is none: what was normal is to be learned, and no challenger need find it. Maintenance
        teaches nothing, and is no fault to be found.
        """
        table, verdict = alert_table.c, alert_verdict.c.kind
        query = (
            select(table.raised_ns, table.cleared_ns, table.acknowledged_ns, verdict.label("verdict"))
            .outerjoin(alert_verdict, alert_verdict.c.alert_id == table.id)
            .where(table.machine == str(machine), table.kind == "machine", table.raised_ns >= since_ns)
            .where(verdict.is_(None) | (verdict != "false_alarm"))
            .order_by(table.raised_ns.desc())
            .limit(EVENTS_MAX)
        )
        with begin_read(self._engine) as connection:
            return [
                Event(row.raised_ns, row.cleared_ns or time.time_ns(), _is_confirmed(row))
                for row in connection.execute(query)
            ]

    def list(self) -> dict[str, KeptRefit]:
        """Return the last refit of each machine, by its path."""
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(refit_table)).all()
        return {row.machine: KeptRefit(row.at_ns, Refit(row.is_promoted, row.words)) for row in rows}


def _is_confirmed(row: Any) -> bool:
    return row.verdict == "real_fault" or (row.verdict is None and row.acknowledged_ns is not None)


def find_next_refit(card: Card, kept: KeptRefit | None, wishes: LearningSettings) -> int | None:
    """Return when a challenger is due (nanoseconds), None where none is wanted."""
    if wishes.refit == "never":
        return None
    return max(card.trained_ns, kept.at_ns if kept else 0) + round(wishes.refit_days * 86_400 * NS_PER_S)
