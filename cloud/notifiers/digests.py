"""Digests of history on their way to people: each is told once, in one letter, and never as an alert."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, select

from cloud.alerts.tables import alert_table
from cloud.machines import CardBox
from cloud.notifiers import Letter, NotifierRefused
from cloud.notifiers.digest_letter import write_digest_letter
from cloud.notifiers.outbox import put_notifications
from cloud.notifiers.shelf import DigestReader
from cloud.transactions import begin_write
from cloud.watch.history_book import HistoryDigest, find_digest, has_unposted, take_unposted

POSTED_AT_ONCE_MAX = 20
STALE_NS = 7 * 86_400_000_000_000
"""What was found while nobody delivered mail for longer is no longer sent: the console shows it."""


def name_digest(digest: HistoryDigest) -> str:
    """Return its name in the outbox and in mails, another one in new records: `history-7-1795400000`."""
    return f"history-{digest.id}-{digest.told_ns // 1_000_000_000}"


def holds_news(connection: Connection, digest: HistoryDigest) -> bool:
    """Return whether a machine was strange at a time of which no alert has told the crew."""
    alerts = alert_table.c
    for one in digest.strange:
        told = (
            select(alerts.id)
            .where(alerts.machine == one.machine, alerts.kind == "machine", alerts.raised_ns <= one.last_ns)
            .where(alerts.cleared_ns.is_(None) | (alerts.cleared_ns >= one.first_ns))
            .limit(1)
        )
        if connection.execute(told).first() is None:
            return True
    return False


class DigestDesk:
    """Puts new digests into the notification outbox, and writes their letters. All methods block."""

    def __init__(
        self, engine: Engine, readers: Sequence[DigestReader], cards: CardBox, public_url: str
    ) -> None:
        self._engine = engine
        self._readers = list(readers)
        self._cards = cards
        self._public_url = public_url.rstrip("/")

    def post_new(self, now_ns: int) -> None:
        """Put one notification per digest and reader, each digest once; raise `RecordsUnavailable`."""
        if not has_unposted(self._engine):
            return
        with begin_write(self._engine) as connection:
            for digest in take_unposted(connection, POSTED_AT_ONCE_MAX):
                if now_ns - digest.told_ns > STALE_NS:
                    continue
                is_news = holds_news(connection, digest)
                addresses = [one.address for one in self._readers if one.wants(is_news=is_news)]
                put_notifications(connection, addresses, name_digest(digest), "history", now_ns)

    def write(self, notification_id: str) -> Letter:
        """Return the letter of a digest; raise `NotifierRefused` when it is gone."""
        digest = find_digest(self._engine, int(notification_id.split("-")[1]))
        if digest is None:
            raise NotifierRefused(f"the digest {notification_id} is not kept any more: only the newest are")
        return write_digest_letter(digest, self._cards, self._public_url)
