"""Dead letters: messages that can never be stored as they are, kept with their reason for a person."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    true,
    update,
)

from cloud.ingest.letter_drops import record_drops
from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from models.errors import ForewarnError
from models.telemetry import PAYLOAD_BYTES_MAX

dead_letter_table = Table(
    "dead_letter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("received_ns", BigInteger, nullable=False),
    Column("replayed_ns", BigInteger),
    Column("times", Integer, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("gateway", String(64)),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("excerpt", Integer, nullable=False),
    Index("dead_letter_size", "payload_bytes"),
    sqlite_autoincrement=True,
)


class DeadLetterUnknown(ForewarnError):
    """There is no dead letter with that number."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message nobody could store. `times` counts how often the very same message came.

    `excerpt`: it is a part of a batch whose rest is stored.
    """

    topic: str
    payload: bytes
    reason: str
    received_ns: int
    gateway: str | None = None
    id: int = 0
    times: int = 1
    replayed_ns: int | None = None
    excerpt: bool = False


class ReasonCount(msgspec.Struct, frozen=True):
    """How many letters of a gateway (None: nobody knows) have one reason; `waiting` are not replayed."""

    gateway: str | None
    reason: str
    letters: int
    waiting: int


class Kept(msgspec.Struct, frozen=True):
    """How many letters are kept, how many of them are replayed, and the bytes of their payloads."""

    letters: int
    replayed: int
    payload_bytes: int


class Doomed(NamedTuple):
    """A letter that has to go for want of room."""

    id: int
    gateway: str | None
    replayed_ns: int | None


class DeadLetters:
    """The table of dead letters, bounded: beyond its limits the oldest of the gateway with most of them go.

    `put` says how many.
    """

    def __init__(self, engine: Engine, rows_max: int = 10_000, bytes_max: int = 100_000_000) -> None:
        self._engine = engine
        self._rows_max = rows_max
        self._bytes_max = bytes_max

    def put(self, connection: Connection, letters: Sequence[DeadLetter]) -> int:
        """Keep `letters` inside the caller's transaction; return how many old ones had to go for them."""
        if not letters:
            return 0
        statement = insert_into(connection, dead_letter_table)
        again = statement.on_conflict_do_update(
            index_elements=["digest"],
            set_={
                "times": dead_letter_table.c.times + 1,
                "received_ns": statement.excluded.received_ns,
                "reason": statement.excluded.reason,
                "replayed_ns": None,
            },
        )
        connection.execute(again, [_to_row(letter) for letter in letters])
        return self._drop_oldest(connection, max(letter.received_ns for letter in letters))

    def _drop_oldest(self, connection: Connection, now_ns: int) -> int:
        """Give up the oldest letters of whoever has most, until the limits hold: a flood drowns its own."""
        dropped, unreplayed = 0, Counter[str | None]()
        while doomed := self._choose_doomed(connection):
            connection.execute(
                delete(dead_letter_table).where(dead_letter_table.c.id == bindparam("doomed_id")),
                [{"doomed_id": one.id} for one in doomed],
            )
            dropped += len(doomed)
            unreplayed.update(one.gateway for one in doomed if one.replayed_ns is None)
        record_drops(connection, unreplayed, now_ns)
        return dropped

    def _choose_doomed(self, connection: Connection) -> list[Doomed]:
        size, gateway = dead_letter_table.c.payload_bytes, dead_letter_table.c.gateway
        shares = connection.execute(
            select(gateway, func.count(), func.coalesce(func.sum(size), 0)).group_by(gateway)
        ).all()
        excess_rows = sum(rows for _, rows, _ in shares) - self._rows_max
        excess_bytes = sum(total for _, _, total in shares) - self._bytes_max
        if excess_rows <= 0 and excess_bytes <= 0:
            return []
        most = max(shares, key=lambda share: share[1] if excess_rows > 0 else share[2])[0]
        table = dead_letter_table.c
        oldest = select(table.id, table.gateway, table.replayed_ns, size).order_by(table.id)
        doomed: list[Doomed] = []
        for letter in connection.execute(oldest.where(gateway.is_not_distinct_from(most))):
            if excess_rows <= 0 and excess_bytes <= 0:
                break
            doomed.append(Doomed(letter.id, letter.gateway, letter.replayed_ns))
            excess_rows, excess_bytes = excess_rows - 1, excess_bytes - letter.payload_bytes
        return doomed

    def list_newest(self, count_max: int = 1000, gateway: str | None = None) -> list[DeadLetter]:
        """Return the newest letters, newest first, without their payloads; raise `RecordsUnavailable`."""
        columns = [column for column in dead_letter_table.c if column.name != "payload"]
        query = select(*columns).order_by(dead_letter_table.c.id.desc()).limit(count_max)
        with begin_read(self._engine) as connection:
            rows = connection.execute(query.where(_is_of(gateway)))
            return [_to_letter(row._asdict() | {"payload": b""}) for row in rows]

    def list_ids(self, gateway: str | None = None, *, unreplayed: bool = False) -> list[int]:
        """Return the ids of the letters (only those not replayed yet), oldest first."""
        table = dead_letter_table
        query = select(table.c.id).where(_is_of(gateway)).order_by(table.c.id)
        if unreplayed:
            query = query.where(table.c.replayed_ns.is_(None))
        with begin_read(self._engine) as connection:
            return list(connection.scalars(query))

    def count(self, gateway: str | None = None) -> Kept:
        """Return how many letters are kept; raise `RecordsUnavailable`."""
        table = dead_letter_table
        sums = (
            func.count(),
            func.count(table.c.replayed_ns),
            func.coalesce(func.sum(table.c.payload_bytes), 0),
        )
        with begin_read(self._engine) as connection:
            return Kept(*connection.execute(select(*sums).where(_is_of(gateway))).one())

    def count_reasons(self, count_max: int = 20) -> list[ReasonCount]:
        """Return the commonest reasons, gateway by gateway; raise `RecordsUnavailable`."""
        table = dead_letter_table.c
        letters, replayed = func.count(), func.count(table.replayed_ns)
        query = select(table.gateway, table.reason, letters, letters - replayed)
        query = query.group_by(table.gateway, table.reason).order_by(letters.desc()).limit(count_max)
        with begin_read(self._engine) as connection:
            return [ReasonCount(*row) for row in connection.execute(query)]

    def get(self, letter_id: int) -> DeadLetter:
        """Return one letter with its payload; raise `DeadLetterUnknown` or `RecordsUnavailable`."""
        query = select(dead_letter_table).where(dead_letter_table.c.id == letter_id)
        with begin_read(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise DeadLetterUnknown(
                f"there is no dead letter {letter_id}: `forewarn cloud dead-letters list` shows all"
            )
        return _to_letter(row._asdict())

    def mark_replayed(self, connection: Connection, letter_id: int, replayed_ns: int) -> None:
        """Note, inside the caller's transaction, that a letter is stored now."""
        self._change(connection, letter_id, {"replayed_ns": replayed_ns})

    def change_reason(self, letter_id: int, reason: str) -> None:
        """Note why a replay failed; raise `RecordsUnavailable`."""
        with begin_write(self._engine) as connection:
            self._change(connection, letter_id, {"reason": reason})

    def _change(self, connection: Connection, letter_id: int, facts: dict[str, int | str]) -> None:
        connection.execute(update(dead_letter_table).where(dead_letter_table.c.id == letter_id).values(facts))


def _is_of(gateway: str | None) -> ColumnElement[bool]:
    return true() if gateway is None else dead_letter_table.c.gateway == gateway


def _to_row(letter: DeadLetter) -> dict[str, object]:
    digest = hashlib.sha256(letter.topic.encode(errors="replace") + b"\0" + letter.payload)
    # What is longer than any batch may be can never be replayed: its beginning is enough to look at.
    kept = letter.payload[:PAYLOAD_BYTES_MAX]
    return {
        "received_ns": letter.received_ns,
        "times": letter.times,
        "digest": digest.hexdigest(),
        "gateway": letter.gateway,
        "payload_bytes": len(kept),
        "topic": letter.topic,
        "reason": letter.reason,
        "payload": kept,
        "excerpt": int(letter.excerpt),
    }


def _to_letter(facts: dict[str, object]) -> DeadLetter:
    return DeadLetter(**{name: facts[name] for name in DeadLetter.__struct_fields__})  # type: ignore[arg-type]  # a row


def list_heads(letters: Sequence[DeadLetter]) -> list[dict[str, object]]:
    """Return the letters without their payloads, ready for JSON."""
    names = [name for name in DeadLetter.__struct_fields__ if name != "payload"]
    return [{name: getattr(letter, name) for name in names} for letter in letters]
