"""The state of an edge node's Sparkplug session: births, deaths, numbers. Pure: the time comes in."""

import itertools
from collections.abc import Iterable, Mapping

import msgspec

from edge.sparkplug.columns import encode_rows
from edge.sparkplug.devices import Device, DeviceTag
from edge.sparkplug.names import BDSEQ, REBIRTH, MessageType, NodeNames
from edge.sparkplug.payload import BOOLEAN, INT64, STRING, Metric, Payload, encode_payload, wrap_metrics
from models.errors import ForewarnError
from models.telemetry import Frame, MachinePath

NODE_ALIAS_FIRST = 1  # bdSeq and Node Control/Rebirth have none: hosts and the will know them by name
DEVICE_ALIAS_FIRST = 128  # so that the aliases of the first 16,256 tags all take two bytes
SEQ_NUMBERS = 256
ENVELOPE_BYTES_MAX = 32  # around the metrics: timestamp, seq
MQTT_BYTES_MAX = 268_435_455

Machines = Mapping[MachinePath, Iterable[DeviceTag]]


class BirthTooLarge(ForewarnError):
    """A DBIRTH, which cannot be cut, is larger than the broker takes: nothing of this machine can be sent."""


class Message(msgspec.Struct, frozen=True):
    """What to publish: QoS 0, not retained."""

    topic: str
    payload: bytes


