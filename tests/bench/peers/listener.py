"""Hears what every gateway publishes: counts it, gives ours receipts, answers ThingsBoard's questions."""

import json
import threading
import time
from collections.abc import Iterable

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from models.telemetry import Receipt, Topics, decode_batch, encode_receipt
from models.telemetry.topics import BatchTopic

TOPICS = Topics()
THINGSBOARD = "v1/gateway/telemetry"
SESSION_LIMITS = "v1/devices/me/rpc/request/"
PLAIN = "plain/"
RECONNECT_S = 0.05

# What ThingsBoard's server says of a session without rate limits; without this answer nothing is published.
LIMITS = {"maxPayloadSize": 65_536, "maxInflightMessages": 100, "rateLimits": {}, "gatewayRateLimits": {}}

Row = tuple[int, list[tuple[str, float]]]
"""When the values were read (ns), and the values by tag."""


class Arrivals(msgspec.Struct):
    """What came from one gateway. `delays_s`: of each message's rows, from their timestamps to here."""

    values: int = 0
    messages: int = 0
    wire_bytes: int = 0
    delays_s: list[float] = []
    distinct: set[tuple[str, float]] = set()

    def take(self, rows: Iterable[Row], size: int, *, keep: bool) -> None:
        """Count the rows of a message."""
        now_ns = time.time_ns()
        self.messages += 1
        self.wire_bytes += size
        for at, values in rows:
            self.values += len(values)
            self.delays_s.append((now_ns - at) / 1e9)
            if keep:
                self.distinct.update(values)


class Listener:
    """One subscriber for all gateways. With `keep` it remembers every (tag, value): what is missing shows.

    With `session_expiry_s` a broker that stands still is waited for so long, and keeps what comes meanwhile.
    """

    def __init__(self, port: int, *, keep: bool = False, session_expiry_s: int = 0) -> None:
        self.arrivals: dict[str, Arrivals] = {}
        self.connected_at: list[float] = []
        self._keep = keep
        self._lock = threading.Lock()
        self._decode = msgspec.json.decode
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "listener", protocol=paho.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_message = self._take
        self._ended = threading.Event()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = session_expiry_s
        self._client.connect_async(
            "127.0.0.1",
            port,
            keepalive=max(5, session_expiry_s),
            clean_start=session_expiry_s == 0,
            properties=properties,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._ended.set()
        self._client.disconnect()
        self._thread.join(10)

    def forget(self) -> None:
        """Count from here."""
        with self._lock:
            self.arrivals = {}

    def _run(self) -> None:
        """Stay connected, back within a twentieth of a second: what nobody hears, the broker throws away."""
        while not self._ended.is_set():
            try:
                if self._client.reconnect() == paho.MQTT_ERR_SUCCESS:
                    while self._client.loop(0.5) == paho.MQTT_ERR_SUCCESS and not self._ended.is_set():
                        pass
            except OSError:
                pass
            self._ended.wait(RECONNECT_S)

    def _connected(self, client: paho.Client, *_facts: object) -> None:
        self.connected_at.append(time.monotonic())
        filters = (TOPICS.all_batches(), THINGSBOARD, f"{SESSION_LIMITS}+", f"{PLAIN}#")
        client.subscribe([(one, paho.SubscribeOptions(qos=1)) for one in filters])

    def _take(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        topic, payload = message.topic, message.payload
        if topic.startswith(SESSION_LIMITS):
            client.publish(topic.replace("request", "response"), json.dumps(LIMITS), qos=1)
        elif topic == THINGSBOARD:
            for gateway, frames in self._decode(payload).items():
                self._count(gateway, read_thingsboard(frames), len(payload))
        elif topic.startswith(PLAIN):
            gateway, _, first = topic.removeprefix(PLAIN).partition("/")
            self._count(gateway, read_plain(self._decode(payload), int(first)), len(payload))
        else:
            self._take_ours(client, topic, payload)

    def _take_ours(self, client: paho.Client, topic: str, payload: bytes) -> None:
        parsed, batch = TOPICS.parse(topic), decode_batch(payload)
        assert isinstance(parsed, BatchTopic)
        rows = [
            (at, [(tag, column[row]) for tag, column in frame.values.items()])
            for frame in batch.frames
            for row, at in enumerate(frame.timestamps)
        ]
        self._count(parsed.gateway, rows, len(payload))
        receipt = Receipt(1, batch.epoch, [(batch.sequence, batch.sequence)])
        client.publish(TOPICS.receipt(parsed.gateway), encode_receipt(receipt), qos=1)

    def _count(self, gateway: str, rows: Iterable[Row], size: int) -> None:
        with self._lock:
            arrived = self.arrivals.setdefault(gateway, Arrivals())
            arrived.take(rows, size, keep=self._keep)


def read_thingsboard(frames: list[dict[str, object]]) -> list[Row]:
    """Return the rows of ThingsBoard's telemetry: `{"ts": ms, "values": {tag: value}}`."""
    return [(frame["ts"] * 1_000_000, list(frame["values"].items())) for frame in frames]


def read_plain(told: dict[str, object], first: int) -> list[Row]:
    """Return the row of `{"ts": ms, "values": [...]}`, whose first value is tag `first`'s."""
    return [(told["ts"] * 1_000_000, [(f"t{at}", value) for at, value in enumerate(told["values"], first)])]
