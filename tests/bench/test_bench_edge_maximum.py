"""How much OPC UA one gateway carries at most: the whole edge program, outbox synced, server to broker."""

import os
import time
from pathlib import Path

import pytest

from models.link import BrokerSettings, Link, LinkMessage
from models.telemetry import Receipt, Topics, decode_batch, encode_receipt
from tests.bench.peers.gateways import Forewarn, opcua_machine
from tests.bench.peers.machines import OpcuaMachine
from tests.bench.peers.meter import measure, read_cpu_s
from tests.servers import Mosquitto, wait_until

NODES = 1_000
SESSIONS = 4
"""While the server answers one, the edge decodes another."""
INTERVAL_S = 0.01
FLUSH_S = 0.1
WARM_UP_S = 5.0
ROUNDS = 3
ROUND_S = 8.0
FLOOR_VALUES_PER_S = 50_000
TOPICS = Topics()

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]


class CountingCloud:
    """Counts the values of each batch, and gives its receipt."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.values = 0
        self.sequences: set[int] = set()
        self._link = Link(
            broker, "counting-cloud", on_message=self._take, subscriptions=[TOPICS.all_batches()]
        )
        self._link.start()
        wait_until(self._link.is_connected, "the cloud is connected")

    def _take(self, message: LinkMessage) -> None:
        self._link.acknowledge(message)
        batch = decode_batch(message.payload)
        if batch.sequence not in self.sequences:
            self.sequences.add(batch.sequence)
            self.values += sum(len(frame.timestamps) * len(frame.values) for frame in batch.frames)
        receipt = Receipt(1, batch.epoch, [(batch.sequence, batch.sequence)])
        self._link.publish(TOPICS.receipt(batch.gateway), encode_receipt(receipt))

    def stop(self) -> None:
        """Leave."""
        self._link.stop()


def test_one_gateway_and_one_server(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Polls as fast as the server answers: prints values/s, and which of the two has no time left."""
    machine = OpcuaMachine(tmp_path, NODES, "each")
    machine.start()
    cloud = CountingCloud(mosquitto.settings)
    entries = [opcua_machine(machine.url, NODES)] * SESSIONS
    gateway = Forewarn("edge", tmp_path, mosquitto.port, *entries, flush_s=FLUSH_S, interval_s=INTERVAL_S)
    try:
        gateway.start()
        wait_until(lambda: cloud.values > 0, "values arrive", 60)
        time.sleep(WARM_UP_S)
        rows = [run_round(cloud, gateway, machine) for _ in range(ROUNDS)]
        memory = measure(gateway.pid)
    finally:
        gateway.stop()
        machine.stop()
        cloud.stop()
    missing = set(range(1, max(cloud.sequences) + 1)) - cloud.sequences
    print(
        f"\n{SESSIONS} sessions poll {NODES:,} OPC UA nodes each, as fast as one node-opcua server answers, "
        f"outbox with synchronous=FULL, flush_s: {FLUSH_S:g}; load average {os.getloadavg()[0]:.1f}"
    )
    for rate, edge_us, edge_share, server_share in rows:
        print(
            f"  {rate:9,.0f} values/s arrived; edge {edge_us:.2f} us/value = {edge_share:.0%} of a core "
            f"(all of a core: {1e6 / edge_us:,.0f} values/s), server {server_share:.0%} of a core "
            f"(all of a core: {rate / server_share:,.0f})"
        )
    print(
        f"  limit: {name_limit(rows)}; edge RSS {memory.rss_mb:.0f} MB; batches missing: {len(missing)}; "
        f"floor: {FLOOR_VALUES_PER_S:,} values/s"
    )
    assert not missing


Row = tuple[float, float, float, float]


def run_round(cloud: CountingCloud, gateway: Forewarn, machine: OpcuaMachine) -> Row:
    """Return values/s, CPU us/value of the edge, and the parts of a core of edge and server."""
    values, begun = cloud.values, time.monotonic()
    edge_s, server_s = read_cpu_s(gateway.pid), read_cpu_s(machine.pid)
    time.sleep(ROUND_S)
    values, wall_s = cloud.values - values, time.monotonic() - begun
    edge_s, server_s = read_cpu_s(gateway.pid) - edge_s, read_cpu_s(machine.pid) - server_s
    return values / wall_s, 1e6 * edge_s / values, edge_s / wall_s, server_s / wall_s


def name_limit(rows: list[Row]) -> str:
    """Return who is busiest."""
    edge, server = max(row[2] for row in rows), max(row[3] for row in rows)
    if max(edge, server) < 0.8:
        return f"neither program was busy: both got less of {os.cpu_count()} cores than they could use"
    return "the server" if server > edge else "the edge"