class NodeSession:
    """`machines` are the devices, with their tags. Nothing but `birth` may be called until the node is born.

    `properties`: what the node says of itself once. Values are cut into messages of at most `bytes_max`.
    `by_alias`: only births name metrics; else every value says its name and data type.
    """

    def __init__(
        self,
        names: NodeNames,
        machines: Machines,
        properties: Mapping[str, str],
        bytes_max: int = 128_000,
        *,
        by_alias: bool = True,
    ) -> None:
        self.names = names
        self.is_born = False
        self.birth_bytes_max = MQTT_BYTES_MAX
        """What the broker takes: a birth is never cut."""
        self._bytes_max = bytes_max
        self.merged_total = 0
        """Values left out because the same tag had more than milliseconds have room for."""
        self._properties = properties
        self._by_alias = by_alias
        self._node_values: dict[str, int] = {}
        self._node_aliases: dict[str, int | None] = {}
        self._bdseq = self._seq = 0
        self._devices: dict[MachinePath, Device] = {}
        self.set_machines(machines)

    def set_machines(self, machines: Machines) -> None:
        """Take on other machines or tags; what is born must be born anew."""
        before = self._devices
        self._aliases = itertools.count(DEVICE_ALIAS_FIRST) if self._by_alias else None
        self._devices = {path: Device(path, tags, self._aliases) for path, tags in machines.items()}
        for path, device in self._devices.items():
            if path in before:
                device.keep_latest(before[path])
        self.is_born = False

    def connect(self, bdseq: int) -> None:
        """An MQTT session begins, whose will is the NDEATH with `bdseq`."""
        self._bdseq = bdseq
        self.disconnect()

    def disconnect(self) -> None:
        """The MQTT session is over, and with it every birth."""
        self.is_born = False
        for device in self._devices.values():
            device.is_born = False

    def birth(
        self, present: Iterable[MachinePath], node_values: Mapping[str, int], now_ms: int
    ) -> list[Message]:
        """Return the NBIRTH and a DBIRTH for each machine that is `present` and has said something yet.

        `node_values`: named whole numbers of the node itself, which may change.
        """
        self.disconnect()
        self.is_born, self._seq = True, 0
        self._node_values = dict(node_values)
        metrics = [
            Metric(BDSEQ, None, now_ms, INT64, self._bdseq),
            Metric(REBIRTH, None, now_ms, BOOLEAN, value=False),
        ]
        aliases = itertools.count(NODE_ALIAS_FIRST) if self._by_alias else itertools.repeat(None)
        metrics += [
            Metric(f"Properties/{name}", alias, now_ms, STRING, text)
            for (name, text), alias in zip(self._properties.items(), aliases, strict=False)
        ]
        self._node_aliases = dict(zip(node_values, aliases, strict=False))
        metrics += [
            Metric(name, self._node_aliases[name], now_ms, INT64, value)
            for name, value in node_values.items()
        ]
        messages = [self._make("NBIRTH", metrics, now_ms)]
        for path in present:
            device = self._devices.get(path)
            if device is not None and device.latest:
                try:
                    messages.append(self._bear(device, now_ms))
                except BirthTooLarge:
                    continue  # said when its values come
        return messages

    def update_node(self, node_values: Mapping[str, int], now_ms: int) -> list[Message]:
        """Return an NDATA with the node's values that changed, none when none did."""
        changed = {
            name: value
            for name, value in node_values.items()
            if name in self._node_aliases and value != self._node_values.get(name)
        }
        if not changed:
            return []
        self._node_values.update(changed)
        metrics = [
            Metric(None, self._node_aliases[name], now_ms, None, value)
            if self._by_alias
            else Metric(name, None, now_ms, INT64, value)
            for name, value in changed.items()
        ]
        return [self._make("NDATA", metrics, now_ms)]

    def observe(self, machine: MachinePath, frames: list[Frame]) -> None:
        """Remember current values that are not sent now: the next birth says them."""
        device = self._find(machine)
        device.learn(frames)
        device.observe(device.split_late(frames)[1])

    def publish(self, machine: MachinePath, frames: list[Frame], now_ms: int) -> list[Message]:
        """Return the messages for current values: a DBIRTH first where the machine has none yet.

        What is older than what is known already goes out as history. Raises `BirthTooLarge`.
        """
        device = self._find(machine)
        device.learn(frames)
        late, current = device.split_late(frames)
        messages, rest = [], current
        if not device.is_born:
            rest = device.observe_first(current)
            messages.append(self._bear(device, now_ms))
        device.observe(current)
        messages += self._make_rows(device, late, now_ms, is_historical=True)
        return messages + self._make_rows(device, rest, now_ms, is_historical=False)

    def publish_backlog(
        self, machine: MachinePath, frames: list[Frame], now_ms: int, *, is_present: bool
    ) -> list[Message]:
        """Return the messages for values from before; a machine that is not there dies again behind them.

        Raises `BirthTooLarge`.
        """
        device = self._find(machine)
        device.learn(frames)
        messages = [] if device.is_born else [self._bear(device, now_ms)]
        messages += self._make_rows(device, frames, now_ms, is_historical=True)
        return messages if is_present else messages + self.bury(machine, now_ms)

    def bury(self, machine: MachinePath, now_ms: int) -> list[Message]:
        """Return the DDEATH of a machine that is not there any more, none where it was not born."""
        device = self._devices.get(machine)
        if device is None:
            return []
        was_born = device.is_born
        device.forget()
        return [self._make("DDEATH", [], now_ms, machine)] if was_born else []

    def make_death(self, now_ms: int) -> Message:
        """Return the NDEATH that goes with the births of this MQTT session."""
        return make_death(self.names, self._bdseq, now_ms)

    def is_device_born(self, machine: MachinePath) -> bool:
        """Return whether a DBIRTH stands for the machine."""
        device = self._devices.get(machine)
        return device is not None and device.is_born

    def _find(self, machine: MachinePath) -> Device:
        if machine not in self._devices:
            self._devices[machine] = Device(machine, [], self._aliases)
        return self._devices[machine]

    def _bear(self, device: Device, now_ms: int) -> Message:
        metrics = device.list_metrics(now_ms)
        size = len(encode_payload(Payload(now_ms, metrics)))
        if size + ENVELOPE_BYTES_MAX > self.birth_bytes_max:
            raise BirthTooLarge(
                f"the DBIRTH of {device.machine} has {size} bytes for {len(metrics)} tags, and the broker "
                f"takes {self.birth_bytes_max}"
            )
        device.is_born = True
        return self._make("DBIRTH", metrics, now_ms, device.machine)

    def _make_rows(
        self, device: Device, frames: list[Frame], now_ms: int, *, is_historical: bool
    ) -> list[Message]:
        rows = encode_rows(
            frames,
            device.keys,
            is_historical=is_historical,
            bytes_max=min(self._bytes_max, self.birth_bytes_max) - ENVELOPE_BYTES_MAX,
        )
        self.merged_total += rows.merged
        topic = self.names.topic("DDATA", self.names.device_id(device.machine))
        return [Message(topic, wrap_metrics(part, now_ms, self._take_seq())) for part in rows.parts]

    def _make(
        self, kind: MessageType, metrics: list[Metric], now_ms: int, machine: MachinePath | None = None
    ) -> Message:
        device = "" if machine is None else self.names.device_id(machine)
        payload = Payload(now_ms, metrics, self._take_seq())
        return Message(self.names.topic(kind, device), encode_payload(payload))

    def _take_seq(self) -> int:
        seq, self._seq = self._seq, (self._seq + 1) % SEQ_NUMBERS
        return seq


def make_death(names: NodeNames, bdseq: int, now_ms: int | None) -> Message:
    """Return the NDEATH with `bdseq`; it alone has no sequence number.

    As a will it says no time (None): nobody knows yet when it will be published.
    """
    metric = Metric(BDSEQ, None, now_ms, INT64, bdseq)
    return Message(names.topic("NDEATH"), encode_payload(Payload(now_ms, [metric])))
