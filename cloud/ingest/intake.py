"""The ingester's side towards the broker: takes messages in, sends receipts and acknowledgements out."""

import threading
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec
import structlog
from pydantic import Field

from cloud.ingest.inbox import Delivery, Inbox
from cloud.ingest.ledger import Key
from cloud.metrics import CloudMetrics
from models.errors import ForewarnError
from models.link import BrokerSettings, Link, LinkDown, LinkMessage, LinkState
from models.settings import Settings
from models.telemetry import (
    BatchTopic,
    Receipt,
    SequenceRanges,
    Status,
    StatusTopic,
    TopicRejected,
    Topics,
    decode_status,
    encode_receipt,
    encode_status,
)
from models.telemetry.status import StatusRejected
from models.words import say_duration

log = structlog.get_logger()

SHARE_GROUP = "forewarn"
TOPICS_CACHED_MAX = 10_000
STATUSES_MAX = 10_000
PATIENCE_S = 0.2
INBOX_MESSAGES_MAX = 10_000
"""Mosquitto 2.0 sends what it had queued beyond the receive maximum; what has no room here would cost a new
connection, and all that is under way a second time."""
KEPT = "in the outboxes of the gateways, whose logs say for how long there is room"


class LinkDied(ForewarnError):
    """The link's thread is gone: begin anew."""


class IngestSettings(Settings):
    """How batches are gathered into writes.

    `receive_max` bounds what the broker sends ahead of our acknowledgements; a write begins when half of
    that waits, or when the oldest batch is `linger_s` old. For `session_expiry_s` after we are gone the
    broker goes on keeping batches for us. It is short because Mosquitto gives an absent ingester its share
    of them, too, though others are there; nothing depends on it, since gateways send again.
    `new_series_per_hour_max` is how many tags the store has never seen a gateway may bring within an hour.
    """

    receive_max: int = Field(default=200, ge=2, le=10_000)
    linger_s: float = Field(default=0.2, ge=0.0, le=10.0)
    write_bytes_max: int = Field(default=4_000_000, ge=10_000, le=100_000_000)
    inbox_bytes_max: int = Field(default=64_000_000, ge=1_000_000, le=1_000_000_000)
    session_expiry_s: int = Field(default=15, ge=0, le=86_400)
    new_series_per_hour_max: int = Field(default=10_000, ge=1)


class Verdict(msgspec.Struct):
    """The sequence numbers of one (gateway, epoch) that the cloud answers for from now on."""

    stored: list[int] = []
    dead_lettered: list[int] = []


