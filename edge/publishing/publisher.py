"""Carries batches from the outbox to the broker, and lets them go when their receipt comes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from edge.chores import Chores
from edge.ending import end_link
from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Put, StoredBatch
from edge.outbox.thread import OutboxThread
from edge.polling.progress import LINK, Progress
from edge.publishing.limits import PACKET_TOO_LARGE_CODE
from edge.publishing.news import LinkNews, Outage
from edge.publishing.releasing import Releasing
from edge.publishing.sending import Sending
from models.errors import ForewarnError
from models.link import Link, LinkDown, LinkMessage, LinkState
from models.telemetry import MachinePath, Topics
from models.telemetry.receipt import ReceiptRejected, decode_receipt

TICK_S = 0.25
TICK_AT_REST_S = 2.0
RETRY_S = 1.0
HANG_S = 300.0
"""A slow line takes a minute for a large batch; a link whose thread hangs answers for none."""
HEADER_BYTES_MAX = 16  # of a PUBLISH packet: type, length, topic length, message id, properties
TOPIC_BYTES_MAX = 400
PAYLOAD_BYTES_MIN = 2_000  # one value of a tag with the longest name fits

MakeLink = Callable[
    [Callable[[LinkMessage], None], Callable[[LinkState], None], Callable[[int, int], None]], Link
]
log = structlog.get_logger()


class LinkDied(ForewarnError):
    """The link ended by itself: make a new one."""


class Publisher:
    """One link to the broker. `Sending` decides what goes out; this class only carries it out.

    `make_link(on_message, on_state, on_delivered)` makes the link, which subscribes to the receipts.
    """

    def __init__(
        self,
        gateway: str,
        topics: Topics,
        outbox: OutboxThread,
        sending: Sending,
        *,
        news: LinkNews,
        make_link: MakeLink,
        progress: Progress | None = None,
        chores: Chores | None = None,
    ) -> None:
        self.connected = asyncio.Event()
        self.fresh = asyncio.Event()
        """Set at every connect, for whoever has something to say then; they clear it."""
        self.foreign_receipts_total = 0
        self._gateway = gateway
        self._topics = topics
        self._outbox = outbox
        self._sending = sending
        self._news = news
        self._make_link = make_link
        self._progress = progress or Progress()
        self._chores = chores or Chores()
        self._link: Link | None = None
        self._loop = asyncio.get_running_loop()
        self._hungry = asyncio.Event()
        self._moved = asyncio.Event()
        self._batch_topics: dict[str, str] = {}
        self._oversized: asyncio.Queue[int] = asyncio.Queue()
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._reading = Outage("outbox_unreadable", "outbox_readable")
        self._releasing = Releasing(outbox)

    @property
    def certificate_shown(self) -> bytes | None:
        """What the broker showed at the last connect over TLS (DER)."""
        return self._link.certificate_shown if self._link is not None else None

    @property
    def delivery_trouble(self) -> str:
        """Why nothing is delivered although the broker is there; empty while all is well."""
        return self._news.delivery_trouble

    async def run(self) -> None:
        """Publish for ever; raise `LinkDied` when the link has broken for good."""
        self._link = self._make_link(self._take_message, self._take_state, self._take_delivery)
        self._link.start_in_loop(self._after_events)
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in (self._tick, self._fetch, self._releasing.run, self._recut):
                    tasks.create_task(loop())
        except ExceptionGroup as group:  # the supervisor names one fault: the first, which ended the others
            raise group.exceptions[0] from None
        finally:
            await self._end_link()

    def take_put(self, put: Put) -> None:
        """Publish what was just committed, and forget what was dropped for it."""
        if put.dropped:
            self._sending.forget((gone.first, gone.last) for gone in put.dropped)
        self._sending.add_live(put.batches)
        self._pump()

    def publish_status(self, payload: bytes) -> asyncio.Future[int]:
        """Publish the retained status; the future ends with the broker's answer. Raises `LinkDown`."""
        if self._link is None:
            raise LinkDown("there is no link yet")
        mid = self._link.publish(self._topics.status(self._gateway), payload, retain=True)
        answer: asyncio.Future[int] = self._loop.create_future()
        self._awaited[mid] = answer
        return answer

    async def drain(self, timeout_s: float) -> None:
        """Return when everything sent has its receipt (or nobody gives any), at latest after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.connected.is_set() and not (self._sending.is_idle or self._sending.trouble):
                    self._moved.clear()
                    await self._moved.wait()

    async def release_receipted(self) -> None:
        """Delete from the outbox what the cloud has; raise `OutboxUnavailable`."""
        await self._releasing.release()

    def _after_events(self) -> None:
        self._moved.set()
        self._pump()

    def _take_state(self, state: LinkState) -> None:
        now = self._loop.time()
        if state.connected:
            self._limit_payloads()
            self._sending.connect(now)
            self.connected.set()
            self.fresh.set()
            self._chores.hurry()  # whoever has something to say then need not wait
            self._news.tell_connected(now)
        else:
            self._sending.disconnect()
            self._awaited.clear()
            self.connected.clear()
            self._news.tell_lost(state.reason, now)

    def _limit_payloads(self) -> None:
        limit = self._link.packet_bytes_max if self._link is not None else None
        if limit is None:
            return
        room = limit - HEADER_BYTES_MAX - TOPIC_BYTES_MAX
        if room < self._outbox.payload_bytes_max:
            log.info("payloads_limited", bytes_max=max(PAYLOAD_BYTES_MIN, room), reason="the broker says so")
            self._outbox.limit_payloads(max(PAYLOAD_BYTES_MIN, room))

    def _take_delivery(self, mid: int, code: int) -> None:
        answer = self._awaited.pop(mid, None)
        if answer is not None:
            if not answer.done():
                answer.set_result(code)
            return
        self._sending.deliver(mid, code, self._loop.time())
        self._progress.promise(LINK, self._loop.time(), HANG_S)
        if self._sending.trouble == "refused":
            self._tell_trouble()  # the broker may end the connection over it before the next tick

    def _take_message(self, message: LinkMessage) -> None:
        if self._link is not None:
            self._link.acknowledge(message)
        try:
            receipt = decode_receipt(message.payload)
        except ReceiptRejected as error:
            log.warning("receipt_rejected", reason=str(error))
            return
        if receipt.epoch != self._outbox.identity.epoch:
            self.foreign_receipts_total += 1
            if self.foreign_receipts_total == 1:
                log.warning("receipt_foreign", epoch=receipt.epoch[:64], reason="of another outbox file")
            return
        if receipt.dead_lettered:
            log.error(
                "batches_dead_lettered",
                sequences=receipt.dead_lettered,
                mend="the cloud keeps them with the reason: forewarn cloud dead-letters list",
            )
        ranges = receipt.stored + receipt.dead_lettered
        self._sending.receive(ranges, self._loop.time())
        self._releasing.add(ranges)

    def _pump(self) -> None:
        """Hand to the link whatever may go now."""
        now = self._loop.time()
        while self._link is not None and (chosen := self._sending.choose(now)) is not None:
            batch, backlog = chosen
            topic = self._topic_of(batch.machine)
            if self._is_too_large(topic, batch):
                if len(batch.payload) > self._outbox.payload_bytes_max:
                    self._oversized.put_nowait(batch.sequence)
                else:  # cutting it once more would make nothing smaller
                    self._sending.give_back(batch, now, PACKET_TOO_LARGE_CODE)
                continue
            try:
                mid = self._link.publish(topic, batch.payload)
            except LinkDown:
                self._sending.give_back(batch)
                break
            self._sending.sent(batch, mid, now, backlog=backlog)
        if self._sending.backlog_total:
            self._hungry.set()

    def _is_too_large(self, topic: str, batch: StoredBatch) -> bool:
        # paho would send it for ever: a broker drops the connection over a packet larger than it takes.
        limit = self._link.packet_bytes_max if self._link is not None else None
        return limit is not None and len(batch.payload) + len(topic) + HEADER_BYTES_MAX > limit

    def _topic_of(self, machine: str) -> str:
        if machine not in self._batch_topics:
            self._batch_topics[machine] = self._topics.batch(self._gateway, MachinePath.parse(machine))
        return self._batch_topics[machine]

    async def _tick(self) -> None:
        while True:
            if self.connected.is_set() and (self._sending.backlog_total or self._sending.trouble):
                await asyncio.sleep(TICK_S)
            else:  # all that may happen now is that a receipt stays out
                await self._chores.pause(min(TICK_AT_REST_S, self._sending.receipt_timeout_s / 4))
            if self._link is not None and not self._link.is_alive():
                raise LinkDied("the MQTT link ended unexpectedly: a new one is made")
            now = self._loop.time()
            self._sending.expire(now)
            self._releasing.review(now)
            if not (self.connected.is_set() and self._sending.unanswered):
                # A broker that is away is no reason to restart; one that has answered is not, either.
                self._progress.promise(LINK, now, HANG_S)
            if self.connected.is_set():
                self._tell_trouble()
            self._pump()

    def _tell_trouble(self) -> None:
        self._news.tell_trouble(self._sending.trouble, self._loop.time(), self._sending.refusal_code)

    async def _fetch(self) -> None:
        limits = self._sending.limits
        while True:
            await self._hungry.wait()
            self._hungry.clear()
            ranges = self._sending.plan_fetch()
            if not ranges:
                continue
            try:
                found, complete = await self._outbox.read(
                    ranges, limits.fetch_batches_max, limits.fetch_bytes_max
                )
            except OutboxUnavailable as error:
                self._sending.add_fetched([], complete=False)
                self._reading.begin(self._loop.time(), str(error))
                await asyncio.sleep(RETRY_S)
                continue
            self._reading.end(self._loop.time())
            self._sending.add_fetched(found, complete=complete)
            self._pump()

    async def _recut(self) -> None:
        """Cut what is larger than this broker takes; it goes out again in its parts."""
        while True:
            sequence = await self._oversized.get()
            try:
                put = await self._outbox.recut(sequence)
            except OutboxUnavailable as error:
                self._releasing.outage.begin(self._loop.time(), str(error))
                await asyncio.sleep(RETRY_S)
                self._oversized.put_nowait(sequence)
            else:
                self.take_put(put)

    async def _end_link(self) -> None:
        link, self._link = self._link, None
        self.connected.clear()
        self._awaited.clear()
        self._sending.reset()
        if link is not None:
            await end_link(link)
