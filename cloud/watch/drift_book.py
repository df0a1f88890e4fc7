"""The newest drift of each machine, kept in SQL, and as gauges for Prometheus."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Engine, String, Table, Text, select

from cloud.records import metadata
from cloud.stores import Block
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.drift import Drift
from models.telemetry import Frame, MachinePath

drift_table = Table(
    "drift",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("drift", Text, nullable=False),
)

_decoder = msgspec.json.Decoder(Drift)


class KeptDrift(msgspec.Struct, frozen=True):
    """A machine's drift and when it was measured."""

    at_ns: int
    drift: Drift


class DriftBook:
    """Puts and lists drifts; every call is one transaction and raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, drifts: dict[str, Drift], at_ns: int) -> None:
        """Keep the newest drift of each machine, by its path."""
        rows = [
            {"machine": machine, "at_ns": at_ns, "drift": msgspec.json.encode(one).decode()}
            for machine, one in drifts.items()
        ]
        if not rows:
            return
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, drift_table)
            rest = {name: statement.excluded[name] for name in ("at_ns", "drift")}
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=rest), rows)

    def list(self) -> dict[str, KeptDrift]:
        """Return the newest drift of each machine, by its path."""
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(drift_table)).all()
        return {row.machine: KeptDrift(row.at_ns, _decoder.decode(row.drift)) for row in rows}


def make_drift_blocks(drifts: Mapping[str, Drift], at_ns: int) -> list[Block]:
    """Return the drifts, by machine, as they are stored: for plots over months."""
    return [
        Block(
            "drift",
            MachinePath.parse(machine),
            [Frame([at_ns], {tag: [psi] for tag, psi in one.psi.items()})],
        )
        for machine, one in drifts.items()
        if one.psi
    ]
