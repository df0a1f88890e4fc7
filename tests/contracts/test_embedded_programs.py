"""The embedded store between threads and programs: beside readers, beside another writer, under kill -9."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block, StoreUnavailable
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from models.telemetry import MachinePath
from tests.contracts.embedded_rig import FOREVER, MOTOR, PUMP, ROOT, SECOND, START, make_frame, read_all
from tests.servers import wait_until

WRITER = f"""
import sys
from pathlib import Path
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedWriter
from models.telemetry import Frame, MachinePath
writer = EmbeddedWriter(Path(sys.argv[1]))
machines = [MachinePath("riverside", "hall-1", "water", name) for name in ("pump-7", "motor-3")]
for number in range(int(sys.argv[2]), 10**9):
    times = [{START} + (10 * number + row) * {SECOND} for row in range(10)]
    frame = Frame(times, {{tag: [number + row / 10 for row in range(10)] for tag in "abcdefghij"}})
    writer.write([Block("telemetry", machine, [frame]) for machine in machines])
    print(number, flush=True)
"""


@pytest.mark.parametrize("waited_batches", [1, 40, 150])
def test_a_killed_writer_leaves_exactly_what_it_acknowledged(tmp_path: Path, waited_batches: int) -> None:
    """After kill -9 in mid-write every acknowledged write is there, whole, and at most the one under way."""
    path = tmp_path / "store.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        acknowledged = [int(writing.stdout.readline()) for _ in range(waited_batches)]
        writing.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writing.stdout if line.endswith("\n")]
    for machine in (PUMP, MOTOR):
        table = read_all(path, machine)
        batches = len(table.timestamps) // 10
        assert acknowledged == list(range(len(acknowledged)))
        assert len(acknowledged) <= batches <= len(acknowledged) + 1
        expected = [number + row / 10 for number in range(batches) for row in range(10)]
        assert {tag: column.tolist() for tag, column in table.values.items()} == dict.fromkeys(
            "abcdefghij", expected
        )
    writer = EmbeddedWriter(path)
    assert writer.write([Block("telemetry", PUMP, [make_frame(10**6, 1)])]) == []
    writer.close()


def test_another_process_reads_while_this_one_writes(tmp_path: Path) -> None:
    """A reader beside a busy writer never fails, never sees half a write, and sees each after its commit."""
    path = tmp_path / "store.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), "0"]
    reader = EmbeddedReader(path)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        seen = 0
        for _ in range(300):
            committed = int(writing.stdout.readline())
            table = reader.read("telemetry", PUMP, START + 10 * max(0, committed - 50) * SECOND, FOREVER)
            assert len(table.timestamps) % 10 == 0
            assert table.timestamps[-1] >= START + (10 * committed + 9) * SECOND
            assert [stored.machine for stored in reader.list_machines()] == [MOTOR, PUMP]
            seen += len(table.timestamps)
        writing.kill()
    reader.close()
    assert seen > 3000


def test_threads_share_one_writer_and_one_reader(tmp_path: Path) -> None:
    """Writes and reads from several threads at once lose nothing."""
    path = tmp_path / "store.sqlite"
    writer, reader = EmbeddedWriter(path), EmbeddedReader(path)
    reads: list[int] = []
    problems: list[StoreUnavailable] = []

    def write(machine: MachinePath) -> None:
        for row in range(100):
            writer.write([Block("telemetry", machine, [make_frame(row, 1)])])

    def read() -> None:
        try:
            for _ in range(50):
                reader.read("telemetry", PUMP, 0, FOREVER)
                reader.list_machines()
            reads.append(50)
        except StoreUnavailable as error:
            problems.append(error)

    machines = [PUMP, MOTOR, MachinePath("riverside", "hall-1", "water", "fan-1")]
    threads = [threading.Thread(target=write, args=[machine]) for machine in machines]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert reads == [50, 50]
    assert [len(reader.read("telemetry", machine, 0, FOREVER).timestamps) for machine in machines] == [
        100
    ] * 3
    writer.close()
    reader.close()


def test_two_writers_in_two_processes_share_the_file(tmp_path: Path) -> None:
    """An import beside the running service: both are stored, under the same tags."""
    path = tmp_path / "store.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), "1000"]
    writer = EmbeddedWriter(path)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writing:
        for row in range(150):
            writer.write([Block("telemetry", PUMP, [make_frame(row, 1, "xyza")])])
        wait_until(lambda: len(read_all(path, MOTOR).timestamps) > 100, "the other process writes")
        os.kill(writing.pid, signal.SIGKILL)
    table = read_all(path)
    assert np.count_nonzero(~np.isnan(table.values["x"])) == 150
    assert len(table.timestamps) > 250
    assert set(table.values) == set("abcdefghijxyz")
    writer.close()
