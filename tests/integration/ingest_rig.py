"""A gateway, a store and an ingester for tests of the way from the broker to the store."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from cloud.gateways import Gateways
from cloud.ingest.dead_letters import DeadLetters
from cloud.ingest.ingester import Ingester, Sink
from cloud.ingest.intake import IngestSettings, Intake
from cloud.ingest.ledger import Ledger
from cloud.metrics import CloudMetrics
from cloud.records import open_records
from cloud.stores import Block, Rejection, StoreUnavailable
from models.link import BrokerSettings, Link, LinkMessage, LinkState
from models.telemetry import (
    Batch,
    Frame,
    MachinePath,
    SequenceRanges,
    Status,
    Topics,
    decode_receipt,
    encode_batch,
    encode_status,
)
from tests.servers import wait_until

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
EPOCH = "9f2c"
START_NS = 1_795_337_912_000_000_000


class MemoryStore:
    """A store in memory that can be away, and rejects any block holding the tag `poison`."""

    def __init__(self) -> None:
        self.values: dict[tuple[MachinePath, str, int], float | None] = {}
        self.values_written = 0
        self.away = threading.Event()
        self.refusals = 0

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Keep the blocks, or raise while away."""
        if self.away.is_set():
            self.refusals += 1
            raise StoreUnavailable("the disk of the test is full")
        rejections = []
        for index, block in enumerate(blocks):
            if any("poison" in frame.values for frame in block.frames):
                rejections.append(Rejection(index, "a tag that the store cannot take"))
                continue
            for frame in block.frames:
                for tag, column in frame.values.items():
                    for instant, value in zip(frame.timestamps, column, strict=True):
                        self.values[block.machine, tag, instant] = value
                        self.values_written += 1
        return rejections

    def close(self) -> None:
        """Nothing to let go of."""


class Gateway:
    """A gateway that publishes batches and remembers the receipts it got."""

    def __init__(self, broker: BrokerSettings, name: str = "pi-01", namespace: str = "forewarn") -> None:
        self.name = name
        self.topics = Topics(namespace)
        self.stored = SequenceRanges()
        self.dead_lettered = SequenceRanges()
        self.receipts = 0
        self.delivered: dict[int, int] = {}
        self._ready = threading.Event()
        self.link = Link(
            broker,
            f"gateway-{name}",
            on_message=self._take_receipt,
            on_state=self._note_state,
            on_delivered=self.delivered.__setitem__,
            subscriptions=[self.topics.receipt(name)],
        )
        self.link.start()
        wait_until(self.link.is_connected, "the gateway is connected")

    def _note_state(self, state: LinkState) -> None:
        if state.connected:
            self._ready.set()

    def _take_receipt(self, message: LinkMessage) -> None:
        receipt = decode_receipt(message.payload)
        self.stored.update(receipt.stored)
        self.dead_lettered.update(receipt.dead_lettered)
        self.receipts += 1
        self.link.acknowledge(message)

    def send(self, sequence: int, **columns: list[float | None]) -> None:
        """Publish one batch of the pump: rows of one second each, different for each sequence."""
        self.publish(encode_batch(make_batch(sequence, gateway=self.name, **columns)))

    def publish(self, payload: bytes, machine: str = str(PUMP)) -> None:
        """Publish any bytes where a batch is expected."""
        self.link.publish(self.topics.batch(self.name, MachinePath.parse(machine)), payload)

    def say_status(self, **facts: object) -> None:
        """Publish a status."""
        defaults = {
            "v": 1,
            "gateway": self.name,
            "state": "online",
            "timestamp": time.time_ns(),
            "epoch": EPOCH,
        }
        status = Status(**(defaults | facts))  # type: ignore[arg-type]  # facts are the fields of Status
        self.link.publish(self.topics.status(self.name), encode_status(status), retain=True)

    def wait_stored(self, sequences: int) -> None:
        """Wait until a receipt came for that many batches."""
        wait_until(lambda: self.stored.total >= sequences, f"{sequences} batches receipted", 30)


def make_batch(
    sequence: int, *, gateway: str = "pi-01", epoch: str = EPOCH, **columns: list[float | None]
) -> Batch:
    """Return a batch whose instants belong to its sequence alone."""
    columns = columns or {"bearing_temperature": [60.0 + sequence, None]}
    rows = len(next(iter(columns.values())))
    first = START_NS + sequence * 1_000_000_000
    times = [first + row * 1_000_000 for row in range(rows)]
    return Batch(gateway, epoch, sequence, [Frame(times, columns)])


class CloudRig:
    """An ingester in a thread over a memory store and records in a folder."""

    def __init__(
        self,
        broker: BrokerSettings,
        folder: Path,
        store: MemoryStore,
        sinks: Sequence[Sink] = (),
        **settings: object,
    ) -> None:
        self.store = store
        self.engine: Engine = open_records(f"sqlite:///{folder}/records.sqlite")
        self.dead_letters = DeadLetters(self.engine)
        self.metrics = CloudMetrics()
        self.ledger = Ledger(self.engine)
        intake = Intake(
            IngestSettings.model_validate(settings), broker, "forewarn-cloud-test", Topics(), self.metrics
        )
        self.ingester = Ingester(
            intake=intake,
            writer=store,
            ledger=self.ledger,
            dead_letters=self.dead_letters,
            gateways=Gateways(self.engine),
            metrics=self.metrics,
            sinks=sinks,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.ingester.run, args=(self._stop,))
        self._thread.start()
        wait_until(lambda: self.counts("broker_connected") == 1, "the ingester is connected")

    def counts(self, name: str) -> float:
        """Return one metric's value."""
        for line in self.metrics.render().decode().splitlines():
            if line.startswith(f"forewarn_{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def stop(self) -> None:
        """End the ingester's thread."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.engine.dispose()
