"""An edge agent with made-up machines, and a stand-in for the cloud, around a real broker."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge.agent import Agent
from edge.drivers import NotConnected
from edge.outbox.outbox import Outbox, OutboxTotals
from edge.polling.poller import MachineSource
from edge.settings import EdgeSettings
from models.link import BrokerSettings, Link, LinkMessage
from models.telemetry import (
    Batch,
    Frame,
    MachinePath,
    Receipt,
    Status,
    Topics,
    decode_batch,
    decode_status,
    encode_receipt,
)

TOPICS = Topics()
PATH = MachinePath.parse("riverside/hall-1/water/pump-7")


class CountingDriver:
    """A machine whose only tag counts its polls: a lost or invented value shows."""

    def __init__(self, interval_s: float | None = 0.02) -> None:
        self.interval_s = interval_s
        self.count = 0

    async def connect(self) -> None:
        """Nothing to open."""

    async def read(self) -> list[Frame]:
        """Return the next number."""
        self.count += 1
        return [Frame([time.time_ns()], {"count": [float(self.count)]})]

    async def close(self) -> None:
        """Nothing to close."""


class DeadDriver(CountingDriver):
    """A machine that takes long to say that it is not there."""

    async def connect(self) -> None:
        """Never come about."""
        await asyncio.sleep(0.3)
        raise NotConnected("127.0.0.1:502 refused the connection: is the machine switched on?")


class BrokenDriver(CountingDriver):
    """A driver with a bug."""

    async def read(self) -> list[Frame]:
        """Fail in a way that nobody foresaw."""
        self.count += 1
        return [Frame([self.count // 0], {})]


def make_settings(folder: Path, broker: BrokerSettings, **more: object) -> EdgeSettings:
    """Return settings of a gateway that flushes ten times a second; its machine is replaced by drivers."""
    return EdgeSettings.model_validate(
        {
            "gateway": "pi-01",
            "broker": broker,
            "outbox": {"path": folder / "outbox.sqlite", "flush_s": 0.1},
            "health": {"port": None},
            "machines": [
                {
                    "kind": "modbus",
                    "path": str(PATH),
                    "host": "127.0.0.1",
                    "tags": [{"name": "count", "table": "holding", "address": 0, "type": "uint16"}],
                }
            ],
            **more,
        }
    )


class StandInCloud:
    """Subscribes to batches, keeps their values, and says so in a receipt unless told to be silent."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.gives_receipts = True
        self.batches: list[Batch] = []
        self.statuses: list[Status] = []
        self._link = Link(
            broker,
            "stand-in-cloud",
            on_message=self._take,
            subscriptions=[TOPICS.all_batches(), TOPICS.all_statuses()],
        )

    def start(self) -> None:
        """Begin to listen."""
        self._link.start()

    def stop(self) -> None:
        """Leave."""
        self._link.stop()

    def is_connected(self) -> bool:
        """Return whether the broker has us."""
        return self._link.is_connected()

    def say(self, payload: bytes) -> None:
        """Publish something where the gateway listens for receipts."""
        self._link.publish(TOPICS.receipt("pi-01"), payload)

    @property
    def counts(self) -> list[float]:
        """Every number that arrived, in order of arrival."""
        return [
            value
            for batch in list(self.batches)
            for frame in batch.frames
            for value in frame.values.get("count", [])
            if value is not None
        ]

    @property
    def sequences(self) -> list[int]:
        """Every sequence that arrived, in order of arrival."""
        return [batch.sequence for batch in list(self.batches)]

    def _take(self, message: LinkMessage) -> None:
        self._link.acknowledge(message)
        if message.topic.endswith("/status"):
            self.statuses.append(decode_status(message.payload))
            return
        batch = decode_batch(message.payload)
        self.batches.append(batch)
        if self.gives_receipts:
            receipt = Receipt(1, batch.epoch, [(batch.sequence, batch.sequence)])
            self._link.publish(TOPICS.receipt(batch.gateway), encode_receipt(receipt))


@asynccontextmanager
async def running(settings: EdgeSettings, *drivers: CountingDriver) -> AsyncIterator[Agent]:
    """Run an agent whose machines are `drivers`; end it in order."""
    sources = [
        MachineSource(MachinePath("riverside", "hall-1", "water", f"pump-{number}"), driver)
        for number, driver in enumerate(drivers, 1)
    ]
    agent = Agent(settings, sources)
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Return once `condition` holds; fail, saying `what`, when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.02)


def look_beside(settings: EdgeSettings) -> list[tuple[int, int]]:
    """Return (sequence, values) of what waits in the outbox of a running agent."""
    beside = sqlite3.connect(f"{settings.outbox.path.as_uri()}?mode=ro", uri=True)
    try:
        rows = beside.execute("SELECT sequence, value_count FROM batches ORDER BY sequence").fetchall()
    finally:
        beside.close()
    return [(int(sequence), int(count)) for sequence, count in rows]


def look_into(settings: EdgeSettings) -> OutboxTotals:
    """Return what lies in the outbox of an agent that has ended."""
    outbox = Outbox(settings.outbox.path, settings.gateway, settings.outbox.bytes_max)
    outbox.open()
    try:
        return outbox.totals()
    finally:
        outbox.close()
