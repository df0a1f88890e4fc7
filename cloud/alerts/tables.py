"""The SQL tables of alerts, and how their rows are read and written."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
)

from cloud.alerts import Alert, AlertEvent
from cloud.alerts.states import Progress
from cloud.records import metadata
from models.telemetry import MachinePath

MACHINE_CHARS_MAX = 259
BY_CHARS_MAX = 256
_EVIDENCE = ("contributions", "faulty_tags", "tags", "summary", "cause", "advice", "forecast", "severity")

alert_table = Table(
    "alert",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("machine", String(MACHINE_CHARS_MAX), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("raised_ns", BigInteger, nullable=False, index=True),
    Column("escalated_ns", BigInteger),
    Column("acknowledged_ns", BigInteger),
    Column("acknowledged_by", String(BY_CHARS_MAX)),
    Column("cleared_ns", BigInteger),
    Column("score", Float, nullable=False),
    Column("limit", Float, nullable=False),
    Column("score_peak", Float, nullable=False),
    Column("evidence", Text, nullable=False),
)
IS_OPEN = and_(alert_table.c.cleared_ns.is_(None), alert_table.c.kind != "model")
"""Of the alerts about a machine itself; one about its model may be open beside them."""

IS_OPEN_MODEL = and_(alert_table.c.cleared_ns.is_(None), alert_table.c.kind == "model")

# The promise "one open alert per machine" is the database's, whoever writes.
for _name, _is_open in (
    ("one_open_alert_per_machine", IS_OPEN),
    ("one_open_model_alert_per_machine", IS_OPEN_MODEL),
):
    Index(_name, alert_table.c.machine, unique=True, sqlite_where=_is_open, postgresql_where=_is_open)

alert_event_table = Table(
    "alert_event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", String(128), nullable=False, index=True),
    Column("change", String(16), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("by", String(BY_CHARS_MAX), nullable=False),
    Column("words", Text, nullable=False),
)

progress_table = Table(
    "alert_progress",
    metadata,
    Column("machine", String(MACHINE_CHARS_MAX), primary_key=True),
    Column("progress", Text, nullable=False),
)


def write_alert(alert: Alert) -> dict[str, Any]:
    """Return the columns of an alert."""
    evidence = {name: getattr(alert, name) for name in _EVIDENCE}
    return {
        "id": alert.id,
        "machine": str(alert.machine),
        "kind": alert.kind,
        "raised_ns": alert.raised_ns,
        "escalated_ns": alert.escalated_ns,
        "acknowledged_ns": alert.acknowledged_ns,
        "acknowledged_by": alert.acknowledged_by,
        "cleared_ns": alert.cleared_ns,
        "score": alert.score,
        "limit": alert.limit,
        "score_peak": alert.score_peak,
        "evidence": msgspec.json.encode(evidence).decode(),
    }


def read_alert(row: Row[Any]) -> Alert:
    """Return the alert of a row; its state follows from its times."""
    columns = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001  # a public name
    fields = {name: value for name, value in columns.items() if name not in ("evidence", "machine")}
    acknowledged = columns["acknowledged_ns"] is not None
    state = "cleared" if columns["cleared_ns"] is not None else "acknowledged" if acknowledged else "raised"
    machine = msgspec.to_builtins(MachinePath.parse(columns["machine"]))
    return msgspec.convert(
        {**fields, **msgspec.json.decode(columns["evidence"]), "machine": machine, "state": state}, Alert
    )


def read_event(row: Row[Any]) -> AlertEvent:
    """Return one line of an alert's history."""
    return AlertEvent(row.alert_id, row.change, row.at_ns, row.by, row.words)


def read_progress(text: str | None) -> Progress:
    """Return what was remembered of a machine, or a fresh start."""
    return msgspec.json.decode(text, type=Progress) if text else Progress()


def write_progress(connection: Connection, progress: Mapping[MachinePath, Progress]) -> None:
    """Remember machines' progress; an idle one leaves only the instant of its last observation."""
    if not progress:
        return
    machines = [str(machine) for machine in progress]
    connection.execute(delete(progress_table).where(progress_table.c.machine.in_(machines)))
    connection.execute(
        insert(progress_table),
        [
            {"machine": str(machine), "progress": msgspec.json.encode(one).decode()}
            for machine, one in progress.items()
        ],
    )
