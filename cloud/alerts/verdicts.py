"""What the crew found: a real fault, a false alarm, or maintenance; and what that adds up to."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Engine, String, Table, Text, and_, case, insert, select

from cloud.alerts.findings import AlarmCount, Verdict, VerdictKind
from cloud.alerts.tables import BY_CHARS_MAX, alert_event_table, alert_table
from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into

__all__ = [
    "AlarmCount",
    "Verdict",
    "VerdictBook",
    "VerdictKind",
    "alert_verdict",
]  # also what others know from here

ALERTS_ASKED_MAX = 1_000
LEADS_MAX = 1_000

alert_verdict = Table(
    "alert_verdict",
    metadata,
    Column("alert_id", String(128), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("by", String(BY_CHARS_MAX), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("failed_ns", BigInteger),
)


class VerdictBook:
    """Keeps the newest verdict of each alert; every call is one transaction, raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, alert_id: str, verdict: Verdict) -> None:
        """Keep a verdict and write it into the alert's history; a repeat of the same changes nothing."""
        row = {"alert_id": alert_id, **msgspec.structs.asdict(verdict)}
        with begin_write(self._engine) as connection:
            is_ours = alert_verdict.c.alert_id == alert_id
            known = connection.execute(select(alert_verdict).where(is_ours)).one_or_none()
            if known is not None and _read_verdict(known) == msgspec.structs.replace(
                verdict, at_ns=known.at_ns
            ):
                return
            statement = insert_into(connection, alert_verdict).values(**row)
            connection.execute(statement.on_conflict_do_update(index_elements=["alert_id"], set_=row))
            event = {"alert_id": alert_id, "change": "reviewed", "at_ns": verdict.at_ns, "by": verdict.by}
            connection.execute(insert(alert_event_table).values(**event, words=verdict.describe()))

    def list_of(self, alert_ids: Collection[str]) -> Mapping[str, Verdict]:
        """Return the verdicts on these alerts, by their id."""
        asked = list(alert_ids)[:ALERTS_ASKED_MAX]
        query = select(alert_verdict).where(alert_verdict.c.alert_id.in_(asked))
        with begin_read(self._engine) as connection:
            return {row.alert_id: _read_verdict(row) for row in connection.execute(query)}

    def count_false(self, since_ns: Mapping[str, int]) -> dict[str, AlarmCount]:
        """Return the false alarms of each machine raised since its instant (event time), by its path."""
        columns, kind = alert_table.c, alert_verdict.c.kind
        is_marked = kind == "false_alarm"
        is_unreviewed = and_(
            kind.is_(None), columns.acknowledged_ns.is_(None), columns.cleared_ns.is_not(None)
        )
        oldest = min(since_ns.values(), default=0)
        query = (
            select(columns.machine, columns.raised_ns, case((is_marked, 1), else_=0).label("marked"))
            .outerjoin(alert_verdict, alert_verdict.c.alert_id == columns.id)
            .where(columns.kind == "machine", columns.raised_ns >= oldest, is_marked | is_unreviewed)
        )
        counts: dict[str, AlarmCount] = {}
        with begin_read(self._engine) as connection:
            for row in connection.execute(query):
                if row.raised_ns < since_ns.get(row.machine, 0):
                    continue
                known = counts.get(row.machine, AlarmCount())
                counts[row.machine] = AlarmCount(known.marked + row.marked, known.unreviewed + 1 - row.marked)
        return counts

    def list_leads(self) -> dict[str, list[float]]:
        """Return, by machine, the seconds from each alert to its failure, of the newest dated real faults.

        A warning that came after the failure was none: 0 s.
        """
        lead = (alert_verdict.c.failed_ns - alert_table.c.raised_ns).label("lead_ns")
        query = (
            select(alert_table.c.machine, lead)
            .join(alert_verdict, alert_verdict.c.alert_id == alert_table.c.id)
            .where(
                alert_table.c.kind != "model",  # it warns of nothing about the machine
                alert_verdict.c.kind == "real_fault",
                alert_verdict.c.failed_ns.is_not(None),
            )
            .order_by(alert_table.c.raised_ns.desc())
            .limit(LEADS_MAX)
        )
        leads: dict[str, list[float]] = {}
        with begin_read(self._engine) as connection:
            for row in connection.execute(query):
                leads.setdefault(row.machine, []).append(max(0.0, row.lead_ns / 1e9))
        return leads


def _read_verdict(row: Any) -> Verdict:
    return Verdict(row.kind, row.note, row.by, row.at_ns, row.failed_ns)
