"""What was found in history, kept in SQL for the console and the mail."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write

DIGESTS_MAX = 1_000

history_digest = Table(
    "history_digest",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("told_ns", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("strange", Text, nullable=False),
    Column("judged", Text, nullable=False),
    Column("is_posted", Boolean, nullable=False),
)


class StrangePast(msgspec.Struct, frozen=True):
    """A machine that would have had an alert, `episodes` times: its first, last and strangest row.

    `peak` is score / limit at `peak_ns`, `tags` what stood out there.
    """

    machine: str
    first_ns: int
    last_ns: int
    rows_above: int
    peak: float
    tags: list[str]
    episodes: int = 1
    peak_ns: int = 0


class JudgedSpan(msgspec.Struct, frozen=True):
    """From when to when a machine was judged afterwards, and how many rows of that."""

    machine: str
    first_ns: int
    last_ns: int
    rows: int


class HistoryDigest(msgspec.Struct, frozen=True):
    """What was found in `rows` rows of history. `id` is 0 until it is kept; old ones have no `judged`."""

    told_ns: int
    rows: int
    strange: list[StrangePast]
    judged: list[JudgedSpan] = []
    id: int = 0


_strange = msgspec.json.Decoder(list[StrangePast])
_judged = msgspec.json.Decoder(list[JudgedSpan])


def put_digest(engine: Engine, digest: HistoryDigest) -> None:
    """Keep a digest; beyond `DIGESTS_MAX` the oldest go. Raises `RecordsUnavailable`."""
    row = {
        "told_ns": digest.told_ns,
        "rows": digest.rows,
        "strange": msgspec.json.encode(digest.strange).decode(),
        "judged": msgspec.json.encode(digest.judged).decode(),
        "is_posted": False,
    }
    with begin_write(engine) as connection:
        connection.execute(insert(history_digest).values(**row))
        newest = connection.execute(select(func.max(history_digest.c.id))).scalar_one()
        connection.execute(delete(history_digest).where(history_digest.c.id <= newest - DIGESTS_MAX))


def list_digests(engine: Engine, count_max: int = 20) -> Sequence[HistoryDigest]:
    """Return the newest digests, the newest first; raise `RecordsUnavailable`."""
    query = select(history_digest).order_by(history_digest.c.id.desc()).limit(count_max)
    with begin_read(engine) as connection:
        return [_read(row) for row in connection.execute(query)]


def find_digest(engine: Engine, digest_id: int) -> HistoryDigest | None:
    """Return a digest, None when it is gone; raise `RecordsUnavailable`."""
    with begin_read(engine) as connection:
        row = connection.execute(select(history_digest).where(history_digest.c.id == digest_id)).one_or_none()
    return None if row is None else _read(row)


def take_unposted(connection: Connection, count_max: int) -> list[HistoryDigest]:
    """Return the oldest digests that nobody was told of, and count them as told, within the transaction."""
    query = select(history_digest).where(history_digest.c.is_posted.is_(False))
    rows = connection.execute(query.order_by(history_digest.c.id).limit(count_max)).all()
    if rows:
        taken = history_digest.c.id.in_([row.id for row in rows])
        connection.execute(update(history_digest).where(taken).values(is_posted=True))
    return [_read(row) for row in rows]


def has_unposted(engine: Engine) -> bool:
    """Return whether there is a digest that nobody was told of; raise `RecordsUnavailable`."""
    query = select(history_digest.c.id).where(history_digest.c.is_posted.is_(False)).limit(1)
    with begin_read(engine) as connection:
        return connection.execute(query).first() is not None


def _read(row: Any) -> HistoryDigest:
    return HistoryDigest(
        row.told_ns, row.rows, _strange.decode(row.strange), _judged.decode(row.judged), row.id
    )
