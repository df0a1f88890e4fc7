"""End to end: gateway, Mosquitto and cloud as three programs, from a value's making to its receipt."""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from influxdb_client import Point, WritePrecision

from cloud.stores import StoreReader
from cloud.stores.embedded import EmbeddedStoreSettings
from models.telemetry import Batch, Frame, decode_batch, encode_batch
from tests.bench.broker_ceiling import measure_messages_per_s
from tests.bench.end_to_end_rig import Flood, Line, VictoriaMetrics, Watch, count_stored, running_line, verify
from tests.bench.flooding_edge import GATEWAY, Load
from tests.integration.influx_front import InfluxServer
from tests.servers import Mosquitto

FLUSH_S = 0.02
WARM_UP_S = 1.5
FLOOD_S = 3.0
REPEATS = 3
PARTS = ("edge", "broker", "ingester")
FLOOR_VALUES_PER_S = 300_000
FLOOR_INGESTER_US = 1.5
FLOOR_EMBEDDED_PER_S = 800_000
FLOOR_INFLUXDB_PER_S = 500_000
FLOOR_P99_MS = 500
WATCH_S = 10.0

pytestmark = [pytest.mark.bench, pytest.mark.timeout(400)]


def flood(line: Line, load: Load) -> list[Flood]:
    """Flood a few times, after a warm-up; fail unless the cloud's ledger has every value."""
    with running_line(line, load, FLUSH_S):
        warm_up = line.flood(WARM_UP_S)
        floods = [line.flood(FLOOD_S) for _ in range(REPEATS)]
    account = verify(line.folder)
    produced = warm_up.values + sum(one.values for one in floods)
    assert account["values_produced"] == account["values_stored"] == produced
    assert account["batches_missing"] == account["batches_dead_lettered"] == account["values_dropped"] == 0
    return floods


def print_row(name: str, floods: Sequence[Flood]) -> None:
    """Print medians: values/s with their spread, CPU of each part, bytes, and what one core would carry."""
    rates = sorted(one.rate / 1e3 for one in floods)
    cost = {part: statistics.median(one.cost_us(part) for one in floods) for part in PARTS}
    wire = statistics.median(one.wire_bytes / one.values for one in floods)
    print(
        f"  {name:20} {statistics.median(rates):6.0f} k ({rates[0]:5.0f} to {rates[-1]:5.0f})  "
        + "  ".join(f"{cost[part]:8.2f}" for part in PARTS)
        + f"  {wire:11.1f}  {1e3 / cost['edge']:7.0f} k  {1e3 / cost['ingester']:7.0f} k"
    )
    if resent := sum(one.resent for one in floods):
        print(f"  {'':20} {resent:,} batches were sent again, as their receipts did not come in time")


def print_head(words: str) -> None:
    """Print the head of a table."""
    print(f"\nload average {os.getloadavg()[0]:.1f}; {words}")
    print(
        f"  {'':20} {'values/s (least to most)':26} {'edge':>8}  {'broker':>8}  {'ingester':>8}  "
        f"{'bytes/value':>11}  values/s a core: edge, ingester"
    )


def read_embedded(folder: Path) -> StoreReader:
    """Return the reader of a line's embedded store."""
    return EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite").build_reader()


