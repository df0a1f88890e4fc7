"""What each gateway last said of itself."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Engine, LargeBinary, String, Table, select

from cloud.records import metadata
from cloud.transactions import begin_read, insert_into
from models.telemetry import Status, decode_status, encode_status

gateway_table = Table(
    "gateway",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("received_ns", BigInteger, nullable=False),
    Column("status", LargeBinary, nullable=False),
)


class GatewayStatus(msgspec.Struct, frozen=True):
    """The last status of a gateway and when it came (nanoseconds)."""

    gateway: str
    received_ns: int
    status: Status


class Gateways:
    """The table of last statuses, for the console and for `verify`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, connection: Connection, statuses: Mapping[str, Status], received_ns: int) -> None:
        """Replace the statuses of these gateways, inside the caller's transaction."""
        if not statuses:
            return
        statement = insert_into(connection, gateway_table)
        replacing = statement.on_conflict_do_update(
            index_elements=["gateway"],
            set_={"received_ns": statement.excluded.received_ns, "status": statement.excluded.status},
        )
        rows = [
            {"gateway": gateway, "received_ns": received_ns, "status": encode_status(status)}
            for gateway, status in statuses.items()
        ]
        connection.execute(replacing, rows)

    def list(self) -> list[GatewayStatus]:
        """Return the last status of every gateway, by name; raise `RecordsUnavailable`."""
        query = select(gateway_table).order_by(gateway_table.c.gateway)
        with begin_read(self._engine) as connection:
            return [
                GatewayStatus(row.gateway, row.received_ns, decode_status(row.status))
                for row in connection.execute(query)
            ]
