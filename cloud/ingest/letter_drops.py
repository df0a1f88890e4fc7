"""How many dead letters had to go for want of room: what they held can never be replayed."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, String, Table, select

from cloud.records import metadata
from cloud.transactions import begin_read, insert_into

NOBODY = ""
"""Whose letters are of no gateway."""

letter_drop_table = Table(
    "dead_letter_drop",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("letters", Integer, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
)


class LetterDrop(msgspec.Struct, frozen=True):
    """So many letters of a gateway (None: nobody knows whose) went unreplayed, the last at `last_ns`."""

    gateway: str | None
    letters: int
    last_ns: int

    def describe(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.gateway or 'unknown gateways'}: {self.letters:,} dead letters went for want of room and "
            "can never be replayed: raise dead_letters.rows_max and bytes_max, and mend what sends them"
        )


def record_drops(connection: Connection, letters: Mapping[str | None, int], now_ns: int) -> None:
    """Add to the counts inside the caller's transaction."""
    rows = [
        {"gateway": gateway or NOBODY, "letters": count, "last_ns": now_ns}
        for gateway, count in letters.items()
        if count
    ]
    if not rows:
        return
    statement = insert_into(connection, letter_drop_table)
    added = letter_drop_table.c.letters + statement.excluded.letters
    again = statement.on_conflict_do_update(
        index_elements=["gateway"], set_={"letters": added, "last_ns": statement.excluded.last_ns}
    )
    connection.execute(again, rows)


def list_drops(engine: Engine, gateway: str | None = None) -> list[LetterDrop]:
    """Return what went, whoever lost most first; raise `RecordsUnavailable`."""
    table = letter_drop_table.c
    query = select(table.gateway, table.letters, table.last_ns).order_by(table.letters.desc())
    if gateway is not None:
        query = query.where(table.gateway == gateway)
    with begin_read(engine) as connection:
        return [
            LetterDrop(row.gateway or None, row.letters, row.last_ns) for row in connection.execute(query)
        ]