def test_into_the_embedded_store(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Prints values/s and CPU by size of message; every value made is stored, as it was made."""
    print_head(
        "200 machines of 10 tags, outbox with synchronous=FULL, receipts, embedded store; CPU us/value; "
        f"medians of {REPEATS} floods of {FLOOD_S:g} s"
    )
    for rows in (1, 10, 100):
        load = Load(machines=200, tags=10, rows=rows)
        folder = tmp_path / str(rows)
        folder.mkdir()
        floods = flood(Line(folder, mosquitto), load)
        assert count_stored(read_embedded(folder), load) == verify(folder)["values_produced"]
        print_row(f"{10 * rows} values a message", floods)
    print(
        f"  floors: {FLOOR_VALUES_PER_S:,} values/s and ingester {FLOOR_INGESTER_US} us at 100 values a "
        f"message, {FLOOR_EMBEDDED_PER_S:,} values/s at 1,000; all that was made is stored and receipted"
    )


def test_into_databases(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The same into InfluxDB 1.6 by its own API and behind a front of version 2, and into VictoriaMetrics."""
    print_head("the same into databases on the same two cores, whose own CPU is not counted")
    server = InfluxServer(tmp_path)
    try:
        for rows in (10, 100):
            load, bucket = Load(machines=200, tags=10, rows=rows), f"direct-{rows}"
            settings = server.native_settings(bucket)
            settings.set_up()
            folder = tmp_path / bucket
            folder.mkdir()
            floods = flood(Line(folder, mosquitto, make_store(settings.address, bucket=bucket)), load)
            assert count_stored(settings.build_reader(), load) == verify(folder)["values_produced"]
            print_row(f"InfluxDB, {10 * rows} a message", floods)
        load = Load(machines=200, tags=10, rows=10)
        reader = server.make_settings("forewarn").build_reader()
        token = f"{{file: {tmp_path / 'token-secret'}}}"
        floods = flood(Line(tmp_path, mosquitto, make_store(server.front.url, token)), load)
        assert count_stored(reader, load) == verify(tmp_path)["values_produced"]
        print_row("behind a front of 2.0", floods)
    finally:
        server.close()
    metrics, folder = VictoriaMetrics(tmp_path), tmp_path / "victoria"
    folder.mkdir()
    metrics.start()
    try:
        floods = flood(Line(folder, mosquitto, make_store(metrics.url)), load)
        assert metrics.count_stored() == verify(folder)["values_produced"]
    finally:
        metrics.stop()
    print_row("VictoriaMetrics", floods)
    print(f"  floor: {FLOOR_INFLUXDB_PER_S:,} values/s into InfluxDB at 1,000 values a message")


def make_store(url: str, token: str = "null", bucket: str = "forewarn") -> str:
    """Return the section of cloud.yaml."""
    return f"{{kind: influxdb, url: '{url}', org: plant, bucket: {bucket}, token: {token}}}"


def cost_us(side: Callable[[], object], values: int) -> float:
    """Return the least CPU microseconds a value over some rounds."""
    costs = []
    for _ in range(REPEATS + 1):
        begun = time.process_time()
        for _ in range(max(1, 20_000 // values)):
            side()
        costs.append((time.process_time() - begun) / max(1, 20_000 // values) / values * 1e6)
    return min(costs)


def test_against_the_obvious_way(mosquitto: Mosquitto) -> None:
    """The same values as row-wise JSON and Points: CPU of coding alone. And the ceilings of this machine."""
    load = Load(machines=1, tags=10, rows=10)
    (columns, *_), machine, values = load.make_words(0), str(load.paths()[0]), 100
    times = [1_795_337_912_000_000_000 + row * 10_000_000 for row in range(load.rows)]
    batch = Batch(GATEWAY, "9f2c", 1, [Frame(times, columns)])
    rows = [
        {"machine": machine, "tag": tag, "timestamp": at, "value": value}
        for tag, column in columns.items()
        for at, value in zip(times, column, strict=True)
    ]
    payload, text = encode_batch(batch), json.dumps(rows)

    def write_points() -> list[str]:
        return [
            Point("telemetry")
            .tag("machine", row["machine"])
            .field(row["tag"], row["value"])
            .time(row["timestamp"], WritePrecision.NS)
            .to_line_protocol()
            for row in json.loads(text)
        ]

    obvious_edge, obvious_cloud = cost_us(lambda: json.dumps(rows), values), cost_us(write_points, values)
    encoding, decoding = (
        cost_us(lambda: encode_batch(batch), values),
        cost_us(lambda: decode_batch(payload), values),
    )
    print("\nthe obvious way, 100 values a message, CPU us/value of coding alone (no broker, no database):")
    print(f"  row-wise JSON by the standard library {obvious_edge:.2f}, ours {encoding:.2f}")
    print(
        f"  reading it and one influxdb-client Point a value {obvious_cloud:.2f}, reading ours {decoding:.2f}"
    )
    print(f"  {len(text) / values:.0f} bytes/value, ours {len(payload) / values:.1f}")
    passed = statistics.median(
        measure_messages_per_s(mosquitto.port, payload, 10_000) for _ in range(REPEATS)
    )
    print("ceilings, 100 values a message:")
    print(f"  decoding alone, a core: {1 / decoding:.1f} M values/s")
    print(
        f"  the broker alone, from one program's link to another's at QoS 1: {passed:,.0f} messages/s = "
        f"{passed * values / 1e3:,.0f} k values/s"
    )


PLANT = Load(machines=50, tags=20, rows=1)
LARGE_PLANT = Load(machines=50, tags=100, rows=1)


@pytest.mark.parametrize(
    ("load", "interval_s", "flush_s"), [(PLANT, 1.0, 1.0), (PLANT, 1.0, 0.1), (LARGE_PLANT, 0.1, 0.1)]
)
def test_from_source_timestamp_to_stored(
    mosquitto: Mosquitto, tmp_path: Path, load: Load, interval_s: float, flush_s: float
) -> None:
    """Prints how old a value is when its receipt says that it is stored: an ordinary plant, a large one."""
    line = Line(tmp_path, mosquitto)
    watch = Watch(mosquitto.settings)
    rate = load.machines * load.tags / interval_s
    with running_line(line, load, flush_s, interval_s):
        time.sleep(3.0)
        watch.delays_s.clear()
        before, begun = line.read_cpu(), time.monotonic()
        time.sleep(WATCH_S)
        delays, wall_s = sorted(watch.delays_s), time.monotonic() - begun
        spent = {part: 100 * (used - before[part]) / wall_s for part, used in line.read_cpu().items()}
    watch.stop()
    assert verify(tmp_path)["batches_missing"] == 0
    assert len(delays) > rate * WATCH_S / 2
    floor = f" (floor: p99 below {FLOOR_P99_MS} ms)" if load is LARGE_PLANT else ""
    print(
        f"\n{load.machines} machines x {load.tags} tags at {1 / interval_s:g} Hz = "
        f"{len(delays) / wall_s:,.0f} values/s, flush_s: {flush_s:g}: from source timestamp to the receipt "
        f"that follows the store's commit: p50 {delays[len(delays) // 2] * 1e3:.0f} ms, "
        f"p99 {delays[int(len(delays) * 0.99)] * 1e3:.0f} ms{floor}, most {delays[-1] * 1e3:.0f} ms; "
        "of a core: " + ", ".join(f"{part} {spent[part]:.1f} %" for part in PARTS)
    )
