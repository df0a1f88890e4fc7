"""A gateway's day in minutes: fast polling, while machines, broker and settings come and go."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from tests.bench.peers.gateways import modbus_machine, opcua_machine
from tests.bench.peers.listener import Listener
from tests.bench.peers.machines import ModbusMachine, OpcuaMachine, compile_modbus_server
from tests.servers import Mosquitto, find_free_port, wait_until

ROOT = Path(__file__).parents[2]
INTERVAL_S = 0.01
"""A read each stands for one at the usual 1 s: 14.4 minutes are a day."""
TAGS = 20
WARM_UP = 0.25
"""The part of the run at whose end memory has taken its shape: imports, caches, the allocator's arenas."""
REST_S = 8.0
PATIENCE_S = 60.0


class Sample(msgspec.Struct, frozen=True):
    """What the edge held at one second. `tasks` by coroutine; `reads`: of the machine never disturbed."""

    rss_mb: float
    tasks: dict[str, int]
    files: int
    threads: int
    reads: int

    @property
    def task_count(self) -> int:
        """How many asyncio tasks there were."""
        return sum(self.tasks.values())


class Course(msgspec.Struct, frozen=True):
    """A soak's outcome: what the edge held while all was well, before and after; and all samples between."""

    before: Sample
    after: Sample
    samples: list[Sample]
    wall_s: float
    values: int
    events: dict[str, int]

    @property
    def simulated_h(self) -> float:
        """Hours that the reads would have taken at one a second."""
        return (self.after.reads - self.before.reads) / 3600

    def fit_memory(self) -> tuple[float, float]:
        """Return the slope of RSS after the warm-up, MB per simulated hour, and its standard error.

        Ordinary least squares; samples of a second are not independent, so the true error is larger.
        """
        kept = self.samples[int(WARM_UP * len(self.samples)) :]
        hours = np.array([one.reads for one in kept]) / 3600
        memory = np.array([one.rss_mb for one in kept])
        spread = hours - hours.mean()
        slope = float(spread @ memory / (spread @ spread))
        rest = memory - memory.mean() - slope * spread
        return slope, float(np.sqrt(rest @ rest / (len(kept) - 2) / (spread @ spread)))


class Plant:
    """Broker, machines, and the edge between them, each a program of its own."""

    def __init__(self, folder: Path) -> None:
        program = compile_modbus_server(folder)
        self.broker = Mosquitto(folder)
        self.steady = ModbusMachine(program, folder, TAGS)
        self.shaky = ModbusMachine(program, folder, TAGS)
        self.server = OpcuaMachine(folder, TAGS)
        self.health_port = find_free_port()
        self._folder = folder
        self._variant = 0

    def start(self) -> None:
        """Start everything."""
        for part in (self.broker, self.steady, self.shaky, self.server):
            part.start()
        self.listener = Listener(self.broker.port)
        self.write_settings()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self._folder / "edge.log").open("wb") as log:
            self.edge = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.edge_under_soak", "edge.yaml"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=(self._folder / "samples.jsonl").open("wb"),
                stderr=log,
                env=environment,
            )

    def stop(self) -> None:
        """End everything; fail where the edge does not end in order."""
        self.edge.terminate()
        code = self.edge.wait(30)
        self.listener.stop()
        for part in (self.server, self.shaky, self.steady, self.broker):
            part.stop()
        assert code == 0, self.log[-3000:]

    @property
    def log(self) -> str:
        """What the edge said."""
        return (self._folder / "edge.log").read_text(errors="replace")

    def read_samples(self) -> list[Sample]:
        """Return what the edge said of itself so far."""
        assert self.edge.poll() is None, f"the edge ended:\n{self.log[-3000:]}"
        lines = (self._folder / "samples.jsonl").read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Sample) for line in lines]

    def write_settings(self) -> None:
        """Write edge.yaml; at every other call with another interval of two machines."""
        self._variant += 1
        slow = INTERVAL_S * (2 + self._variant % 2)
        polled, followed = (
            opcua_machine(self.server.url, TAGS),
            {**opcua_machine(self.server.url, TAGS), "mode": "subscription"},
        )
        machines = [
            {"path": "s/a/l/steady", "interval_s": INTERVAL_S, **modbus_machine(self.steady.port, TAGS)},
            {"path": "s/a/l/shaky", "interval_s": slow, **modbus_machine(self.shaky.port, TAGS)},
            {"path": "s/a/l/polled", "interval_s": 2 * slow, **polled},
            {"path": "s/a/l/followed", "interval_s": 0.2, **followed},
        ]
        settings = {
            "gateway": "soaked",
            "broker": {"port": self.broker.port, "keepalive_s": 2},
            "outbox": {"flush_s": 0.1},
            "health": {"port": self.health_port},
            "machines": machines,
        }
        new = self._folder / "edge.yaml.new"
        new.write_text(json.dumps(settings))
        new.replace(self._folder / "edge.yaml")

    def reload(self) -> None:
        """Have two machines begin anew with other settings."""
        self.write_settings()
        self.edge.send_signal(signal.SIGHUP)

    def restart_broker(self) -> None:
        """Kill the broker; a second later there is a new one that knows nothing."""
        self.broker.kill()
        time.sleep(1.0)
        self.broker.start()

    def restart_modbus(self) -> None:
        """The same with the shaky Modbus server."""
        self.shaky.kill()
        time.sleep(0.5)
        self.shaky.start()

    def restart_opcua(self) -> None:
        """The same with the OPC UA server."""
        self.server.stop()
        self.server.start()

    def ask_health(self) -> None:
        """Scrape the edge as Prometheus would."""
        for page in ("metrics", "healthz"):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/{page}", timeout=5).read()

    def is_well(self) -> bool:
        """Return whether the edge has the broker and every machine."""
        with contextlib.suppress(OSError, ValueError):
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/metrics", timeout=5).read()
            lines = [line for line in answer.decode().splitlines() if not line.startswith("#")]
            up = [line for line in lines if line.startswith("forewarn_machine_connected")]
            broker = [line for line in lines if line.startswith("forewarn_broker_connected")]
            return len(up) == 4 and bool(broker) and all(line.endswith(" 1") for line in up + broker)
        return False


