"""Carries batches from the outbox to the broker, and lets them go when their receipt comes."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from edge.news import LinkNews
from edge.outbox import Put
from edge.outbox_file import OutboxUnavailable
from edge.outbox_thread import OutboxThread
from edge.sending import Sending
from models.errors import ForewarnError
from models.link import Link, LinkDown, LinkMessage, LinkState
from models.telemetry import MachinePath, SequenceRanges, Topics
from models.telemetry.receipt import ReceiptRejected, decode_receipt

TICK_S = 0.25
RELEASE_PAUSE_S = 0.05
RETRY_S = 1.0
STOP_TIMEOUT_S = 3.0

MakeLink = Callable[
    [Callable[[LinkMessage], None], Callable[[LinkState], None], Callable[[int, int], None]], Link
]
log = structlog.get_logger()


class LinkDied(ForewarnError):
    """The link's thread ended by itself: make a new link."""


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
    ) -> None:
        self.connected = asyncio.Event()
        self.foreign_receipts_total = 0
        self._gateway = gateway
        self._topics = topics
        self._outbox = outbox
        self._sending = sending
        self._news = news
        self._make_link = make_link
        self._link: Link | None = None
        self._loop = asyncio.get_running_loop()
        self._events: deque[Callable[[], None]] = deque()
        self._woken = False
        self._hungry = asyncio.Event()
        self._moved = asyncio.Event()
        self._released = asyncio.Event()
        self._to_release = SequenceRanges()
        self._batch_topics: dict[str, str] = {}
        self._awaited: dict[int, asyncio.Future[int]] = {}

    async def run(self) -> None:
        """Publish for ever; raise `LinkDied` when the link's thread is gone."""
        self._link = self._make_link(
            lambda message: self._post(partial(self._take_message, message)),
            lambda state: self._post(partial(self._take_state, state)),
            lambda mid, code: self._post(partial(self._take_delivery, mid, code)),
        )
        self._link.start()
        try:
            await asyncio.gather(self._tick(), self._fetch(), self._release())
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
        ranges, self._to_release = self._to_release, SequenceRanges()
        if not len(ranges):
            return
        try:
            await self._outbox.release(list(ranges))
        except OutboxUnavailable:
            self._to_release.update(ranges)
            raise

    # -- from the link's thread into the loop -----------------------------------------------------------

    def _post(self, event: Callable[[], None]) -> None:
        self._events.append(event)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits for this any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        if self._link is None:  # an ended link's last words
            self._events.clear()
        while self._events:
            self._events.popleft()()
        self._moved.set()
        self._pump()

    def _take_state(self, state: LinkState) -> None:
        now = self._loop.time()
        if state.connected:
            self._sending.connect(now)
            self.connected.set()
            self._news.tell_connected(now)
        else:
            self._sending.disconnect()
            self.connected.clear()
            self._news.tell_lost(state.reason, now)

    def _take_delivery(self, mid: int, code: int) -> None:
        answer = self._awaited.pop(mid, None)
        if answer is not None:
            if not answer.done():
                answer.set_result(code)
            return
        self._sending.deliver(mid, code, self._loop.time())

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
        self._to_release.update(ranges)
        self._released.set()

    # -- loops ------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Hand to the link whatever may go now."""
        now = self._loop.time()
        while self._link is not None and (chosen := self._sending.choose(now)) is not None:
            batch, backlog = chosen
            try:
                mid = self._link.publish(self._topic_of(batch.machine), batch.payload)
            except LinkDown:
                self._sending.give_back(batch)
                break
            self._sending.sent(batch, mid, now, backlog=backlog)
        self._hungry.set()

    def _topic_of(self, machine: str) -> str:
        if machine not in self._batch_topics:
            self._batch_topics[machine] = self._topics.batch(self._gateway, MachinePath.parse(machine))
        return self._batch_topics[machine]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._link is not None and not self._link.is_alive():
                raise LinkDied("the MQTT thread ended unexpectedly: a new link is made")
            now = self._loop.time()
            self._sending.expire(now)
            if self.connected.is_set():
                self._news.tell_trouble(self._sending.trouble, now)
            self._pump()

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
                log.warning("outbox_unreadable", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            self._sending.add_fetched(found, complete=complete)
            self._pump()

    async def _release(self) -> None:
        while True:
            await self._released.wait()
            await asyncio.sleep(RELEASE_PAUSE_S)  # receipts come in swarms: one commit lets go of many
            self._released.clear()
            try:
                await self.release_receipted()
            except OutboxUnavailable as error:
                log.warning("outbox_unwritable", reason=str(error))
                self._released.set()
                await asyncio.sleep(RETRY_S)

    async def _end_link(self) -> None:
        link, self._link = self._link, None
        self.connected.clear()
        self._events.clear()
        self._awaited.clear()
        self._sending.reset()
        if link is not None:
            # A broker that does not answer must not keep us from ending: the thread is left behind then.
            ended = asyncio.Event()

            def end() -> None:
                link.stop()
                with suppress(RuntimeError):  # the loop did not wait for it
                    self._loop.call_soon_threadsafe(ended.set)

            threading.Thread(target=end, daemon=True).start()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await ended.wait()
