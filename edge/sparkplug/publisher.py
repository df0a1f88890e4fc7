"""Carries values to Sparkplug's hosts over an MQTT session of its own, and lets go of what has settled."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from edge.ending import end_link
from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Put
from edge.publishing.publisher import LinkDied
from edge.sparkplug.forwarding import FETCH_BATCHES_MAX, FETCH_BYTES_MAX
from edge.sparkplug.hold import Keep, MemoryHold
from edge.sparkplug.names import state_topic
from edge.sparkplug.news import PROMISES
from edge.sparkplug.node import EdgeNode
from edge.sparkplug.session import MQTT_BYTES_MAX, Machines, Message
from edge.sparkplug.settings import Custody
from edge.sparkplug.vitals import SparkplugVitals
from models.link import Link, LinkDown, LinkMessage, LinkState
from models.telemetry import SequenceRanges

TICK_S = 0.25
PACE_S = 0.25
"""History goes out in portions of so long; then current values have their turn."""
VALUE_BYTES_MIN = 8  # in the outbox: nothing is read that would not be sent in this portion
RETRY_S = 1.0
HEADER_BYTES_MAX = 512

MakeLink = Callable[
    [Callable[[LinkMessage], None], Callable[[LinkState, int], None], Callable[[int, int], None]], Link
]


class LinkWire:
    """A link as the node's way to the broker."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def publish(self, messages: list[Message]) -> bool:
        """See `Wire.publish`."""
        try:
            for message in messages:
                self._link.publish(message.topic, message.payload, qos=0)
        except LinkDown:
            return False
        return True

    def ask(self) -> int | None:
        """See `Wire.ask`."""
        try:
            return self._link.ask_broker()
        except LinkDown:
            return None