def soak(folder: Path, seconds: float, tell: Callable[[str], None] = print) -> Course:
    """Run the course for so long, between a rest before and one after; return what the edge held."""
    plant = Plant(folder)
    plant.start()
    try:
        for happen in (plant.restart_broker, plant.restart_modbus, plant.restart_opcua, plant.reload):
            happen()  # what the first time of everything leaves behind for good is no leak: pools, caches
            time.sleep(2.0)
        before = rest(plant)
        begun, started = time.monotonic(), len(plant.read_samples())
        events = disturb(plant, begun + seconds, tell)
        wall_s = time.monotonic() - begun
        after = rest(plant)
        samples = plant.read_samples()[started:]
        values = plant.listener.arrivals["soaked"].values
    finally:
        plant.stop()
    return Course(before, after, samples, wall_s, values, events)


def rest(plant: Plant) -> Sample:
    """Wait until all is well, and some seconds more; return the sample of these with the median of tasks."""
    time.sleep(REST_S)  # a loss has to be noticed before its end can be awaited
    wait_until(plant.is_well, "the edge has its broker and machines", PATIENCE_S)
    first = len(plant.read_samples())
    wait_until(lambda: len(plant.read_samples()) >= first + REST_S, "the edge has said what it holds", 60)
    found = plant.read_samples()[first:]
    assert plant.is_well()
    return sorted(found, key=lambda one: (one.task_count, one.files, one.threads))[len(found) // 2]


def disturb(plant: Plant, until: float, tell: Callable[[str], None]) -> dict[str, int]:
    """Disturb the plant in turn until that time; return how often each thing happened."""
    turn = [
        ("reloads", plant.reload),
        ("Modbus server restarts", plant.restart_modbus),
        ("reloads", plant.reload),
        ("broker restarts", plant.restart_broker),
        ("OPC UA server restarts", plant.restart_opcua),
    ]
    events: dict[str, int] = {}
    told_at = time.monotonic()
    while time.monotonic() < until:
        name, happen = turn[sum(events.values()) % len(turn)]
        happen()
        events[name] = events.get(name, 0) + 1
        time.sleep(2.0)
        plant.ask_health()
        if time.monotonic() - told_at > 30:
            told_at = time.monotonic()
            last = plant.read_samples()[-1]
            tell(f"  {last.rss_mb:.1f} MB, {last.task_count} tasks, {last.files} files, {last.reads} reads")
    return events
