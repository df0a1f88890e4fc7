"""Gateway, broker and cloud as three programs: floods them, and reads what each of them spent."""

import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import psutil

from cloud.stores import StoreReader
from models.link import BrokerSettings, Link, LinkMessage
from models.telemetry import Topics, decode_batch, decode_receipt
from tests.bench.flooding_edge import GATEWAY, Load
from tests.integration.influx_front import ask
from tests.servers import Mosquitto, Server, find_free_port, find_program, wait_until

REST_S = 0.3


class Flood(msgspec.Struct, frozen=True):
    """What one flood brought, from the first value made to the last one receipted."""

    values: int
    wall_s: float
    wire_bytes: int
    resent: int
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        """Values a second, end to end."""
        return self.values / self.wall_s

    def cost_us(self, part: str) -> float:
        """CPU microseconds of a part for each value."""
        return self.cpu_s[part] / self.values * 1e6


class Line:
    """The whole way from the machines to the store; `store` is the section of cloud.yaml."""

    def __init__(self, folder: Path, broker: Mosquitto, store: str = "{kind: embedded, path: store.sqlite}"):
        self.folder = folder
        self._broker = broker
        (folder / "cloud.yaml").write_text(
            f"broker: {{host: 127.0.0.1, port: {broker.port}}}\nroles: [ingest]\n"
            f"records: {{path: records.sqlite}}\nstore: {store}\n"
        )
        self.parts: dict[str, subprocess.Popen[str]] = {}

    def start(self, load: Load, flush_s: float, interval_s: float | None = None) -> None:
        """Start the cloud and the gateway."""
        self._start("ingester", "forewarn", "cloud", "run", "--config", "cloud.yaml")
        wait_until(lambda: "link_up" in self._read_log("ingester"), "the ingester is connected", 60)
        numbers = [self._broker.port, self.folder, load.machines, load.tags, load.rows, flush_s]
        paced = [] if interval_s is None else [str(interval_s)]
        self._start("edge", "tests.bench.flooding_edge", *map(str, numbers), *paced)
        wait_until(lambda: "broker_connected" in self._read_log("edge"), "the gateway is connected", 60)
        if interval_s is None:
            self._read_answer()

    def flood(self, seconds: float) -> Flood:
        """Let the machines speak for so long; return once every value is receipted."""
        time.sleep(REST_S)
        before = self.read_cpu()
        edge = self.parts["edge"]
        assert edge.stdin is not None
        edge.stdin.write(f"{seconds}\n")
        edge.stdin.flush()
        found = self._read_answer()
        spent = {part: used - before[part] for part, used in self.read_cpu().items()}
        counts = (int(found["wire_bytes"]), int(found["resent"]))
        return Flood(int(found["values"]), found["wall_s"], *counts, spent)

    def stop(self) -> None:
        """End the gateway in order, then the cloud."""
        for name in ("edge", "ingester"):
            part = self.parts.pop(name, None)
            if part is not None:
                assert part.stdin is not None
                part.stdin.close()
                part.terminate()
                code = part.wait(30)
                assert code == 0, f"{name} ended with {code}:\n{self._read_log(name, part)}"

    def kill(self) -> None:
        """End whatever still runs."""
        for part in self.parts.values():
            part.kill()
            part.wait()
        self.parts.clear()

    def _start(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.parts[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ
                | {
                    "OPENBLAS_NUM_THREADS": "1",
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                },
            )

    def _read_log(self, name: str, part: subprocess.Popen[str] | None = None) -> str:
        log = (self.folder / f"{name}.log").read_text(errors="replace")
        running = part or self.parts[name]
        assert running.poll() in (None, 0), f"{name} ended early:\n{log[-2000:]}"
        return log

    def _read_answer(self) -> Mapping[str, float]:
        edge = self.parts["edge"]
        assert edge.stdout is not None
        answer = edge.stdout.readline()
        assert answer, f"the gateway ended early:\n{self._read_log('edge')[-2000:]}"
        found: Mapping[str, float] = json.loads(answer)
        return found

    def read_cpu(self) -> dict[str, float]:
        """Return the CPU seconds of each part since its start."""
        ids = {name: part.pid for name, part in self.parts.items()}
        assert self._broker._running is not None
        ids["broker"] = self._broker._running.pid
        return {name: sum(psutil.Process(number).cpu_times()[:2]) for name, number in ids.items()}


@contextmanager
def running_line(line: Line, load: Load, flush_s: float, interval_s: float | None = None) -> Iterator[Line]:
    """Run the whole way while the block runs, and end it in order."""
    try:
        line.start(load, flush_s, interval_s)
        yield line
        line.stop()
    finally:
        line.kill()


def count_stored(reader: StoreReader, load: Load) -> int:
    """Return how many values the store holds; fail where a column is not what its machine said."""
    stored = 0
    for number, machine in enumerate(load.paths()):
        table = reader.read("telemetry", machine, 0, 2**62)
        words = load.make_words(number)
        cycle = words[1:] + words[:1]  # the second word is said first
        for tag, column in table.values.items():
            said = np.array([word[tag] for word in cycle], float)
            assert np.array_equal(column, np.resize(said, column.size)), (
                f"{machine} {tag} is not what was said"
            )
            stored += column.size
    reader.close()
    return stored


def verify(folder: Path) -> Mapping[str, int]:
    """Return what `forewarn cloud verify` says of the gateway."""
    answer = subprocess.run(
        [sys.executable, "-m", "forewarn", "cloud", "verify", "--config", "cloud.yaml", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (account,) = json.loads(answer.stdout)["gateways"]
    found: Mapping[str, int] = account
    return found


class VictoriaMetrics(Server):
    """A time series database that takes the line protocol of InfluxDB 2, with times in milliseconds."""

    def __init__(self, folder: Path) -> None:
        port = find_free_port()
        places = [f"-storageDataPath={folder / 'victoria-metrics'}", f"-httpListenAddr=127.0.0.1:{port}"]
        super().__init__([find_program("victoria-metrics"), *places, "-retentionPeriod=1"], port, folder)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def count_stored(self) -> int:
        """Return how many values it holds."""
        ask(self.port, "GET", "/internal/force_flush", b"")
        query = urllib.parse.urlencode({"query": 'sum(count_over_time({__name__=~"telemetry_.+"}[3d]))'})
        _, _, answer = ask(self.port, "GET", f"/api/v1/query?{query}&time={time.time() + 86_400:.0f}", b"")
        return int(json.loads(answer)["data"]["result"][0]["value"][1])


class Watch:
    """Listens to batches and receipts: `delays_s` are from a value's source timestamp to its receipt."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.delays_s: list[float] = []
        self._instants: dict[int, list[int]] = {}
        topics = Topics()
        self._receipts = topics.receipt(GATEWAY)
        self._link = Link(
            broker,
            "watch",
            on_message=self._take,
            subscriptions=[topics.all_batches(), self._receipts],
        )
        self._link.start()
        wait_until(self._link.is_connected, "the watch is connected")

    def _take(self, message: LinkMessage) -> None:
        now_ns = time.time_ns()
        self._link.acknowledge(message)
        if message.topic != self._receipts:
            batch = decode_batch(message.payload)
            instants = [at for frame in batch.frames for at in frame.timestamps for _ in frame.values]
            self._instants[batch.sequence] = instants
            return
        for first, last in decode_receipt(message.payload).stored:
            for sequence in range(first, last + 1):
                self.delays_s += [(now_ns - at) / 1e9 for at in self._instants.pop(sequence, ())]

    def stop(self) -> None:
        """Listen no more."""
        self._link.stop()
