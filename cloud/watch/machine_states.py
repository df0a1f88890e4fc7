"""The latest state of every machine, kept in SQL for the console and for after a restart."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Engine, Float, Row, String, Table, Text, select

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.observations import MachineState, Observation
from models.telemetry import MachinePath

machine_state = Table(
    "machine_state",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("score", Float),
    Column("limit", Float),
    Column("coverage", Float, nullable=False),
    Column("timestamp_ns", BigInteger, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("faulty", Text, nullable=False),
    Column("judged_s", Float, nullable=False),
    Column("judged_from_ns", BigInteger),
)

JUDGED_STEP_S_MAX = 600.0
"""Between two judgements further apart than this nobody watched."""


class MachineStateRow(msgspec.Struct, frozen=True):
    """The latest observation of a machine; `since_ns` is when its state became what it is (event time).

    `judged_s`: for how long in all it was judged, counted from `judged_from_ns` on (None: never yet).
    """

    machine: MachinePath
    state: MachineState
    score: float | None
    limit: float | None
    coverage: float
    timestamp_ns: int
    since_ns: int
    reason: str
    faulty: dict[str, str]
    judged_s: float = 0.0
    judged_from_ns: int | None = None


class MachineStates:
    """Puts and lists machine states. Safe to use from several threads: every call is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, observations: Sequence[Observation]) -> None:
        """Keep the newest observation of each machine, in one transaction; raise `RecordsUnavailable`."""
        newest = {seen.machine: seen for seen in sorted(observations, key=lambda seen: seen.timestamp)}
        if not newest:
            return
        with begin_write(self._engine) as connection:
            wanted = machine_state.c.machine.in_([str(machine) for machine in newest])
            known = {row.machine: row for row in connection.execute(select(machine_state).where(wanted))}
            statement = insert_into(connection, machine_state)
            rest = {
                column.name: statement.excluded[column.name]
                for column in machine_state.columns
                if not column.primary_key
            }
            connection.execute(
                statement.on_conflict_do_update(index_elements=["machine"], set_=rest),
                [_make_row(seen, known.get(str(seen.machine))) for seen in newest.values()],
            )

    def list(self) -> list[MachineStateRow]:
        """Return the latest state of every machine, by path; raise `RecordsUnavailable`."""
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(machine_state).order_by(machine_state.c.machine)).all()
        return [
            MachineStateRow(
                machine=MachinePath.parse(row.machine),
                state=row.state,
                score=row.score,
                limit=row.limit,
                coverage=row.coverage,
                timestamp_ns=row.timestamp_ns,
                since_ns=row.since_ns,
                reason=row.reason,
                faulty=json.loads(row.faulty),
                judged_s=row.judged_s,
                judged_from_ns=row.judged_from_ns,
            )
            for row in rows
        ]


def _make_row(seen: Observation, known: Row[Any] | None) -> dict[str, Any]:
    stays = known is not None and known.state == seen.state
    return {
        "machine": str(seen.machine),
        "state": seen.state,
        "score": seen.score,
        "limit": seen.limit,
        "coverage": seen.coverage,
        "timestamp_ns": seen.timestamp,
        "since_ns": known.since_ns if stays and known else seen.timestamp,
        "reason": seen.reason,
        "faulty": json.dumps(seen.faulty_tags),
        **_count_judged(seen, known),
    }


def _count_judged(seen: Observation, known: Row[Any] | None) -> dict[str, Any]:
    """Return for how long the machine was judged, and since when that is counted."""
    judged_s = 0.0 if known is None else known.judged_s
    from_ns = None if known is None else known.judged_from_ns
    if seen.state != "judged":
        return {"judged_s": judged_s, "judged_from_ns": from_ns}
    if known is not None and known.state == "judged" and from_ns is not None:
        step_s = (seen.timestamp - known.timestamp_ns) / 1e9
        judged_s += step_s if 0.0 < step_s <= JUDGED_STEP_S_MAX else 0.0
    return {"judged_s": judged_s, "judged_from_ns": seen.timestamp if from_ns is None else from_ns}
