"""The real edge agent in a process of its own, on machines that speak as fast as the outbox takes it.

`python -m tests.bench.flooding_edge PORT FOLDER MACHINES TAGS ROWS FLUSH_S [INTERVAL_S]`; without INTERVAL_S
each line `SECONDS` on its input makes machines speak for so long, and one JSON object is printed when the
cloud has receipted everything. With it each machine speaks once an interval, until the program is ended.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.agent import Agent
from edge.outbox.thread import OutboxThread
from edge.polling.flusher import Flusher
from edge.polling.poller import MachineSource
from edge.publishing.carrier import Carrier
from edge.publishing.publisher import Publisher
from edge.publishing.releasing import Releasing
from edge.publishing.sending import Sending
from edge.settings import EdgeSettings
from edge.vitals.health import Health
from edge.vitals.status import StatusReporter
from forewarn.logs import set_up_logs
from models.link import Link, LinkMessage, LinkState
from models.telemetry import Frame, MachinePath, SequenceRanges

GATEWAY = "pi-01"
ROW_NS = 10_000_000
WAITING_BATCHES_MAX = 1_000
PULSE_S = 0.002
PACKET_BYTES = 7  # type, length, topic length, message id, no properties


class Load(msgspec.Struct, frozen=True):
    """What the machines say: at each word `tags` columns of `rows` rows each."""

    machines: int
    tags: int
    rows: int

    def paths(self) -> list[MachinePath]:
        """Return the machines."""
        return [MachinePath("riverside", "hall-1", "water", f"pump-{at}") for at in range(self.machines)]

    def make_words(self, seed: int) -> list[dict[str, list[float | None]]]:
        """Return what a machine says in turn: a walk with three decimals, as sensors have."""
        source = random.Random(seed)
        level = [source.uniform(10, 90) for _ in range(self.tags)]
        words = []
        for _ in range(7):
            columns: dict[str, list[float | None]] = {}
            for tag in range(self.tags):
                columns[f"bearing_temperature_{tag}"] = column = []
                for _ in range(self.rows):
                    level[tag] += source.gauss(0, 0.05)
                    column.append(round(level[tag], 3))
            words.append(columns)
        return words


class Tap:
    """Lets every machine speak once, again and again, while the outbox has room and the tap is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.pulse = asyncio.Event()

    async def run(self, has_room: Callable[[], bool]) -> None:
        """Pulse for ever."""
        while True:
            await asyncio.sleep(PULSE_S)
            if self.is_open and has_room():
                self.pulse.set()
                self.pulse = asyncio.Event()


class LoudMachine:
    """A driver without a machine: it speaks at each pulse of the tap, or once an interval."""

    def __init__(self, load: Load, number: int, tap: Tap, interval_s: float | None) -> None:
        self.interval_s = interval_s
        self._rows = load.rows
        self._words = load.make_words(number)
        self._tap = tap
        self._delay_s = 0.0 if interval_s is None else interval_s * number / load.machines
        self._said = 0
        self._next_ns = time.time_ns() - 86_400 * 10**9

    async def connect(self) -> None:
        """Spread the machines over the interval, as a plant's are."""
        await asyncio.sleep(self._delay_s)

    async def read(self) -> list[Frame]:
        """Return the next word."""
        if self.interval_s is None:
            await self._tap.pulse.wait()
            first_ns, self._next_ns = self._next_ns, self._next_ns + self._rows * ROW_NS
        else:
            first_ns = time.time_ns()
        times = [first_ns + row * ROW_NS for row in range(self._rows)]
        self._said += 1
        return [Frame(times, self._words[self._said % len(self._words)])]

    async def close(self) -> None:
        """Nothing to close."""


