"""After an outage: how fast a backlog is replayed while values go on coming, and what memory that takes."""

import time
from pathlib import Path

import msgspec
import pytest

from cloud.ingest.ledger import EpochAccount, list_accounts
from cloud.records import open_records
from edge.outbox.outbox import Outbox
from models.telemetry import Frame
from tests.bench.end_to_end_rig import Line, running_line, verify
from tests.bench.flooding_edge import GATEWAY, ROW_NS, Load
from tests.integration.influx_front import InfluxServer
from tests.servers import Mosquitto

LIVE = Load(machines=50, tags=20, rows=1)
LIVE_INTERVAL_S = 1.0
LIVE_RATE = LIVE.machines * LIVE.tags / LIVE_INTERVAL_S
FLUSH_S = 1.0
OUTBOX_BYTES = 10**9
PUT_BATCHES = 500
DRAIN_S_MAX = 240.0
LOOK_S = 0.1

FLOOR_RATIO = 20
CEILING_RSS_MB = 200

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]


class Replay(msgspec.Struct, frozen=True):
    """How a backlog drained: `batches` of it in `wall_s`, the ingester's memory at its highest."""

    values: int
    batches: int
    wall_s: float
    rss_mb: float
    cpu_s: float


def fill_outbox(folder: Path, load: Load, values: int) -> int:
    """Put so many values into the gateway's outbox, as an outage leaves them; return the batches."""
    outbox = Outbox(folder / "outbox.sqlite", GATEWAY, OUTBOX_BYTES)
    outbox.open()
    batches = values // (load.tags * load.rows)
    words = [load.make_words(number)[0] for number in range(load.machines)]
    paths, begin_ns = load.paths(), time.time_ns() - 2 * 86_400 * 10**9
    for first in range(0, batches, PUT_BATCHES):
        entries = []
        for at in range(first, min(first + PUT_BATCHES, batches)):
            machine, turn = at % load.machines, at // load.machines
            start_ns = begin_ns + turn * load.rows * ROW_NS
            times = [start_ns + row * ROW_NS for row in range(load.rows)]
            entries.append((paths[machine], [Frame(times, words[machine])]))
        outbox.put(entries, time.time_ns())
    outbox.close()
    return batches


def replay(folder: Path, broker: Mosquitto, load: Load, values: int, store: str) -> Replay:
    """Let the gateway come back with its backlog, and go on with live values; return how it drained."""
    folder.mkdir()
    line = Line(folder, broker, store)
    batches = fill_outbox(folder, load, values)
    with running_line(line, LIVE, FLUSH_S, LIVE_INTERVAL_S):
        begun, spent = time.monotonic(), line.read_cpu()["ingester"]
        engine = open_records(f"sqlite:///{folder / 'records.sqlite'}")
        while count_stored(list_accounts(engine), batches) < batches:
            assert time.monotonic() - begun < DRAIN_S_MAX, "the backlog does not drain"
            time.sleep(LOOK_S)
        wall_s = time.monotonic() - begun
        spent = line.read_cpu()["ingester"] - spent
        rss_mb = read_peak_mb(line.parts["ingester"].pid)
        engine.dispose()
    account = verify(folder)
    assert account["batches_missing"] == account["batches_dead_lettered"] == 0
    assert account["values_stored"] >= values
    return Replay(values, batches, wall_s, rss_mb, spent)


def count_stored(accounts: list[EpochAccount], batches: int) -> int:
    """Return how many of the first `batches` are stored."""
    return sum(
        min(last, batches) - first + 1
        for account in accounts
        for first, last in account.stored
        if first <= batches
    )


def read_peak_mb(pid: int) -> float:
    """Return the most memory that a program has had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


@pytest.mark.parametrize("kind", ["embedded", "influxdb"])
def test_a_backlog_drains_beside_live_values(mosquitto: Mosquitto, tmp_path: Path, kind: str) -> None:
    """Prints replay rate, its ratio to the live rate, and the ingester's peak memory, by size of message."""
    server = InfluxServer(tmp_path) if kind == "influxdb" else None
    print(
        f"\ninto {kind}; live beside it: {LIVE.machines} machines x {LIVE.tags} tags at "
        f"{1 / LIVE_INTERVAL_S:g} Hz, {LIVE_RATE:,.0f} values/s, flushed every {FLUSH_S:g} s"
    )
    try:
        for load, values in (
            (Load(machines=50, tags=20, rows=1), 600_000),
            (Load(machines=200, tags=10, rows=100), 5_000_000),
        ):
            store = "{kind: embedded, path: store.sqlite}"
            name = f"{kind}-{load.rows}"
            if server is not None:
                settings = server.native_settings(name)
                settings.set_up()
                store = f"{{kind: influxdb, url: '{settings.address}', org: plant, bucket: {name}}}"
            found = replay(tmp_path / name, mosquitto, load, values, store)
            rate = found.values / found.wall_s
            print(
                f"  {found.values / 1e6:.1f} M values in {found.batches:,} batches of "
                f"{load.tags * load.rows:,}: {found.wall_s:5.1f} s, {rate:9,.0f} values/s = "
                f"{rate / LIVE_RATE:,.0f} x live, {found.batches / found.wall_s:,.0f} batches/s; ingester "
                f"{found.cpu_s / found.values * 1e6:.2f} us/value, {found.rss_mb:.0f} MB at most"
            )
    finally:
        if server is not None:
            server.close()
    print(f"  floors: {FLOOR_RATIO} x the live rate, ingester below {CEILING_RSS_MB} MB at any backlog")