class SparkplugPublisher:
    """Runs one edge node. `keep` is where batches lie until let go: the outbox, or a hold in memory.

    `make_link(on_message, on_state, on_delivered)` makes the link; `on_state` also gets its will's bdSeq.
    History goes out no faster than `history_values_per_s`: brokers drop what a host is too slow for.
    """

    def __init__(self, node: EdgeNode, keep: Keep, make_link: MakeLink, history_values_per_s: float) -> None:
        self.node = node
        self.keep = keep
        self.connected = asyncio.Event()
        self.fresh = asyncio.Event()
        """Never set: these hosts are not told a status of Forewarn's."""
        self._make_link = make_link
        self._history_values_per_s = history_values_per_s
        self._custody: Custody = "cloud" if isinstance(keep, MemoryHold) else "broker"
        self._link: Link | None = None
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._over = asyncio.Event()
        self._to_release = SequenceRanges()

    @property
    def certificate_shown(self) -> bytes | None:
        """What the broker showed at the last connect over TLS (DER)."""
        return self._link.certificate_shown if self._link is not None else None

    @property
    def delivery_trouble(self) -> str:
        """Nothing: its own part of the health says what hinders it."""
        return ""

    async def run(self) -> None:
        """Publish for ever, with a new link whenever the primary host has left; raise `LinkDied`."""
        while True:
            await self._run_link()

    def take_put(self, put: Put) -> None:
        """Publish what was just committed to the outbox, or keep it for later."""
        for batch in put.batches:
            if isinstance(self.keep, MemoryHold):
                gone = self.keep.add(batch)
                self.node.forwarding.forget((sequence, sequence) for sequence in gone)
            self.node.take_batch(batch)
        if put.dropped and not isinstance(self.keep, MemoryHold):
            self.node.forwarding.forget((gone.first, gone.last) for gone in put.dropped)
        self.node.ask()
        self._moved.set()

    def set_machines(self, machines: Machines) -> None:
        """Take on other machines or tags."""
        self.node.set_machines(machines, self._loop.time())

    def look(self) -> SparkplugVitals:
        """Return how it fares now."""
        node, host = self.node, self.node.host
        return SparkplugVitals(
            custody=self._custody,
            promise=PROMISES[self._custody],
            broker_connected=self.connected.is_set(),
            is_born=node.session.is_born,
            host_id="" if host is None else host.host_id,
            host_state="unknown" if host is None else host.state,
            batches_waiting=node.forwarding.waiting_total,
            values_dropped_total=self.keep.values_dropped_total if isinstance(self.keep, MemoryHold) else 0,
            values_merged_total=node.session.merged_total,
            births_total=node.births_total,
            commands_rejected_total=node.commands_rejected_total,
        )

    async def drain(self, timeout_s: float) -> None:
        """Return when the broker has read all that was sent, at latest after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.node.is_live and not self.node.forwarding.is_idle:
                    self._moved.clear()
                    await self._moved.wait()

    async def release_receipted(self) -> None:
        """Let go of what has settled; raise `OutboxUnavailable`."""
        self._to_release.update(self.node.forwarding.take_settled(self._loop.time()))
        if len(self._to_release):
            ranges, self._to_release = self._to_release, SequenceRanges()
            try:
                await self.keep.release(list(ranges))
            except OutboxUnavailable:
                self._to_release.update(ranges)
                raise

    def publish_status(self, _payload: bytes) -> asyncio.Future[int]:
        """Raise `LinkDown`: without Forewarn's cloud there is nobody to tell."""
        raise LinkDown("Sparkplug's hosts know no status of Forewarn's")

    # -- what the link says -----------------------------------------------------------------------------

    def _take_state(self, link: Link, state: LinkState, bdseq: int) -> None:
        now = self._loop.time()
        if state.connected:
            limit = link.packet_bytes_max or MQTT_BYTES_MAX
            self.node.session.birth_bytes_max = limit - HEADER_BYTES_MAX
            self.node.connect(LinkWire(link), bdseq, now)
            self.connected.set()
        else:
            self.node.lose()
            self.connected.clear()
            self.node.news.tell_lost(state.reason, now)

    def _take_message(self, link: Link, message: LinkMessage) -> None:
        link.acknowledge(message)
        host, now = self.node.host, self._loop.time()
        if host is not None and message.topic == state_topic(host.host_id):
            if self.node.take_host(message.payload, now):
                self._over.set()
        elif message.topic == self.node.session.names.topic("NCMD"):
            self.node.take_command(message.payload, now)

    def _take_answer(self, mid: int) -> None:
        self.node.take_answer(mid, self._loop.time())

    # -- loops ------------------------------------------------------------------------------------------

    async def _run_link(self) -> None:
        self._over.clear()
        # The callbacks run once the link has started, when `link` has long been bound.
        link: Link = self._make_link(
            lambda message: self._take_message(link, message),
            lambda state, bdseq: self._take_state(link, state, bdseq),
            lambda mid, _code: self._take_answer(mid),
        )
        link.start_in_loop(self._moved.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [tasks.create_task(loop) for loop in (self._tick(link), self._fetch())]
                await self._over.wait()
                for task in loops:
                    task.cancel()
        except ExceptionGroup as group:  # the supervisor names one fault: the first, which ended the others
            raise group.exceptions[0] from None
        finally:
            self.node.say_goodbye()
            self.connected.clear()
            # MQTT 5 can leave and have the broker publish the will too, and Sparkplug asks for it.
            await end_link(link, with_will=True)

    async def _tick(self, link: Link) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._loop.time()
            if not link.is_alive():
                raise LinkDied("the Sparkplug link has ended")
            self.node.tick(now)
            self._moved.set()  # a birth may have been due, and with it history
            if isinstance(self.keep, MemoryHold):
                self.node.news.tell_dropped(self.keep.values_dropped_total, now)
            try:
                await self.release_receipted()
            except OutboxUnavailable as error:
                self.node.news.tell_keep_failing(str(error), now)
            else:
                self.node.news.tell_keep_working(now)

    async def _fetch(self) -> None:
        """Send what waited, as history, behind what is current."""
        forwarding = self.node.forwarding
        fetch_bytes = min(FETCH_BYTES_MAX, int(PACE_S * self._history_values_per_s) * VALUE_BYTES_MIN)
        while True:
            wanted = forwarding.plan_fetch() if self.node.is_live and forwarding.has_room else []
            if not wanted:
                self._moved.clear()
                await self._moved.wait()
                continue
            try:
                found, complete = await self.keep.read(wanted, FETCH_BATCHES_MAX, fetch_bytes)
            except OutboxUnavailable as error:
                self.node.news.tell_keep_failing(str(error), self._loop.time())
                await asyncio.sleep(RETRY_S)
                continue
            if complete:  # what is not there was let go of, or dropped, meanwhile
                there = SequenceRanges((batch.sequence, batch.sequence) for batch in found)
                forwarding.forget(SequenceRanges(wanted).minus(there))
            values = self.node.take_history(found, PACE_S * self._history_values_per_s)
            await asyncio.sleep(values / self._history_values_per_s)
