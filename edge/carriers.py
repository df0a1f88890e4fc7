"""Builds what carries values on: from the collector to the outbox, and from there to brokers."""

from collections.abc import Callable
from typing import NamedTuple

from edge.chores import Chores
from edge.outbox.outbox import OutboxTotals, Put
from edge.outbox.thread import OutboxThread
from edge.outbox.words import describe_room
from edge.polling.collector import Collector
from edge.polling.flusher import Flusher
from edge.polling.machine_states import MachineStates
from edge.polling.progress import Progress
from edge.publishing.carrier import Carrier
from edge.publishing.limits import SendingLimits
from edge.publishing.news import LinkNews
from edge.publishing.publisher import Publisher
from edge.publishing.sending import Sending
from edge.settings import EdgeSettings
from edge.sparkplug.publisher import SparkplugPublisher
from edge.sparkplug.wiring import build_sparkplug
from edge.vitals.certificates import Way
from edge.vitals.status import make_will
from models.link import Link, LinkMessage, LinkState, Will
from models.telemetry import Topics


class Carriers(NamedTuple):
    """`publisher` has the outbox let go; it is `sparkplug` itself where that has custody."""

    publisher: Carrier
    flusher: Flusher
    sparkplug: SparkplugPublisher | None


def build_carriers(
    settings: EdgeSettings,
    outbox: OutboxThread,
    totals: OutboxTotals,
    collector: Collector,
    states: MachineStates,
    progress: Progress,
    chores: Chores,
) -> Carriers:
    """Return the carriers of the settings, not yet running."""
    sparkplug: SparkplugPublisher | None = None
    if settings.publish == "sparkplug":
        sparkplug = build_sparkplug(settings, outbox, totals, states)
    publisher: Carrier
    takers: list[Callable[[Put], None]]
    if sparkplug is not None and settings.sparkplug.custody == "broker":
        publisher, takers = sparkplug, [sparkplug.take_put]
    else:
        news = LinkNews(
            lambda: describe_room(outbox.waiting_bytes, outbox.bytes_max, flusher.bytes_per_s),
            lambda: flusher.bytes_per_s > 0,
        )
        publisher = _make_publisher(settings, outbox, totals, news, progress, chores)
        takers = [publisher.take_put, lambda _put: news.tell_put()]
        if sparkplug is not None:
            takers.append(sparkplug.take_put)

    def take_put(put: Put) -> None:
        for take in takers:
            take(put)

    flusher = Flusher(collector, outbox, settings.outbox.flush_s, take_put, progress, chores)
    return Carriers(publisher, flusher, sparkplug)


def list_ways(settings: EdgeSettings, publisher: Carrier, sparkplug: SparkplugPublisher | None) -> list[Way]:
    """Return the ways to the brokers that the carriers connect to, each broker once."""
    ways = []
    if publisher is not sparkplug:
        ways.append(Way(settings.broker, lambda: publisher.certificate_shown))
    own = settings.sparkplug.broker
    if sparkplug is not None and (publisher is sparkplug or own is not None):
        ways.append(Way(own or settings.broker, lambda: sparkplug.certificate_shown))
    return ways


def _make_publisher(
    settings: EdgeSettings,
    outbox: OutboxThread,
    totals: OutboxTotals,
    news: LinkNews,
    progress: Progress,
    chores: Chores,
) -> Publisher:
    gateway, topics = settings.gateway, Topics(settings.namespace)

    def make_link(
        on_message: Callable[[LinkMessage], None],
        on_state: Callable[[LinkState], None],
        on_delivered: Callable[[int, int], None],
    ) -> Link:
        return Link(
            settings.broker,
            f"forewarn-edge-{gateway}",
            on_message=on_message,
            on_state=on_state,
            on_delivered=on_delivered,
            subscriptions=[topics.receipt(gateway)],
            will=Will(topics.status(gateway), make_will(gateway)),
        )

    limits = SendingLimits(receipt_timeout_s=settings.receipt_timeout_s)
    return Publisher(
        gateway,
        topics,
        outbox,
        Sending(totals.waiting, limits),
        news=news,
        make_link=make_link,
        progress=progress,
        chores=chores,
    )
