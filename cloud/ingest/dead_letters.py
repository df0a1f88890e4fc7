"""Dead letters: messages that can never be stored as they are, kept with their reason for a person."""

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

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
    Index("dead_letter_size", "payload_bytes"),
    sqlite_autoincrement=True,
)


class DeadLetterUnknown(ForewarnError):
    """There is no dead letter with that number."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message nobody could store. `times` counts how often the very same message came."""

    topic: str
    payload: bytes
    reason: str
    received_ns: int
    gateway: str | None = None
    id: int = 0
    times: int = 1
    replayed_ns: int | None = None


class DeadLetters:
    """The table of dead letters, bounded: beyond its limits the oldest go, and `put` says how many."""

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
        return self._drop_oldest(connection)

    def _drop_oldest(self, connection: Connection) -> int:
        size = dead_letter_table.c.payload_bytes
        rows, total = connection.execute(select(func.count(), func.coalesce(func.sum(size), 0))).one()
        excess_rows, excess_bytes = rows - self._rows_max, total - self._bytes_max
        doomed: list[int] = []
        oldest = select(dead_letter_table.c.id, size).order_by(dead_letter_table.c.id)
        if excess_rows > 0 or excess_bytes > 0:
            for letter_id, letter_bytes in connection.execute(oldest):
                if excess_rows <= 0 and excess_bytes <= 0:
                    break
                doomed.append(letter_id)
                excess_rows, excess_bytes = excess_rows - 1, excess_bytes - letter_bytes
        if doomed:
            connection.execute(delete(dead_letter_table).where(dead_letter_table.c.id <= doomed[-1]))
        return len(doomed)

    def list_newest(self, count_max: int = 1000) -> list[DeadLetter]:
        """Return the newest letters, newest first, without their payloads; raise `RecordsUnavailable`."""
        columns = [column for column in dead_letter_table.c if column.name != "payload"]
        query = select(*columns).order_by(dead_letter_table.c.id.desc()).limit(count_max)
        with begin_read(self._engine) as connection:
            return [_to_letter(row._asdict() | {"payload": b""}) for row in connection.execute(query)]

    def list_unreplayed(self) -> list[int]:
        """Return the ids of the letters not replayed yet, oldest first; raise `RecordsUnavailable`."""
        table = dead_letter_table
        query = select(table.c.id).where(table.c.replayed_ns.is_(None)).order_by(table.c.id)
        with begin_read(self._engine) as connection:
            return list(connection.scalars(query))

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
    }


def _to_letter(facts: dict[str, object]) -> DeadLetter:
    return DeadLetter(**{name: facts[name] for name in DeadLetter.__struct_fields__})  # type: ignore[arg-type]  # a row


def list_heads(letters: Sequence[DeadLetter]) -> list[dict[str, object]]:
    """Return the letters without their payloads, ready for JSON."""
    names = [name for name in DeadLetter.__struct_fields__ if name != "payload"]
    return [{name: getattr(letter, name) for name in names} for letter in letters]
