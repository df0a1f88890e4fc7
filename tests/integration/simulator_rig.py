"""Starts `forewarn simulate` for tests, and reads its machines as the edge would."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.drivers import Driver
from edge.drivers.shelf import MachineSettings
from models.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent.parent
PLANT_FILE = ROOT / "configs" / "demo" / "plant.yaml"
COMMAND = [sys.executable, "-c", "from forewarn.cli import main; main()", "simulate"]
READY_S_MAX = 30.0
END_S_MAX = 60.0

Start = Callable[..., "Simulator"]


class EdgeSection(Settings):
    """What `machines:` of edge.yaml must be."""

    machines: tuple[MachineSettings, ...]


class Simulator:
    """A running `forewarn simulate`, and the first line that it said."""

    def __init__(self, options: Sequence[str], folder: Path) -> None:
        self.edge_file = folder / "edge.yaml"
        command = [*COMMAND, "--edge-config", str(self.edge_file), *options]
        self.program = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ready: dict[str, Any] = self.read_line()

    def read_line(self) -> dict[str, Any]:
        """Return the next JSON line of its output."""
        assert self.program.stdout is not None
        line = self.program.stdout.readline()
        if not line:
            _, said = self.program.communicate(timeout=END_S_MAX)
            pytest.fail(f"the simulator ended with {self.program.returncode}: {said}")
        return json.loads(line)

    def load_machines(self) -> dict[str, MachineSettings]:
        """Return the machines as an edge agent would load them, by name."""
        machines = load_settings(self.edge_file, EdgeSection).machines
        return {machine.path.machine: machine for machine in machines}

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.program.send_signal(signal.SIGTERM)
        return self.program.wait(END_S_MAX)


def keep_simulators(folder: Path) -> Iterator[Start]:
    """Yield what starts simulators; end those that still run."""
    running: list[Simulator] = []

    def begin(*options: str) -> Simulator:
        running.append(Simulator(options, folder))
        return running[-1]

    yield begin
    for simulator in running:
        if simulator.program.poll() is None:
            simulator.program.kill()
        simulator.program.communicate()


async def gather(
    driver: Driver, enough: Callable[[dict[str, list[tuple[int, float]]]], bool]
) -> dict[str, Any]:
    """Return (timestamp, value) of each tag, as the driver reads them, once there is `enough`."""
    seen: dict[str, list[tuple[int, float]]] = {}
    await driver.connect()
    try:
        async with asyncio.timeout(END_S_MAX):
            while not enough(seen):
                for frame in await driver.read():
                    for tag, values in frame.values.items():
                        pairs = zip(frame.timestamps, values, strict=True)
                        seen.setdefault(tag, []).extend(pair for pair in pairs if pair[1] is not None)
                await asyncio.sleep(driver.interval_s or 0)
    finally:
        await driver.close()
    return seen
