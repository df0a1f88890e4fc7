"""The post: takes what is due from the notification outbox, writes the letters and sees them delivered."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from cloud.alerts import Alert, UnknownAlert
from cloud.alerts.book import AlertBook
from cloud.alerts.foresight import Foresight
from cloud.machines import CardBox
from cloud.notifiers import Letter, Notice, Notifier, NotifierRefused, NotifierUnavailable, Occasion
from cloud.notifiers.digests import DigestDesk
from cloud.notifiers.letter import write_letter
from cloud.notifiers.outbox import Notification, NotificationOutbox
from cloud.notifiers.picture import PictureMissing, draw_alert
from cloud.stores import StoreReader, StoreUnavailable
from cloud.transactions import RecordsUnavailable
from models.backoff import choose_delay_s

log = structlog.get_logger()

DUE_MAX = 20
LETTERS_MAX = 16
BACKOFF_FIRST_S = 5.0
BACKOFF_S_MAX = 900.0
GIVE_UP_S = 7 * 86_400
"""A mail about a machine that nobody took for a week is failed, not repeated for ever."""


class LetterDesk:
    """Writes the letter of an alert, with its picture; `public_url` is where people reach the console.

    With `foresight` it says what lies ahead as it is known when the letter is written.
    """

    def __init__(
        self,
        cards: CardBox,
        reader: StoreReader,
        public_url: str,
        foresight: Foresight | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._cards = cards
        self._reader = reader
        self._public_url = public_url.rstrip("/")
        self._foresight = foresight
        self._clock_ns = clock_ns

    def write(self, alert: Alert, occasion: Occasion) -> Letter:
        """Return the letter. Blocks (store, drawing); a missing picture is said, never waited for."""
        card = self._cards.of(alert.machine)
        picture, missing = None, ""
        try:
            picture = draw_alert(alert, card, self._reader)
        except PictureMissing as error:
            missing = str(error)
        alert = self._look_ahead(alert)
        link = f"{self._public_url}/alerts/{alert.id}"
        return write_letter(alert, occasion, card, link=link, picture=picture, missing=missing)

    def _look_ahead(self, alert: Alert) -> Alert:
        if self._foresight is None or alert.kind != "machine" or not alert.is_open:
            return alert
        try:
            found = self._foresight.look(alert, self._clock_ns())
        except (StoreUnavailable, RecordsUnavailable):
            return alert  # what was written down of it last stands
        return msgspec.structs.replace(alert, forecast=found[0], severity=found[1]) if found else alert


class Post:
    """Delivers at least once: a row leaves the outbox only when its channel has accepted it.

    Channels are served side by side, the rows of one channel in order; whatever a channel does is bounded.
    """

    def __init__(
        self,
        outbox: NotificationOutbox,
        book: AlertBook,
        notifiers: Mapping[str, Notifier],
        desk: LetterDesk,
        *,
        digests: DigestDesk | None = None,
        poll_s: float = 1.0,
        backoff_first_s: float = BACKOFF_FIRST_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._outbox = outbox
        self._book = book
        self._notifiers = notifiers
        self._desk = desk
        self._digests = digests
        self._poll_s = poll_s
        self._backoff_first_s = backoff_first_s
        self._clock_ns = clock_ns
        self._letters: OrderedDict[tuple[str, Occasion], Letter] = OrderedDict()
        self._letters_lock = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; what is on its way then is left, and repeated after the next start."""
        stopping = asyncio.create_task(stop.wait())
        records_lost = False
        while not stop.is_set():
            delivery = asyncio.create_task(self.deliver_due())
            await asyncio.wait({delivery, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not delivery.done():
                delivery.cancel()
            try:
                await delivery
                records_lost = False
            except RecordsUnavailable as error:
                if not records_lost:
                    log.warning("notifications_wait", reason=str(error))
                records_lost = True
            except asyncio.CancelledError:
                if not stop.is_set():  # it is us who are cancelled
                    raise
            await asyncio.wait({stopping}, timeout=self._poll_s)

    async def deliver_due(self) -> None:
        """Try once what is due now; of history found since, it is due now."""
        if self._digests is not None:
            await asyncio.to_thread(self._digests.post_new, self._clock_ns())
        due = await asyncio.to_thread(self._outbox.list_due, self._clock_ns(), DUE_MAX)
        channels = dict.fromkeys(row.channel for row in due)
        ends = await asyncio.gather(
            *(self._serve([row for row in due if row.channel == channel]) for channel in channels),
            return_exceptions=True,  # every channel is served to its end before a failure is told
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _serve(self, rows: Sequence[Notification]) -> None:
        for row in rows:
            await self._deliver(row)

    async def _deliver(self, row: Notification) -> None:
        now_ns = self._clock_ns()
        attempt = row.attempts + 1
        delay_s = choose_delay_s(attempt, self._backoff_first_s, BACKOFF_S_MAX)
        await asyncio.to_thread(self._outbox.claim, row.id, now_ns + int(delay_s * 1e9))
        try:
            await self._send(row)
        except NotifierUnavailable as error:
            if now_ns - row.created_ns > GIVE_UP_S * 1e9:
                await self._fail(row, f"given up after a week; the last answer was: {error}")
                return
            if row.attempts == 0:  # said once; the outbox keeps the latest words
                log.warning("notification_waits", alert=row.alert_id, to=row.recipient, reason=str(error))
            await asyncio.to_thread(self._outbox.note, row.id, str(error))
        except NotifierRefused as error:
            await self._fail(row, str(error))
        else:
            await asyncio.to_thread(self._outbox.mark_sent, row.id, self._clock_ns())
            log.info("notification_sent", alert=row.alert_id, to=row.recipient, attempts=attempt)

    async def _send(self, row: Notification) -> None:
        notifier = self._notifiers.get(row.channel)
        if notifier is None:
            raise NotifierRefused(
                f"there is no notifier named {row.channel!r} any more: check notifiers in cloud.yaml"
            )
        if row.occasion == "history":
            await notifier.send(await self._write_digest(row.alert_id), row.recipient)
            return
        try:
            alert = await asyncio.to_thread(self._book.get, row.alert_id)
        except UnknownAlert as error:
            raise NotifierRefused(f"the alert is not in the book any more ({error})") from error
        letter = await self._find_letter(alert, row.occasion)
        await notifier.send(make_notice(alert, row.occasion, letter), row.recipient)

    async def _find_letter(self, alert: Alert, occasion: Occasion) -> Letter:
        """Return the letter, drawn once for all recipients and repeats; a missing picture is tried again."""
        key = (alert.id, occasion)
        async with self._letters_lock:
            letter = self._letters.get(key)
            if letter is None:
                letter = await asyncio.to_thread(self._desk.write, alert, occasion)
                if letter.picture is not None:
                    self._letters[key] = letter
                while len(self._letters) > LETTERS_MAX:
                    self._letters.popitem(last=False)
        return letter

    async def _write_digest(self, digest_id: str) -> Notice:
        if self._digests is None:
            raise NotifierUnavailable("nobody writes digests here: this is tried again")
        letter = await asyncio.to_thread(self._digests.write, digest_id)
        return Notice(id=digest_id, follows=None, occasion="history", alert=None, letter=letter)

    async def _fail(self, row: Notification, words: str) -> None:
        log.error("notification_failed", alert=row.alert_id, to=row.recipient, reason=words)
        await asyncio.to_thread(self._outbox.mark_failed, row.id, words)


def make_notice(alert: Alert, occasion: Occasion, letter: Letter) -> Notice:
    """Return what the channel tells: the raised notice bears the alert's id, later ones follow it."""
    first = occasion == "raised"
    return Notice(
        id=alert.id if first else f"{alert.id}.{occasion}",
        follows=None if first else alert.id,
        occasion=occasion,
        alert=alert,
        letter=letter,
    )
