"""The ceiling of each stage between broker and store alone, at 1,000 values a message, in one run."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.ingest.day_counts import DayCounter
from cloud.ingest.inbox import Delivery
from cloud.ingest.series_guard import SeriesGuard
from cloud.ingest.shares import make_shares
from cloud.ingest.sorting import Accepted, sort_deliveries
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedWriter
from cloud.stores.influx_server import InfluxServer as Connection
from cloud.stores.lines import encode_block
from models.link import LinkMessage
from models.telemetry import Batch, Frame, Topics, encode_batch
from tests.bench.broker_ceiling import measure_messages_per_s
from tests.bench.end_to_end_rig import Line, running_line, verify
from tests.bench.flooding_edge import GATEWAY, Load
from tests.integration.influx_front import InfluxServer
from tests.servers import Mosquitto

MESSAGES = 200
ROUNDS = 5
BROKER_MESSAGES = 4_000
LOAD = Load(machines=20, tags=10, rows=100)
WIDE = Load(machines=200, tags=10, rows=100)
EMBEDDED = "{kind: embedded, path: store.sqlite}"
FLUSH_S = 0.02
FLOOD_S = 2.0
FLOODS = 3

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]


def make_deliveries(round_number: int) -> list[Delivery]:
    """Return one write's messages; each round has instants and sequence numbers of its own."""
    topics, deliveries = Topics(), []
    words = [LOAD.make_words(number)[0] for number in range(LOAD.machines)]
    for at in range(MESSAGES):
        sequence = round_number * MESSAGES + at + 1
        machine = at % LOAD.machines
        first = 1_795_337_912_000_000_000 + (sequence // LOAD.machines) * LOAD.rows * 10_000_000
        frame = Frame([first + row * 10_000_000 for row in range(LOAD.rows)], words[machine])
        payload = encode_batch(Batch(GATEWAY, "9f2c", sequence, [frame]))
        topic = topics.batch(GATEWAY, LOAD.paths()[machine])
        deliveries.append(Delivery(LinkMessage(topic, payload, at + 1, 1), 1, 0.0))
    return deliveries


def sort(deliveries: list[Delivery]) -> list[Accepted]:
    """Return the batches as the ingester takes them."""
    return sort_deliveries(deliveries, Topics().parse, lambda _key, _sequence: None).accepted


def merge(accepted: list[Accepted]) -> list[Block]:
    """Return the blocks of one write."""
    return [share.block for share in make_shares(accepted)]


class Stopwatch:
    """Collects how long stages took, by name."""

    def __init__(self) -> None:
        self.least: dict[str, tuple[float, float]] = {}

    def run(self, name: str, values: int, work: Callable[[], object]) -> None:
        """Do `work` once; keep the least wall clock and CPU of all rounds, in microseconds a value."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        took = (time.perf_counter() - wall) / values * 1e6, (time.process_time() - cpu) / values * 1e6
        before = self.least.get(name, took)
        self.least[name] = min(before[0], took[0]), min(before[1], took[1])

    def print(self) -> None:
        """Print each stage with what one of it could carry."""
        for name, (wall, cpu) in self.least.items():
            print(
                f"  {name:44} {1 / wall:6.2f} M values/s  {wall:6.3f} us/value, of which own CPU {cpu:6.3f}"
            )


def test_the_ceiling_of_each_stage(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Prints decode, guard, merge, count, encode, raw POST, raw append and raw broker, each alone."""
    values = MESSAGES * LOAD.tags * LOAD.rows
    watch, guard, counter = Stopwatch(), SeriesGuard(10**6), DayCounter()
    writer = EmbeddedWriter(tmp_path / "store.sqlite")
    server = InfluxServer(tmp_path)
    settings = server.native_settings("ceilings")
    settings.set_up()
    connection = Connection(settings)
    try:
        for number in range(ROUNDS):
            deliveries = make_deliveries(number)
            watch.run("decode and check messages", values, lambda given=deliveries: sort(given))
            accepted = sort(deliveries)
            watch.run("know all series", values, lambda given=accepted: guard.admit(given, 0.0))
            watch.run("merge by machine", values, lambda given=accepted: merge(given))
            blocks = merge(sort(deliveries))
            watch.run("count by machine and day", values, lambda given=blocks: counter.count(given))
            watch.run(
                "encode line protocol", values, lambda given=blocks: [encode_block(one) for one in given]
            )
            lines = b"".join([encode_block(one) for one in blocks])
            watch.run("raw POST into InfluxDB 1.6", values, lambda given=lines: connection.post(given))
            watch.run("embedded store, synced", values, lambda given=blocks: writer.write(given))
            watch.run("embedded store's upkeep", values, lambda: tidy(writer))
    finally:
        connection.close()
        writer.close()
        server.close()
    print(f"\n{MESSAGES} messages of 1,000 values a write, best of {ROUNDS}:")
    watch.print()
    payload = make_deliveries(0)[0].message.payload
    rate = measure_messages_per_s(mosquitto.port, payload, BROKER_MESSAGES)
    print(f"  {'raw broker, QoS 1, ' + str(len(payload)) + ' bytes':44} {rate * 1_000 / 1e6:7.2f} M values/s")
    print_end_to_end(mosquitto, tmp_path, 1 / watch.least["raw POST into InfluxDB 1.6"][0])


def print_end_to_end(mosquitto: Mosquitto, folder: Path, raw_post: float) -> None:
    """Print what the whole way carries beside its ceilings; `raw_post` in M values/s."""
    server = InfluxServer(folder)
    try:
        settings = server.native_settings("end-to-end")
        settings.set_up()
        place = f"{{kind: influxdb, url: '{settings.address}', org: plant, bucket: end-to-end}}"
        for name, store in (("InfluxDB 1.6", place), ("the embedded store", EMBEDDED)):
            line = Line(make_folder(folder, name), mosquitto, store)
            with running_line(line, WIDE, FLUSH_S):
                line.flood(1.0)
                floods = [line.flood(FLOOD_S) for _ in range(FLOODS)]
            assert verify(line.folder)["values_missing"] == 0
            rate = statistics.median(one.rate for one in floods) / 1e6
            of_ceiling = f", {100 * rate / raw_post:.0f} % of the raw POST" if store is place else ""
            words, cost = f"end to end into {name}", floods[0].cost_us("ingester")
            print(f"  {words:44} {rate:7.2f} M values/s, ingester {cost:.3f} us/value{of_ceiling}")
    finally:
        server.close()
    print("  floors: 0.5 M values/s into InfluxDB, 0.8 M into the embedded store, on two free cores")


def make_folder(folder: Path, name: str) -> Path:
    """Return a new folder."""
    made = folder / name.replace(" ", "-")
    made.mkdir()
    return made


def tidy(writer: EmbeddedWriter) -> None:
    """Merge what is due."""
    while writer.tidy(0):
        pass
