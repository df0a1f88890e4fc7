"""Builds the gateway's Sparkplug part from its settings."""

from collections.abc import Callable, Iterable
from importlib.metadata import version

from edge.drivers.shelf import MachineSettings
from edge.drivers.tags import list_reported
from edge.outbox.outbox import OutboxTotals
from edge.outbox.thread import OutboxThread
from edge.polling.machine_states import MachineStates
from edge.settings import EdgeSettings
from edge.sparkplug.bdseq import BirthDeathSequence
from edge.sparkplug.devices import DeviceTag
from edge.sparkplug.forwarding import Forwarding
from edge.sparkplug.hold import MemoryHold
from edge.sparkplug.host import PrimaryHost
from edge.sparkplug.names import NodeNames, state_topic
from edge.sparkplug.news import SparkplugNews
from edge.sparkplug.node import EdgeNode
from edge.sparkplug.publisher import MakeLink, SparkplugPublisher
from edge.sparkplug.session import Machines, NodeSession, make_death
from edge.sparkplug.words import name_node
from models.link import Link, LinkMessage, LinkState, Will
from models.telemetry import MachinePath


def build_sparkplug(
    settings: EdgeSettings, outbox: OutboxThread, totals: OutboxTotals, states: MachineStates
) -> SparkplugPublisher:
    """Return the Sparkplug publisher of the settings; it has not connected yet."""
    chosen, names = settings.sparkplug, name_node(settings)
    is_owner = chosen.custody == "broker"
    session = NodeSession(
        names,
        list_tags(settings.machines),
        {"Software": "Forewarn", "Version": version("forewarn")},
        settings.outbox.payload_bytes_max,
        by_alias=chosen.metric_names == "births",
    )
    news = SparkplugNews()
    news.tell_start(chosen.custody, names.group, names.edge_node)
    host = None if chosen.primary_host is None else PrimaryHost(chosen.primary_host)
    forwarding = Forwarding(totals.waiting if is_owner else [], chosen.settle_s)
    return SparkplugPublisher(
        EdgeNode(session, forwarding, states, news, host),
        outbox if is_owner else MemoryHold(chosen.hold_bytes_max),
        _plan_link(settings, names),
        chosen.history_values_per_s,
    )


def list_tags(machines: Iterable[MachineSettings]) -> Machines:
    """Return what a DBIRTH says of each machine's tags."""
    tags: dict[MachinePath, list[DeviceTag]] = {}
    for machine in machines:
        tags[machine.path] = [
            DeviceTag(tag.name, tag.unit, tag.is_boolean) for tag in list_reported(machine.tags)
        ]
    return tags


def _plan_link(settings: EdgeSettings, names: NodeNames) -> MakeLink:
    chosen, path = settings.sparkplug, settings.outbox.path
    bdseq = BirthDeathSequence(path.with_name(f"{path.stem}.bdseq"))
    topics = [names.topic("NCMD")] + ([state_topic(chosen.primary_host)] if chosen.primary_host else [])

    def make_link(
        on_message: Callable[[LinkMessage], None],
        on_state: Callable[[LinkState, int], None],
        on_delivered: Callable[[int, int], None],
    ) -> Link:
        last = 0

        def renew_will() -> Will:
            nonlocal last
            last = bdseq.take_next()
            death = make_death(names, last, None)
            return Will(death.topic, death.payload, retain=False)

        return Link(
            chosen.broker or settings.broker,
            f"forewarn-sparkplug-{settings.gateway}",
            on_message=on_message,
            on_state=lambda state: on_state(state, last),
            on_delivered=on_delivered,
            subscriptions=topics,
            renew_will=renew_will,
        )

    return make_link
