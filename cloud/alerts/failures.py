"""The failures that the crew recorded: past alerts that were real, and when the machine failed after them."""

import msgspec
from sqlalchemy import Engine, select

from cloud.alerts.tables import alert_table
from cloud.alerts.verdicts import alert_verdict
from cloud.transactions import begin_read
from models.telemetry import MachinePath

FAILURES_MAX = 50


class Failure(msgspec.Struct, frozen=True):
    """An alert and when its machine failed, both in event time."""

    alert_id: str
    machine: MachinePath
    raised_ns: int
    failed_ns: int


class FailureBook:
    """Lists failures."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self) -> list[Failure]:
        """Return the newest failures that came after their alert; raise `RecordsUnavailable`."""
        query = (
            select(
                alert_table.c.id, alert_table.c.machine, alert_table.c.raised_ns, alert_verdict.c.failed_ns
            )
            .join(alert_verdict, alert_verdict.c.alert_id == alert_table.c.id)
            .where(
                alert_table.c.kind == "machine",
                alert_verdict.c.kind == "real_fault",
                alert_verdict.c.failed_ns > alert_table.c.raised_ns,
            )
            .order_by(alert_table.c.raised_ns.desc())
            .limit(FAILURES_MAX)
        )
        with begin_read(self._engine) as connection:
            return [
                Failure(row.id, MachinePath.parse(row.machine), row.raised_ns, row.failed_ns)
                for row in connection.execute(query)
            ]
