"""The edge node: what it does about values, hosts, commands and machines. Decides; a `Wire` carries it out.

Times come in: monotonic seconds as `now`; what messages say is the clock's, by `read_ms`.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from edge.outbox.outbox import StoredBatch
from edge.polling.machine_states import MachineStates
from edge.sparkplug.decoding import PayloadRejected, decode_payload
from edge.sparkplug.forwarding import Forwarding
from edge.sparkplug.hold import BatchUnreadable, read_frames
from edge.sparkplug.host import PrimaryHost
from edge.sparkplug.names import REBIRTH
from edge.sparkplug.news import HOST_GRACE_S, SparkplugNews
from edge.sparkplug.session import BirthTooLarge, Machines, Message, NodeSession
from models.telemetry import Frame, MachinePath

REBIRTH_PAUSE_S = 2.0
"""Hosts that ask in swarms get one birth per so long; no value goes out between the asking and the birth."""
NODE_VALUES_S = 10.0
DEATH_DELAY_MS = 1_500
"""What was read before a machine was lost is mostly flushed by then; the rest goes out as history."""

log = structlog.get_logger()


class Wire(Protocol):
    """The way to the broker, while it stands."""

    def publish(self, messages: list[Message]) -> bool:
        """Hand messages over, QoS 0, not retained; return whether all were taken."""

    def ask(self) -> int | None:
        """Ask the broker whether it has read all that was published; return the id its answer will have."""


class EdgeNode:
    """One edge node of one broker. `host`: the one without which nothing is sent."""

    def __init__(
        self,
        session: NodeSession,
        forwarding: Forwarding,
        states: MachineStates,
        news: SparkplugNews,
        host: PrimaryHost | None = None,
        read_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.session = session
        self.forwarding = forwarding
        self.news = news
        self.host = host
        self.births_total = 0
        self.commands_rejected_total = 0
        self._states = states
        self._read_ms = read_ms
        self._wire: Wire | None = None
        self._bdseq = 0
        self._connected_at = self._born_at = self._node_said_at = float("-inf")
        self._rebirth_at: float | None = None
        self._present: frozenset[MachinePath] = frozenset()
        self._present_version = -1

    @property
    def is_live(self) -> bool:
        """Whether values may go out now."""
        return self.session.is_born and self._rebirth_at is None

    # -- what happens outside ---------------------------------------------------------------------------

    def connect(self, wire: Wire, bdseq: int, now: float) -> None:
        """An MQTT session stands, whose will has `bdseq`: be born, or wait for the primary host."""
        self.lose()
        self._wire, self._bdseq, self._connected_at = wire, bdseq, now
        self.session.connect(bdseq)
        if self.host is None:
            self._birth(now)
        else:
            self.host.connect()

    def lose(self) -> None:
        """The session is over, wherever it broke."""
        self.session.disconnect()
        self.forwarding.lose()
        self._wire = self._rebirth_at = None

    def say_goodbye(self) -> None:
        """End the session oneself: the NDEATH goes out now."""
        if self.session.is_born:
            self._send([self.session.make_death(self._read_ms())])
        self.lose()

    def take_host(self, payload: bytes, now: float) -> bool:
        """Take a STATE message; return whether the connection must be made anew: the host has left."""
        if self.host is None or not self.host.take(payload):
            return False
        if self.host.state == "online":
            if self._wire is not None and not self.session.is_born:
                self._birth(now)
            return False
        if not self.session.is_born:
            return False
        self.news.tell_host(self.host.host_id, self.host.state, now)
        self.say_goodbye()
        return True

    def take_command(self, payload: bytes, now: float) -> None:
        """Take an NCMD: `Node Control/Rebirth` is the only one there is."""
        try:
            command = decode_payload(payload)
        except PayloadRejected as error:
            self.commands_rejected_total += 1
            log.warning("sparkplug_command_rejected", reason=str(error))
            return
        asked = any(metric.name == REBIRTH and metric.value is True for metric in command.metrics)
        if asked and self.is_live:
            self._rebirth_at = max(now, self._born_at + REBIRTH_PAUSE_S)
            self._birth_when_due(now)

    def take_answer(self, mid: int, now: float) -> None:
        """The broker answered."""
        self.forwarding.answer(mid, now)
        self.ask()

    def take_batch(self, batch: StoredBatch) -> None:
        """Publish current values, or keep them for later."""
        machine, frames = MachinePath.parse(batch.machine), self._read(batch)
        if frames is None:
            return
        is_there = self.session.is_device_born(machine) or machine in self._list_present()
        if self.is_live and self.forwarding.has_room and is_there:
            self._carry(machine, [batch], lambda: self.session.publish(machine, frames, self._read_ms()))
        else:
            self.session.observe(machine, frames)
            self.forwarding.hold(batch.sequence)

    def take_history(self, batches: list[StoredBatch], values_max: float = float("inf")) -> int:
        """Publish what was kept: a batch, and more up to `values_max` values; return how many those are."""
        values = 0
        by_machine: dict[str, list[StoredBatch]] = {}
        frames: dict[str, list[Frame]] = {}
        for batch in batches:
            found = self._read(batch) if self.forwarding.is_waiting(batch.sequence) else None
            if found is not None:
                by_machine.setdefault(batch.machine, []).append(batch)
                frames.setdefault(batch.machine, []).extend(found)
                values += sum(len(frame.timestamps) * len(frame.values) for frame in found)
            if values >= values_max:
                break
        for name, together in by_machine.items():
            if not self.is_live:
                break
            machine = MachinePath.parse(name)
            is_present = machine in self._list_present()
            make = partial(
                self.session.publish_backlog, machine, frames[name], self._read_ms(), is_present=is_present
            )
            self._carry(machine, together, make)
        self.ask()
        return values

    def set_machines(self, machines: Machines, now: float) -> None:
        """Take on other machines or tags: everything is born anew."""
        was_born = self.session.is_born
        self.session.set_machines(machines)
        if was_born:
            self._birth(now)

    def ask(self) -> None:
        """Have the broker say what it has read, unless it is being asked already."""
        if self._wire is not None and self.is_live and self.forwarding.wants_answer():
            mid = self._wire.ask()
            if mid is not None:
                self.forwarding.ask(mid)

    def tick(self, now: float) -> None:
        """See to what is due: births, deaths of machines, the node's own values, what to say."""
        self._birth_when_due(now)
        if self.is_live:
            self._bury_lost()
            if now - self._node_said_at >= NODE_VALUES_S:
                self._node_said_at = now
                self._send(self.session.update_node(self._count_node(), self._read_ms()))
        elif self.host is not None and self._wire is not None and now - self._connected_at > HOST_GRACE_S:
            self.news.tell_host(self.host.host_id, self.host.state, now)

    # -- inside -----------------------------------------------------------------------------------------

    def _birth(self, now: float, *, again: bool = False) -> None:
        self._rebirth_at, self._born_at, self._node_said_at = None, now, now
        if self._send(self.session.birth(self._list_present(), self._count_node(), self._read_ms())):
            self.births_total += 1
            self.news.tell_born(self._bdseq, now, again=again)

    def _birth_when_due(self, now: float) -> None:
        if self._rebirth_at is not None and now >= self._rebirth_at:
            self._birth(now, again=True)

    def _carry(
        self, machine: MachinePath, batches: list[StoredBatch], make: Callable[[], list[Message]]
    ) -> None:
        """Send the messages made of some batches of a machine, and note where the batches are now."""
        try:
            messages = make()
        except BirthTooLarge as error:
            self.news.tell_too_large(str(machine), str(error))
            for batch in batches:
                self.forwarding.set_aside(batch.sequence)
            return
        sent = self._send(messages)
        size = sum(len(message.payload) for message in messages)
        for batch in batches:
            if sent:
                self.forwarding.send(batch.sequence, size // len(batches))
            else:
                self.forwarding.hold(batch.sequence)

    def _read(self, batch: StoredBatch) -> list[Frame] | None:
        try:
            return read_frames(batch)
        except BatchUnreadable as error:
            self.news.tell_unreadable(batch.sequence, str(error))
            self.forwarding.set_aside(batch.sequence)
            return None

    def _send(self, messages: list[Message]) -> bool:
        if self._wire is not None and self._wire.publish(messages):
            return True
        self.lose()
        return False

    def _bury_lost(self) -> None:
        now_ms = self._read_ms()
        for status in self._states.list_all():
            if status.state == "lost" and now_ms - status.since // 1_000_000 >= DEATH_DELAY_MS:
                self._send(self.session.bury(MachinePath.parse(status.machine), now_ms))

    def _list_present(self) -> frozenset[MachinePath]:
        if self._present_version != self._states.version:
            self._present_version = self._states.version
            self._present = frozenset(
                MachinePath.parse(status.machine)
                for status in self._states.list_all()
                if status.state == "connected"
            )
        return self._present

    def _count_node(self) -> dict[str, int]:
        return {
            "Gateway/Machines": len(self._states.list_all()),
            "Gateway/Machines connected": len(self._list_present()),
            "Gateway/Batches waiting": self.forwarding.waiting_total,
        }
