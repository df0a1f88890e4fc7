"""Ingest, side by side: values a second and CPU a value through a real broker, against the obvious way."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import Point, WritePrecision

from tests.bench.ingest_flood import START_NS
from tests.servers import Mosquitto

ROOT = Path(__file__).parent.parent.parent
TAGS = 10


def begin(*arguments: object) -> subprocess.Popen[str]:
    """Start one of the benchmark's programs."""
    command = [sys.executable, "-m", "tests.bench.ingest_flood", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def end(program: subprocess.Popen[str]) -> dict[str, float]:
    """Return what a program says at its end."""
    said, _ = program.communicate(timeout=60)
    return dict(json.loads(said.splitlines()[-1]))


def flood(
    broker: Mosquitto, folder: Path, store: str, rows: int, batches: int, rate: float = 0
) -> dict[str, Any]:
    """Send batches of TAGS x `rows` values through the broker into the store."""
    values = batches * TAGS * rows
    ingesting = begin("ingest", broker.port, folder, store, values)
    publishing = begin("publish", broker.port, batches, TAGS, rows, rate)
    try:
        sent, took = end(publishing), end(ingesting)
    finally:
        for program in (publishing, ingesting):
            program.kill()
    return {**sent, "values_per_s": values / sent["wall_s"], "cpu_us": took["cpu_s"] / values * 1e6}


def measure_obvious_way(rows: int, values: int) -> float:
    """Return CPU microseconds a value: row-wise JSON, one influxdb-client Point each."""
    records = [
        {
            "machine": "riverside/hall-1/water/pump-1",
            "tag": f"tag_{tag}",
            "time": START_NS + row,
            "value": 20.5 + row,
        }
        for row in range(rows)
        for tag in range(TAGS)
    ]
    payload = json.dumps(records)
    began = time.process_time()
    rounds = max(1, values // len(records))
    for _ in range(rounds):
        for one in json.loads(payload):
            point = Point("telemetry").tag("machine", one["machine"]).field(one["tag"], one["value"])
            point.time(one["time"], WritePrecision.NS).to_line_protocol()
    return (time.process_time() - began) / (rounds * len(records)) * 1e6


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_values_per_second_and_cpu_per_value(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Prints, for 10, 100 and 1000 values a batch, throughput and CPU with no store and the embedded one."""
    for rows, batches in ((1, 6000), (10, 6000), (100, 1500)):
        obvious_us = measure_obvious_way(rows, 50_000)
        for store in ("null", "embedded"):
            found = flood(mosquitto, tmp_path, store, rows, batches)
            print(
                f"\n{TAGS * rows:5} values a batch, {store:8}: {found['values_per_s']:10,.0f} values/s, "
                f"ingester {found['cpu_us']:.2f} us CPU a value; the obvious way, without MQTT and store: "
                f"{obvious_us:.1f} us, {obvious_us / found['cpu_us']:.1f} times as much",
                end="",
            )
    found = flood(mosquitto, tmp_path, "embedded", 10, 500, rate=100)
    print(f"\n100 batches/s: publish to receipt p50 {found['p50_s']:.3f} s, p99 {found['p99_s']:.3f} s")
