"""Two programs for the ingest benchmark: a gateway that floods, and an ingester that measures itself.

`python -m tests.bench.ingest_flood publish PORT BATCHES TAGS ROWS RATE` (RATE 0: as fast as receipts allow)
`python -m tests.bench.ingest_flood ingest PORT FOLDER null|embedded VALUES`
Each prints one JSON object at its end.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from cloud.gateways import Gateways
from cloud.ingest.dead_letters import DeadLetters
from cloud.ingest.ingester import Ingester
from cloud.ingest.intake import IngestSettings, Intake
from cloud.ingest.ledger import Ledger
from cloud.metrics import CloudMetrics
from cloud.records import open_records
from cloud.stores import Block, Rejection
from cloud.stores.embedded import EmbeddedWriter
from models.link import BrokerSettings, Link, LinkMessage
from models.telemetry import Batch, Frame, MachinePath, Topics, decode_receipt, encode_batch

MACHINES = 10
WINDOW = 400
START_NS = 1_795_337_912_000_000_000


class NullStore:
    """Takes everything and keeps nothing: the ceiling of any store."""

    def write(self, _blocks: Sequence[Block]) -> list[Rejection]:
        """Take the blocks."""
        return []

    def close(self) -> None:
        """Nothing to close."""


def make_payloads(batches: int, tags: int, rows: int) -> list[tuple[str, bytes]]:
    """Return topics and payloads of `tags` x `rows` values each, with decimals as machines send them."""
    topics = Topics()
    payloads = []
    for number in range(batches):
        machine = MachinePath("riverside", "hall-1", "water", f"pump-{number % MACHINES}")
        first = START_NS + (number // MACHINES) * rows * 100_000_000
        times = [first + row * 100_000_000 for row in range(rows)]
        values = {
            f"tag_{tag}": [
                round(20 + tag + 0.001 * ((number * rows + row) * 7919 % 1000), 3) for row in range(rows)
            ]
            for tag in range(tags)
        }
        batch = Batch("pi-01", "9f2c", number + 1, [Frame(times, values)])
        payloads.append((topics.batch("pi-01", machine), encode_batch(batch)))
    return payloads


def publish(port: int, batches: int, tags: int, rows: int, rate: float) -> dict[str, float]:
    """Publish batches, at most WINDOW without a receipt; return seconds from publish to receipt."""
    payloads = make_payloads(batches, tags, rows)
    sent_s = [0.0] * (batches + 1)
    waits_s: list[float] = []
    room = threading.Semaphore(WINDOW)
    heard = threading.Event()

    def take_receipt(message: LinkMessage) -> None:
        now = time.monotonic()
        for first, last in decode_receipt(message.payload).stored:
            for number in range(first, last + 1):
                if number > 1:  # the first one only finds out that everybody is there
                    waits_s.append(now - sent_s[number])
                    room.release()
        heard.set()
        link.acknowledge(message)

    link = Link(
        BrokerSettings(port=port), "flood", on_message=take_receipt, subscriptions=[Topics().receipt("pi-01")]
    )
    link.start()
    while not heard.wait(0.1):
        if link.is_connected():
            link.publish(*payloads[0])
    began = time.monotonic()
    for number, (topic, payload) in enumerate(payloads[1:], 2):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        room.acquire()
        sent_s[number] = time.monotonic()
        link.publish(topic, payload)
    while len(waits_s) < batches - 1:
        time.sleep(0.01)
    wall_s = time.monotonic() - began
    link.stop()
    waits_s.sort()
    return {
        "wall_s": wall_s,
        "p50_s": waits_s[len(waits_s) // 2],
        "p99_s": waits_s[int(len(waits_s) * 0.99)],
        "payload_bytes": sum(len(payload) for _, payload in payloads) / batches,
    }


def ingest(port: int, folder: Path, kind: str, values: int) -> dict[str, float]:
    """Run an ingester until `values` are stored; return its CPU seconds while they flowed."""
    engine = open_records(f"sqlite:///{folder}/records-{time.time_ns()}.sqlite")
    metrics = CloudMetrics()
    stop = threading.Event()
    began: list[float] = []
    writer = NullStore() if kind == "null" else EmbeddedWriter(folder / f"store-{time.time_ns()}.sqlite")
    ledger = Ledger(engine)

    def note(_blocks: Sequence[Block]) -> None:
        if not began:
            began.extend((time.process_time(), time.monotonic()))
        if metrics.values_stored._value.get() >= values:
            stop.set()

    intake = Intake(
        IngestSettings(session_expiry_s=0),
        BrokerSettings(port=port),
        f"bench-{time.time_ns()}",
        Topics(),
        metrics,
    )
    Ingester(
        intake=intake,
        writer=writer,
        ledger=ledger,
        dead_letters=DeadLetters(engine),
        gateways=Gateways(engine),
        metrics=metrics,
        sinks=[note],
    ).run(stop)
    writer.close()
    return {"cpu_s": time.process_time() - began[0], "wall_s": time.monotonic() - began[1]}


if __name__ == "__main__":
    which, arguments = sys.argv[1], sys.argv[2:]
    if which == "publish":
        port, batches, tags, rows = map(int, arguments[:4])
        print(json.dumps(publish(port, batches, tags, rows, float(arguments[4]))))
    else:
        print(json.dumps(ingest(int(arguments[0]), Path(arguments[1]), arguments[2], int(arguments[3]))))
