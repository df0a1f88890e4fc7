"""The notification outbox: what is still to be told to whom, kept in SQL until a channel accepted it."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    update,
)

from cloud.notifiers import Occasion
from cloud.records import metadata
from cloud.transactions import begin_read, begin_write

NotificationState = Literal["waiting", "sent", "failed"]

WORDS_CHARS_MAX = 2000

_notification = Table(
    "notification",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", String(128), nullable=False),
    Column("occasion", String(16), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("due_ns", BigInteger, nullable=False),
    Column("sent_ns", BigInteger),
    Column("words", Text, nullable=False),
    UniqueConstraint("alert_id", "occasion", "channel", "recipient", name="one_notification_each"),
    Index("notification_due", "state", "due_ns"),
)


class Address(msgspec.Struct, frozen=True):
    """Somebody to tell: the channel's name in the settings, and who on that channel."""

    channel: str
    recipient: str


class Notification(msgspec.Struct, frozen=True):
    """One thing to tell one recipient. `words` is what the channel last said when it did not take it."""

    id: int
    alert_id: str
    occasion: Occasion
    channel: str
    recipient: str
    state: NotificationState
    attempts: int
    created_ns: int
    due_ns: int
    sent_ns: int | None
    words: str


def put_notifications(
    connection: Connection, addresses: Sequence[Address], alert_id: str, occasion: Occasion, now_ns: int
) -> None:
    """Add one waiting row per address, within the caller's transaction."""
    rows = [
        {
            "alert_id": alert_id,
            "occasion": occasion,
            "channel": address.channel,
            "recipient": address.recipient,
            "state": "waiting",
            "attempts": 0,
            "created_ns": now_ns,
            "due_ns": now_ns,
            "words": "",
        }
        for address in addresses
    ]
    if rows:
        connection.execute(insert(_notification), rows)


class NotificationOutbox:
    """Reads and moves on the rows; every method is one transaction and blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_due(self, now_ns: int, count_max: int) -> list[Notification]:
        """Return waiting rows whose time has come, the oldest first."""
        due = (_notification.c.state == "waiting") & (_notification.c.due_ns <= now_ns)
        return self._list(select(_notification).where(due).order_by(_notification.c.id).limit(count_max))

    def list_of(self, alert_id: str) -> list[Notification]:
        """Return every row of an alert, in the order of their making: who was told, who was not, and why."""
        ours = _notification.c.alert_id == alert_id
        return self._list(select(_notification).where(ours).order_by(_notification.c.id))

    def list_unsent(self, count_max: int = 100) -> list[Notification]:
        """Return what has failed or was tried and still waits, the latest first: for the console."""
        unsent = (_notification.c.state == "failed") | (
            (_notification.c.state == "waiting") & (_notification.c.attempts > 0)
        )
        return self._list(
            select(_notification).where(unsent).order_by(_notification.c.id.desc()).limit(count_max)
        )

    def claim(self, notification_id: int, due_ns: int) -> None:
        """Count an attempt and set when the next is due: a crash in the middle delays only this row."""
        self._change(notification_id, attempts=_notification.c.attempts + 1, due_ns=due_ns)

    def mark_sent(self, notification_id: int, now_ns: int) -> None:
        """Let go: the channel has accepted it."""
        self._change(notification_id, state="sent", sent_ns=now_ns, words="")

    def mark_failed(self, notification_id: int, words: str) -> None:
        """Never try again; keep the reason for people to read."""
        self._change(notification_id, state="failed", words=words[:WORDS_CHARS_MAX])

    def note(self, notification_id: int, words: str) -> None:
        """Keep what the channel said; the row waits for its next attempt."""
        self._change(notification_id, words=words[:WORDS_CHARS_MAX])

    def _change(self, notification_id: int, **columns: object) -> None:
        with begin_write(self._engine) as connection:
            connection.execute(
                update(_notification).where(_notification.c.id == notification_id).values(**columns)
            )

    def _list(self, query: Select[tuple[object, ...]]) -> list[Notification]:
        with begin_read(self._engine) as connection:
            return [_read_row(row) for row in connection.execute(query)]


def _read_row(row: Row[tuple[object, ...]]) -> Notification:
    columns = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001  # a public name
    return msgspec.convert(columns, Notification)
