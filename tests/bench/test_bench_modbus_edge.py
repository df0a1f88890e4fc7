"""The whole gateway polling Modbus: values a second onto a disk, and how late dead machines make others."""

import contextlib
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.integration.modbus_plant import (
    DEATHS,
    choose_port,
    describe_machine,
    dying_machines,
    measure_punctuality,
    running_gateway,
    running_plant,
)
from tests.servers import Mosquitto, find_free_port, wait_until

MACHINES, TAGS = 8, 1_000
FAST_S = 0.01
WARM_UP_S, MEASURE_S, REPEATS = 2.0, 3.0, 3
FLOOR_VALUES_PER_S = 500_000
ALIVE, DEAD, CALM_S = 40, 10, 1.0

pytestmark = [pytest.mark.bench, pytest.mark.timeout(400)]


class Rate(msgspec.Struct, frozen=True):
    """What the outbox took a second, and what each value cost the gateway's process."""

    values_per_s: float
    cost_us: float
    memory_mb: float


def describe_fast(port: int, machine: int, tag: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a machine that is polled a hundred times a second."""
    settings = describe_machine(
        machine, f"127.0.0.{machine}", port, TAGS, interval_s=FAST_S, timeout_s=5, **more
    )
    words = 2 if tag["type"] == "float32" else 1
    settings["tags"] = [{**one, "address": words * at, **tag} for at, one in enumerate(settings["tags"])]
    return settings


def read_committed(port: int) -> float:
    """Return how many values the outbox has taken, with synchronous=FULL, since it exists."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("forewarn_outbox_values_total ")]
    return float(line.split()[1])


def measure(gateway: int, health_port: int) -> Rate:
    """Return the medians of some stretches."""
    program = psutil.Process(gateway)
    found = []
    time.sleep(WARM_UP_S)
    for _ in range(REPEATS):
        before, spent, begin = read_committed(health_port), sum(program.cpu_times()[:2]), time.monotonic()
        time.sleep(MEASURE_S)
        values = read_committed(health_port) - before
        spent, elapsed = sum(program.cpu_times()[:2]) - spent, time.monotonic() - begin
        found.append(Rate(values / elapsed, spent / values * 1e6, program.memory_info().rss / 1e6))
    return Rate(*(statistics.median(getattr(one, name) for one in found) for name in Rate.__struct_fields__))


@contextlib.contextmanager
def receipting_cloud(folder: Path) -> Iterator[int]:
    """Run a broker, and beside it a program that receipts everything; the broker's port."""
    broker = Mosquitto(folder)
    broker.start()
    command = [sys.executable, "-m", "tests.bench.receipting_cloud", str(broker.port), "pi-01"]
    cloud = subprocess.Popen(command)
    try:
        yield broker.port
        assert cloud.poll() is None
    finally:
        cloud.kill()
        cloud.wait()
        broker.stop()


def run(folder: Path, port: int, tag: dict[str, Any], broker_port: int = 1, **more: Any) -> Rate:
    """Return what the gateway takes of machines whose tags are all like this one."""
    folder.mkdir()
    health_port = find_free_port()
    machines = [describe_fast(port, machine, tag, **more) for machine in range(1, MACHINES + 1)]
    with running_gateway(folder, machines, broker_port=broker_port, health={"port": health_port}) as gateway:
        wait_until(lambda: is_taking(health_port), "values in the outbox", 60)
        return measure(gateway.pid, health_port)


def is_taking(health_port: int) -> bool:
    """Return whether the outbox has values."""
    with contextlib.suppress(OSError):
        return read_committed(health_port) > 0
    return False


def test_what_a_gateway_takes_at_most(tmp_path: Path) -> None:
    """8 machines of 1,000 registers as fast as they answer; the outbox commits with synchronous=FULL."""
    port = choose_port()
    with running_plant(tmp_path, MACHINES, port):
        ways = {
            "uint16": run(tmp_path / "a", port, {"type": "uint16"}),
            "int16, scaled": run(tmp_path / "b", port, {"type": "int16", "scale": 0.1}),
            "float32": run(tmp_path / "c", port, {"type": "float32"}),
        }
        (tmp_path / "broker").mkdir()
        with receipting_cloud(tmp_path / "broker") as broker_port:
            ways["uint16, published and receipted"] = run(
                tmp_path / "d", port, {"type": "uint16"}, broker_port
            )
        ways["uint16, a request each"] = run(
            tmp_path / "e", port, {"type": "uint16"}, quirks={"single": ["holding"]}
        )
    naive = ways["uint16, a request each"]
    print(f"\nModbus, the whole gateway, {MACHINES} machines of {TAGS} tags, outbox at FULL:")
    print(f"  {'':32}  values/s  us/value  memory  against a request each")
    for name, rate in ways.items():
        faster, cheaper = rate.values_per_s / naive.values_per_s, naive.cost_us / rate.cost_us
        print(
            f"  {name:32}  {rate.values_per_s / 1e3:6.0f} k  {rate.cost_us:8.2f}  {rate.memory_mb:3.0f} MB"
            f"  {faster:5.0f} x faster, {cheaper:4.0f} x less CPU"
        )
    print(f"  the aim: {FLOOR_VALUES_PER_S / 1e3:.0f} k values/s, with a core to itself 1 / (us/value)")


def test_dead_machines_delay_nobody(tmp_path: Path) -> None:
    """50 machines of which 10 are dead, against the same 40 by themselves."""
    port = choose_port()
    rows = {}
    for name, deaths in (("with 10 dead", list(islice(cycle(DEATHS), DEAD))), ("without", [])):
        folder = tmp_path / name
        folder.mkdir()
        with running_plant(folder, ALIVE, port) as log, dying_machines(deaths, port) as dead:
            hosts = [*dead, *(f"127.0.0.{number}" for number in range(1, ALIVE + 1))]
            machines = [
                describe_machine(number, host, port, 100, interval_s=CALM_S, timeout_s=1.0)
                for number, host in enumerate(hosts)
            ]
            with running_gateway(folder, machines) as gateway:
                wait_until(lambda log=log: log.read_bytes().count(b"\n") > 20 * ALIVE, "20 polls each", 90)
                spent = sum(psutil.Process(gateway.pid).cpu_times()[:2])
            rows[name] = (measure_punctuality(log, CALM_S, 3.0), spent)
    print(
        f"\nModbus, {ALIVE} living machines of 100 tags, polled every {CALM_S:g} s; lateness of their polls:"
    )
    for name, (found, spent) in rows.items():
        assert found.machines == ALIVE
        print(
            f"  {name:14} {found.polls} polls, {found.missed} missed, p50 {found.quantile_ms(0.5):.1f} ms, "
            f"p99 {found.quantile_ms(0.99):.1f} ms, worst {found.lateness_ms[-1]:.1f} ms; CPU {spent:.1f} s"
        )
    print("  the aim: p99 below 50 ms")