class FloodingAgent(Agent):
    """The agent, with a view of its outbox and a count of what goes to the broker."""

    outbox: OutboxThread
    sending: Sending
    releasing: Releasing
    wire_bytes = 0

    async def _open_outbox(self) -> OutboxThread:
        self.outbox = await super()._open_outbox()
        return self.outbox

    def _make_reporters(
        self, outbox: OutboxThread, publisher: Carrier, flusher: Flusher
    ) -> tuple[StatusReporter, Health]:
        assert isinstance(publisher, Publisher)
        self.sending, self.releasing = publisher._sending, publisher._releasing
        make_link = publisher._make_link

        def make_counting_link(
            on_message: Callable[[LinkMessage], None],
            on_state: Callable[[LinkState], None],
            on_delivered: Callable[[int, int], None],
        ) -> Link:
            return self._count_sends(make_link(on_message, on_state, on_delivered))

        publisher._make_link = make_counting_link
        return super()._make_reporters(outbox, publisher, flusher)

    def _count_sends(self, link: Link) -> Link:
        publish = link.publish

        def count(topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> int:
            self.wire_bytes += len(topic) + len(payload) + PACKET_BYTES
            return publish(topic, payload, retain=retain, qos=qos)

        link.publish = count  # type: ignore[method-assign]  # counted on its way
        return link

    def has_room(self) -> bool:
        """Return whether the machines may speak again."""
        if self._collector.values_pending:
            return False
        receipted = self.releasing._ranges.total  # they leave the outbox some seconds later, many at once
        return self.outbox._outbox._waiting.total - receipted < WAITING_BATCHES_MAX

    async def wait_receipted(self) -> int:
        """Return the values produced so far, once the cloud has said that it has them all."""
        while self._collector.values_pending:
            await asyncio.sleep(PULSE_S)
        while True:
            totals = await self.outbox.totals()
            if not SequenceRanges(totals.waiting).minus(self.releasing._ranges).total:
                return totals.values_total
            await asyncio.sleep(PULSE_S)


async def serve_floods(agent: FloodingAgent, tap: Tap, stop: asyncio.Event) -> None:
    """Flood at each line of the input; end with it."""
    loop = asyncio.get_running_loop()
    while not hasattr(agent, "outbox"):
        await asyncio.sleep(PULSE_S)
    pulsing = asyncio.create_task(tap.run(agent.has_room))
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        before, wire_before = await agent.wait_receipted(), agent.wire_bytes
        resent_before, began_s = agent.sending.resent_total, time.monotonic()
        tap.is_open = True
        await asyncio.sleep(float(line))
        tap.is_open = False
        await asyncio.sleep(2 * PULSE_S)  # the last machines have spoken by then
        values = await agent.wait_receipted() - before
        found = {"values": values, "wire_bytes": agent.wire_bytes - wire_before}
        found["resent"] = agent.sending.resent_total - resent_before
        print(json.dumps(found | {"wall_s": time.monotonic() - began_s}), flush=True)
    pulsing.cancel()
    stop.set()


async def run(port: int, folder: Path, load: Load, flush_s: float, interval_s: float | None) -> None:
    """Run the agent."""
    tap = Tap()
    sources = [
        MachineSource(path, LoudMachine(load, number, tap, interval_s))
        for number, path in enumerate(load.paths())
    ]
    agent, stop = FloodingAgent(make_settings(port, folder, flush_s), sources), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    running = asyncio.create_task(agent.run(stop))
    if interval_s is None:
        await serve_floods(agent, tap, stop)
    await running


def make_settings(port: int, folder: Path, flush_s: float) -> EdgeSettings:
    """Return default settings but for broker and outbox; their machine gives way to the sources."""
    tag = {"name": "t", "table": "holding", "address": 0, "type": "int16"}
    return EdgeSettings.model_validate(
        {
            "gateway": GATEWAY,
            "broker": {"port": port},
            "outbox": {"path": str(folder / "outbox.sqlite"), "flush_s": flush_s},
            "machines": [{"kind": "modbus", "path": "s/a/l/m", "host": "127.0.0.1", "tags": [tag]}],
        }
    )


if __name__ == "__main__":
    set_up_logs("text")
    port, machines, tags, rows = (int(sys.argv[at]) for at in (1, 3, 4, 5))
    interval_s = float(sys.argv[7]) if len(sys.argv) > 7 else None
    asyncio.run(run(port, Path(sys.argv[2]), Load(machines, tags, rows), float(sys.argv[6]), interval_s))
