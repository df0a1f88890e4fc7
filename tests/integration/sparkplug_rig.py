"""A Sparkplug host that writes down what a gateway says, and a gateway around made-up machines."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.agent import Agent
from edge.drivers import NotConnected
from edge.polling.poller import MachineSource
from edge.settings import EdgeSettings
from edge.sparkplug.decoding import decode_payload
from edge.sparkplug.payload import BOOLEAN, Metric, Payload, encode_payload
from models.link import BrokerSettings
from models.telemetry import Frame
from tests.integration.edge_rig import PATH, CountingDriver, make_settings, until

DEVICE = "hall-1:water:pump-7"


class Heard(msgspec.Struct, frozen=True):
    """A message as it came: its type (NBIRTH, DDATA...), what it says, how it travelled."""

    kind: str
    topic: str
    payload: Payload
    raw: bytes
    qos: int
    retain: bool


class SparkplugHost:
    """Subscribes to the whole namespace; says that it is online or not when told to."""

    def __init__(self, broker: BrokerSettings, host_id: str = "scada", user: str | None = None) -> None:
        self.heard: list[Heard] = []
        self._broker = broker
        self._state_topic = f"spBv1.0/STATE/{host_id}"
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"host-{host_id}", protocol=paho.MQTTv5
        )
        if user is not None:
            self._client.username_pw_set(user)
        self._client.on_connect = lambda client, *_: client.subscribe("spBv1.0/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)

    def start(self) -> None:
        """Return once the subscription stands."""
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def say_online(self, online: bool, timestamp: int | None = None) -> None:
        """Publish the STATE message, retained, as Sparkplug 3.0 has it."""
        state = {"online": online, "timestamp": timestamp or time.time_ns() // 1_000_000}
        self._client.publish(self._state_topic, json.dumps(state), qos=1, retain=True).wait_for_publish(10)

    def ask_rebirth(self, payload: bytes | None = None) -> None:
        """Publish the NCMD."""
        metric = Metric("Node Control/Rebirth", None, None, BOOLEAN, value=True)
        self._client.publish(
            "spBv1.0/riverside/NCMD/pi-01",
            payload or encode_payload(Payload(time.time_ns() // 1_000_000, [metric])),
            qos=0,
        )

    @property
    def kinds(self) -> list[str]:
        """The types of all messages, in order."""
        return [heard.kind for heard in list(self.heard)]

    def of(self, kind: str) -> list[Heard]:
        """Return the messages of one type."""
        return [heard for heard in list(self.heard) if heard.kind == kind]

    def list_counts(self) -> list[tuple[float, bool]]:
        """Return every value of the tag `count` (and whether it came as history), as births name them."""
        aliases: dict[int, str] = {}
        counts: list[tuple[float, bool]] = []
        for heard in list(self.heard):
            for metric in heard.payload.metrics:
                if heard.kind == "DBIRTH" and metric.alias is not None:
                    aliases[metric.alias] = metric.name or ""
                is_count = heard.kind in ("DBIRTH", "DDATA") and aliases.get(metric.alias or 0) == "count"
                if is_count and isinstance(metric.value, float):
                    counts.append((metric.value, metric.is_historical))
        return counts

    @property
    def counts(self) -> set[float]:
        """Every number that arrived, live or as history."""
        return {value for value, _ in self.list_counts()}

    @property
    def bdseqs(self) -> list[int]:
        """The bdSeq of every NBIRTH."""
        return [find_bdseq(heard) for heard in self.of("NBIRTH")]

    def _take(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        kind = message.topic.split("/")[2]
        if message.topic.startswith("spBv1.0/STATE/") or kind == "NCMD":
            return
        raw = bytes(message.payload)
        self.heard.append(Heard(kind, message.topic, decode_payload(raw), raw, message.qos, message.retain))


def find_bdseq(heard: Heard) -> int:
    """Return the bdSeq that a birth or death says."""
    [bdseq] = [metric.value for metric in heard.payload.metrics if metric.name == "bdSeq"]
    assert isinstance(bdseq, int)
    return bdseq


class FlakyDriver(CountingDriver):
    """A machine that can be unplugged."""

    is_plugged = True

    async def connect(self) -> None:
        """Answer, if plugged."""
        if not self.is_plugged:
            raise NotConnected("unplugged")

    async def read(self) -> list[Frame]:
        """Return the next number, if plugged."""
        if not self.is_plugged:
            raise NotConnected("unplugged")
        return await super().read()


def make_sparkplug_settings(folder: Path, mqtt: BrokerSettings, **sparkplug: object) -> EdgeSettings:
    """Return settings of a gateway that speaks Sparkplug too, and settles after half a second."""
    section = {"settle_s": 0.5, **sparkplug}
    return make_settings(folder, mqtt, publish="sparkplug", sparkplug=section)


@asynccontextmanager
async def running_gateway(settings: EdgeSettings, driver: CountingDriver) -> AsyncIterator[Agent]:
    """Run an agent whose one machine is the one of the settings; end it in order."""
    agent = Agent(settings, [MachineSource(PATH, driver)])
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        await until(lambda: agent.sparkplug is not None, "it runs")
        yield agent
    finally:
        stop.set()
        await task
