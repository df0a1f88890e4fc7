"""A gateway whose clock says 1970 at the start, or jumps by years: as on a computer without a battery."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from models.telemetry import Gap, decode_batch
from tests.servers import find_program, wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from edge.agent import Agent, run_until_signal
from edge.polling import clock
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver, make_settings
clock._BOOT_ID = Path(sys.argv[3])
settings = make_settings(Path(sys.argv[1]), BrokerSettings(port=int(sys.argv[2])))
driver = CountingDriver(0.02)
driver.count = int(sys.argv[4])
asyncio.run(run_until_signal(Agent(settings, [MachineSource(PATH, driver)])))
"""
YEARS_S = 10**9


class Computer:
    """A computer whose wall clock and boots the test decides about, with one gateway on it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.outbox = folder / "outbox.sqlite"
        self._folder = folder
        self._port = port
        self._offset = folder / "offset"
        self._boot = folder / "boot_id"
        self._said = folder / "said.log"
        self._shim = folder / "clockshim.so"
        source = Path(__file__).with_name("clockshim.c")
        subprocess.run(
            [find_program("gcc"), "-shared", "-fPIC", "-o", self._shim, source, "-ldl"],
            check=True,
            timeout=60,
        )
        self.start_up("boot-1")

    def start_up(self, boot: str) -> None:
        """Begin anew, without an idea of what time it is."""
        self._boot.write_text(boot)
        self.move_clock(-int(time.time()) + 100)

    def move_clock(self, by_s: int) -> None:
        """Have the wall clock show that much more than the truth."""
        self._offset.write_text(str(by_s))

    def has_said(self, *words: str) -> bool:
        """Return whether one line of the gateway's log has all of these."""
        return any(all(word in line for word in words) for line in self._said.read_text().splitlines())

    @contextmanager
    def running(self, count: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the gateway; its machine's counter begins after `count`. The log is that of this run."""
        with self._said.open("wb") as log:
            edge = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, self._folder, str(self._port), self._boot, str(count)],
                cwd=ROOT,
                env={**os.environ, "LD_PRELOAD": str(self._shim), "CLOCK_OFFSET_FILE": str(self._offset)},
                stdout=log,
                stderr=log,
            )
        try:
            yield edge
        finally:
            edge.terminate()
            edge.communicate(timeout=20)

    def read(self, query: str) -> list[tuple[bytes]]:
        """Return what a query finds in the outbox; nothing while there is none."""
        if not self.outbox.exists():
            return []
        beside = sqlite3.connect(f"{self.outbox.as_uri()}?mode=ro", uri=True)
        try:
            return beside.execute(query).fetchall()
        except sqlite3.OperationalError:  # not there yet
            return []
        finally:
            beside.close()

    @property
    def values(self) -> list[tuple[float, int]]:
        """(count, timestamp) of everything in batches, by time."""
        found = [
            (float(count or 0), at)
            for (payload,) in self.read("SELECT payload FROM batches ORDER BY sequence")
            for frame in decode_batch(payload).frames
            for count, at in zip(frame.values["count"], frame.timestamps, strict=True)
        ]
        return sorted(found, key=lambda one: one[1])

    @property
    def gaps(self) -> list[Gap]:
        """Every gap in batches."""
        payloads = self.read("SELECT payload FROM batches ORDER BY sequence")
        return [gap for (payload,) in payloads for gap in decode_batch(payload).gaps]

    @property
    def held(self) -> int:
        """How many values wait on the disk for the clock."""
        return int((self.read("SELECT coalesce(sum(value_count), 0) FROM held") or [(b"0",)])[0][0])


@pytest.fixture
def computer(tmp_path: Path, free_port: int) -> Computer:
    """A computer that has just started, in 1970."""
    return Computer(tmp_path, free_port)


def check_row(values: list[tuple[float, int]], began_ns: int) -> None:
    """Every count once and in order, each with a time between the start and now, without a hole."""
    counts, stamps = [count for count, _ in values], [at for _, at in values]
    assert counts == [float(number) for number in range(1, len(counts) + 1)]
    assert stamps == sorted(set(stamps))
    assert began_ns < stamps[0]
    assert stamps[-1] < time.time_ns()


def test_no_value_is_filed_in_1970(computer: Computer) -> None:
    """No batch is made until the clock is set; then every value is there, with its true time."""
    began_ns = time.time_ns()
    with computer.running():
        wait_until(lambda: computer.has_said("clock_behind"), "it noticed")
        wait_until(lambda: computer.held >= 50, "fifty polls by the wrong clock")
        assert computer.values == []
        set_ns = time.time_ns()
        computer.move_clock(0)
        wait_until(lambda: computer.has_said("clock_set"), "it was set")
        before = len(computer.values)
        wait_until(lambda: len(computer.values) > before + 20, "it goes on")
    values = computer.values
    check_row(values, began_ns)
    assert sum(at < set_ns for _, at in values) >= 40
    assert max(later - earlier for (_, earlier), (_, later) in pairwise(values)) < 2_000_000_000


def test_a_kill_before_the_clock_is_set_costs_nothing(computer: Computer) -> None:
    """A new program of the same boot gives what the killed one left its true time."""
    began_ns = time.time_ns()
    with computer.running() as edge:
        wait_until(lambda: computer.held >= 30, "values wait on the disk")
        edge.kill()
        edge.wait()
    left = computer.held
    computer.move_clock(0)
    with computer.running(left):
        wait_until(lambda: computer.has_said("values_restamped", f"values={left}"), "they are restamped")
        wait_until(lambda: len(computer.values) > left + 20, "it goes on")
    check_row(computer.values, began_ns)
    assert computer.held == 0


def test_a_power_cut_before_the_clock_is_set_is_a_recorded_gap(computer: Computer) -> None:
    """Of another boot nobody knows the time: nothing of it is stored, and the gap says how much it was."""
    with computer.running() as edge:
        wait_until(lambda: computer.held >= 30, "values wait on the disk")
        edge.kill()
        edge.wait()
    left = computer.held
    computer.start_up("boot-2")
    computer.move_clock(0)
    began_ns = time.time_ns()
    with computer.running():
        wait_until(lambda: computer.has_said("values_without_time", f"values={left}"), "it is said")
        wait_until(lambda: len(computer.values) > 20, "it goes on")
    check_row(computer.values, began_ns)
    (gap,) = [gap for gap in computer.gaps if gap.reason == "clock_unknown"]
    assert gap.values == left
    assert gap.first < began_ns < gap.last < time.time_ns()


def test_a_clock_that_jumps_by_years_and_back_files_nothing_in_the_far_future(computer: Computer) -> None:
    """What was read meanwhile waits, and is in its place when the clock is right again."""
    computer.move_clock(0)
    began_ns = time.time_ns()
    with computer.running():
        wait_until(lambda: len(computer.values) > 20, "values by the right clock")
        computer.move_clock(YEARS_S)
        wait_until(lambda: computer.has_said("clock_ahead"), "it noticed")
        wait_until(lambda: computer.held >= 20, "values wait")
        computer.move_clock(0)
        wait_until(lambda: computer.has_said("clock_set"), "it was set")
        before = len(computer.values)
        wait_until(lambda: len(computer.values) > before + 20, "it goes on")
    check_row(computer.values, began_ns)
