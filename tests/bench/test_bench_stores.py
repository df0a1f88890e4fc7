"""The embedded store against one SQLite row per value: append, size, a day's read; and InfluxDB."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from cloud.stores.influxdb import InfluxdbReader, InfluxdbWriter
from models.telemetry import Frame, MachinePath
from tests.integration.influx_front import InfluxServer

MACHINES = [MachinePath("riverside", "hall-1", "water", f"pump-{number}") for number in range(10)]
START = 1_795_337_912_000_000_000
SECOND = 1_000_000_000
FOREVER = 2**63 - 1
TAGS = [f"tag-{number}" for number in range(10)]


class NarrowRows:
    """The obvious store: a table of (machine, tag, time, value), as durable as ours."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(
            "CREATE TABLE value (machine INTEGER, tag INTEGER, time INTEGER, value REAL, "
            "PRIMARY KEY (machine, tag, time)) WITHOUT ROWID"
        )

    def write(self, blocks: list[Block]) -> None:
        """Commit the blocks."""
        self.connection.execute("BEGIN")
        self.connection.executemany(
            "INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?)", self._list_rows(blocks)
        )
        self.connection.execute("COMMIT")

    def _list_rows(self, blocks: list[Block]) -> Iterator[tuple[int, int, int, float | None]]:
        for block in blocks:
            machine = MACHINES.index(block.machine)
            for frame in block.frames:
                for tag, column in enumerate(frame.values.values()):
                    for instant, value in zip(frame.timestamps, column, strict=True):
                        yield machine, tag, instant, value

    def read(self, machine: int) -> dict[int, np.ndarray]:
        """Return a machine's columns."""
        return {
            tag: np.array(
                self.connection.execute(
                    "SELECT time, value FROM value WHERE machine = ? AND tag = ? ORDER BY time",
                    (machine, tag),
                ).fetchall()
            )
            for tag in range(len(TAGS))
        }


def make_walk(rows: int, machines: int) -> np.ndarray:
    """Return readings with three decimals that wander: (machines, tags, rows)."""
    steps = np.random.default_rng(3).normal(0, 0.05, (machines, len(TAGS), rows))
    return np.round(50 + np.cumsum(steps, axis=2), 3)


def make_writes(walk: np.ndarray, rows: int) -> list[list[Block]]:
    """Return writes in which every machine has `rows` rows, one a second."""
    writes = []
    for first in range(0, walk.shape[2], rows):
        times = [START + (first + row) * SECOND for row in range(rows)]
        part = walk[:, :, first : first + rows].tolist()
        writes.append(
            [
                Block("telemetry", MACHINES[number], [Frame(times, dict(zip(TAGS, columns, strict=True)))])
                for number, columns in enumerate(part)
            ]
        )
    return writes


def measure_size(folder: Path, name: str) -> int:
    """Return the bytes of a database once its log is in it."""
    with sqlite3.connect(folder / name) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / name).stat().st_size


@pytest.mark.bench
@pytest.mark.parametrize(("rows", "writes"), [(1, 300), (10, 300), (100, 200)])
def test_append(tmp_path: Path, rows: int, writes: int) -> None:
    """Ten machines of ten tags, one synced transaction a write; the two stores take turns."""
    work = make_writes(make_walk(rows * writes, len(MACHINES)), rows)
    ours, narrow = EmbeddedWriter(tmp_path / "ours"), NarrowRows(tmp_path / "narrow")
    cpu, wall, longest = (
        {"ours": 0.0, "narrow": 0.0},
        {"ours": 0.0, "narrow": 0.0},
        {"ours": 0.0, "narrow": 0.0},
    )
    for blocks in work:
        for name, write in (("ours", ours.write), ("narrow", narrow.write)):
            begun, begun_cpu = time.perf_counter(), time.process_time()
            write(blocks)
            took = time.perf_counter() - begun
            cpu[name] += time.process_time() - begun_cpu
            wall[name] += took
            longest[name] = max(longest[name], took)
    values = rows * writes * len(MACHINES) * len(TAGS)
    ours.close()
    narrow.connection.close()
    print(f"\nappend, {rows * len(TAGS)} values a block, 10 blocks a write, synchronous=FULL, with merges:")
    for name, seconds in wall.items():
        size = measure_size(tmp_path, name) / values
        print(
            f"  {name:7} {values / seconds:12,.0f} values/s  {cpu[name] / values * 1e6:6.3f} us CPU/value  "
            f"{size:5.2f} bytes/value  longest write {longest[name] * 1e3:5.1f} ms"
        )
    print(
        f"  ratio   x {wall['narrow'] / wall['ours']:.1f} values/s, x {cpu['narrow'] / cpu['ours']:.1f} CPU"
    )


@pytest.mark.bench
def test_a_day_of_one_machine(tmp_path: Path) -> None:
    """86,400 x 10 values, written second by second (a hundred to a commit), read whole as numpy columns."""
    walk = make_walk(86_400, 1)
    work = make_writes(walk, 1)
    ours, narrow = EmbeddedWriter(tmp_path / "ours"), NarrowRows(tmp_path / "narrow")
    for first in range(0, len(work), 100):
        blocks = [block for write in work[first : first + 100] for block in write]
        ours.write(blocks)
        narrow.write(blocks)
    ours.close()
    reader = EmbeddedReader(tmp_path / "ours")
    took: dict[str, list[float]] = {"ours": [], "narrow": [], "ours, last hour": [], "ours, one tag": []}
    for _ in range(7):
        begun = time.perf_counter()
        table = reader.read("telemetry", MACHINES[0], 0, FOREVER)
        took["ours"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        rows = narrow.read(0)
        took["narrow"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        reader.read("telemetry", MACHINES[0], START + 82_800 * SECOND, FOREVER)
        took["ours, last hour"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        reader.read("telemetry", MACHINES[0], 0, FOREVER, ["tag-3"])
        took["ours, one tag"].append(time.perf_counter() - begun)
    for number, tag in enumerate(TAGS):
        assert np.array_equal(table.values[tag], walk[0, number])
        assert np.array_equal(rows[number][:, 1], walk[0, number])
    narrow.connection.close()
    medians = {name: sorted(times)[3] * 1e3 for name, times in took.items()}
    print("\na day of 10 tags at 1 Hz:")
    for name, milliseconds in medians.items():
        size = (
            f"{measure_size(tmp_path, name) / walk.size:5.2f} bytes/value"
            if name in ("ours", "narrow")
            else ""
        )
        print(f"  {name:16} {milliseconds:7.1f} ms  {size}")
    print(f"  ratio            x {medians['narrow'] / medians['ours']:.1f}")


@pytest.mark.bench
def test_influxdb(tmp_path: Path) -> None:
    """The same writes into InfluxDB 1.6 on this machine, and the read of all of one machine."""
    rows, writes = 100, 60
    walk = make_walk(rows * writes, len(MACHINES))
    server = InfluxServer(tmp_path)
    settings = server.make_settings("plant")
    writer, reader = InfluxdbWriter(settings), InfluxdbReader(settings)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for blocks in make_writes(walk, rows):
        assert writer.write(blocks) == []
    wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    begun = time.perf_counter()
    table = reader.read("telemetry", MACHINES[0], 0, FOREVER)
    read = time.perf_counter() - begun
    assert np.array_equal(table.values["tag-3"], walk[0, 3])
    cost = cpu / walk.size * 1e6
    print(f"\nInfluxDB: {walk.size / wall:,.0f} values/s written ({cost:.2f} us CPU/value with the front)")
    print(f"  {rows * writes * len(TAGS) / read:,.0f} values/s read")
    writer.close()
    reader.close()
    server.close()