class Intake:
    """The link to the broker with its inbox. `take` and all after it belong to one thread, the writer's."""

    def __init__(
        self,
        settings: IngestSettings,
        broker: BrokerSettings,
        client_id: str,
        topics: Topics,
        metrics: CloudMetrics,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._metrics = metrics
        self._inbox = Inbox(INBOX_MESSAGES_MAX, settings.inbox_bytes_max)
        self._statuses: dict[str, bytes] = {}
        self._statuses_lock = threading.Lock()
        self._connection = 0
        self._down_since_s: float | None = None
        self._turned_away = False
        self._leaving = False
        self.read_topic = lru_cache(TOPICS_CACHED_MAX)(self._parse_topic)
        self._link = Link(
            broker,
            client_id,
            on_message=self._take_in,
            on_state=self._note_link,
            # The share lets several ingesters divide the batches; each of them sees every status.
            subscriptions=(f"$share/{SHARE_GROUP}/{topics.all_batches()}", topics.all_statuses()),
            receive_max=settings.receive_max,
            session_expiry_s=settings.session_expiry_s,
        )

    def start(self) -> None:
        """Connect, in the background and for ever."""
        self._link.start()

    def stop(self) -> None:
        """Leave the broker in order: it gives our share to the others, or tells gateways that nobody is here.

        An ingester that dies keeps its share for `session_expiry_s`, in case it comes back.
        """
        self._leaving = True
        self._link.stop(end_session=True)

    def decline(self) -> None:
        """Ask the broker for no more batches: those of our share that are under way still come."""
        self._leaving = True
        self._link.unsubscribe()

    def check(self) -> None:
        """See to the link between two writes; raise `LinkDied` when its thread is gone."""
        if not self._link.is_alive():
            raise LinkDied("the thread of the link to the broker ended")
        if self._turned_away and not len(self._inbox):
            self._turned_away = False
            # A broker sends again only on a new connection.
            self._link.stop()
            self._link.start()

    def take(self) -> list[Delivery]:
        """Return the batches for the next write, after a short wait none."""
        deliveries = self._inbox.take(
            count_max=INBOX_MESSAGES_MAX,
            bytes_max=self._settings.write_bytes_max,
            enough=self._settings.receive_max // 2,
            linger_s=self._settings.linger_s,
            patience_s=PATIENCE_S,
        )
        self._metrics.inbox_batches.set(len(self._inbox))
        return deliveries

    def take_statuses(self) -> dict[str, Status]:
        """Return the newest status of each gateway that spoke since the last call."""
        with self._statuses_lock:
            taken, self._statuses = self._statuses, {}
        statuses: dict[str, Status] = {}
        for gateway, payload in taken.items():
            try:
                statuses[gateway] = read_status(gateway, payload)
            except StatusRejected as error:
                self._metrics.statuses_rejected.inc()
                log.warning("status_rejected", gateway=gateway, reason=str(error))
        return statuses

    def give_back(self, statuses: Mapping[str, Status]) -> None:
        """Keep statuses that could not be written, unless the gateway has spoken since."""
        with self._statuses_lock:
            for gateway, status in statuses.items():
                self._statuses.setdefault(gateway, encode_status(status))

    def send_receipts(self, verdicts: Mapping[Key, Verdict]) -> None:
        """Tell each gateway what it may let go. A receipt that is lost is given again with the repeat."""
        for (gateway, epoch), verdict in verdicts.items():
            receipt = Receipt(
                1,
                epoch,
                list(SequenceRanges.of(verdict.stored)),
                list(SequenceRanges.of(verdict.dead_lettered)),
            )
            try:
                self._link.publish(self._topics.receipt(gateway), encode_receipt(receipt))
            except LinkDown:
                self._metrics.receipts_unsent.inc()

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Let the broker forget `deliveries`. Those of an earlier connection it has forgotten, or repeats:
        their numbers mean other messages now."""
        if not self._link.is_connected():
            return
        for delivery in deliveries:
            if delivery.connection == self._connection:
                self._link.acknowledge(delivery.message)

    def _parse_topic(self, topic: str) -> BatchTopic | StatusTopic | TopicRejected:
        try:
            return self._topics.parse(topic)
        except TopicRejected as error:
            return error

    def _take_in(self, message: LinkMessage) -> None:
        topic = self.read_topic(message.topic)
        if isinstance(topic, StatusTopic):
            with self._statuses_lock:
                if topic.gateway in self._statuses or len(self._statuses) < STATUSES_MAX:
                    self._statuses[topic.gateway] = message.payload
            self._link.acknowledge(message)  # a gateway repeats its status: nothing is lost with one
        elif not self._inbox.put(Delivery(message, self._connection, time.monotonic())):
            self._turned_away = True
            self._metrics.inbox_overflows.inc()

    def _note_link(self, state: LinkState) -> None:
        self._metrics.broker_trouble = state.reason
        if state.connected:
            self._connection += 1
            self._inbox.forget_before(self._connection)
            if self._down_since_s is not None:
                log.info("link_back", after=say_duration(time.monotonic() - self._down_since_s))
            elif self._connection == 1:
                log.info("link_up")
            self._down_since_s = None
        elif self._down_since_s is None and not self._leaving:
            self._down_since_s = time.monotonic()
            log.warning("link_lost", reason=state.reason, kept=KEPT)


def read_status(gateway: str, payload: bytes) -> Status:
    """Return the status that `gateway` published; raise `StatusRejected` when it is not its own."""
    status = decode_status(payload)
    if status.gateway != gateway:
        raise StatusRejected(f"it says gateway {status.gateway[:80]!r} on the topic of {gateway!r}")
    return status
