"""Steps the machines of a plant along one grid of time, so that past and present are one run."""

import csv
import math
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.simulator.machines import CHANCES, TURBULENCE_CHANCES, FaultKind, measure
from edge.simulator.physics import (
    BLOCK_STEPS,
    Drive,
    Faults,
    advance,
    draw_noise,
    find_ambient,
    find_setpoint,
    grow_severity,
    rest,
)
from edge.simulator.plant import FaultSettings, PlantSettings, SimulatedMachineSettings, find_stuck_tag
from edge.simulator.waveforms import make_waveform
from models.errors import ForewarnError

# Twelve of the slowest time constant (600 s): what is left of the first state is below every resolution.
SETTLE_S = 7200.0
SETTLE_STEPS_MAX = 50_000
UNBALANCE_MM_S = 1.5


class HistoryRejected(ForewarnError):
    """The history cannot be simulated as asked; the message says why."""

    exit_code = 3


class Simulation:
    """One machine of a plant, at one step of the grid: step 0 is the start, steps before it are the past.

    What a step shows depends on the plant's settings and on the step alone, not on when a run began.
    """

    def __init__(self, plant: PlantSettings, machine: SimulatedMachineSettings, first_step: int) -> None:
        self.machine = machine
        self.step = first_step - _count_settle_steps(plant)
        self._step_s = plant.step_s
        self._time_scale = plant.time_scale
        self._load = machine.load.build()
        self._faults = [fault for fault in plant.faults if fault.machine == machine.path]
        self._stream = f"{plant.seed}/{machine.path}"
        self._block: tuple[int, list[tuple[float, ...]]] | None = None
        self._state = rest(self._load)
        self._stuck: dict[str, float] = {}
        self.advance_to(first_step)

    def advance_to(self, step: int) -> None:
        """Step on until `step`; a step that has been passed stays passed."""
        while self.step < step:
            self.step += 1
            self._advance()

    def measure(self) -> dict[str, float]:
        """Return what the machine's tags show at this step."""
        chance = self._draw(self.step)
        shown = measure(self.machine.kind, self._state, self._drive(self.step * self._step_s), chance)
        return {tag: self._stuck.get(tag, shown[tag]) for tag in self.machine.tags}

    def listen(self) -> "array[float]":
        """Return what the machine's accelerometer hears at this step (m/s2)."""
        assert self.machine.waveform is not None  # only such a machine is asked
        drive = self._drive(self.step * self._step_s)
        truth = self.machine.kind.look(self._state, drive, (0.0,) * TURBULENCE_CHANCES)
        return make_waveform(
            self.machine.waveform,
            f"{self._stream}/waveform/{self.step}",
            shaft_hz=truth["speed"] / 60.0,
            # Wear is heard as strokes: what the shaft itself shakes is that of a sound bearing.
            velocity_mm_s=UNBALANCE_MM_S * self._state.speed**2,
            severity=drive.faults.bearing if self._state.speed > 0.1 else 0.0,
        )

    def _advance(self) -> None:
        time_s = self.step * self._step_s
        drive = self._drive(time_s)
        chance = self._draw(self.step)
        self._state = advance(
            self.machine.kind.character,
            self._load,
            self._state,
            drive,
            chance=(chance[0], chance[1]),
            dt_s=self._step_s * self._time_scale,
        )
        for fault in self._faults:
            if fault.kind == "stuck-tag" and time_s >= fault.onset_s:
                self._freeze(find_stuck_tag(fault, self.machine))

    def _freeze(self, tag: str) -> None:
        if tag not in self._stuck:
            self._stuck[tag] = self.measure()[tag]

    def _drive(self, time_s: float) -> Drive:
        plant_s = time_s * self._time_scale
        failures = [fault.failure_s for fault in self._faults if fault.failure_s is not None]
        return Drive(
            setpoint=find_setpoint(self._load, self._stream, plant_s),
            ambient_c=find_ambient(plant_s),
            running=not failures or time_s < min(failures),
            faults=Faults(
                bearing=_find_severity(self._faults, "bearing", time_s),
                cavitation=_find_severity(self._faults, "cavitation", time_s),
                misalignment=_find_severity(self._faults, "misalignment", time_s),
            ),
        )

    def _draw(self, step: int) -> tuple[float, ...]:
        block, index = divmod(step, BLOCK_STEPS)
        if self._block is None or self._block[0] != block:
            self._block = (block, draw_noise(self._stream, block, CHANCES))
        return self._block[1][index]


def _find_severity(faults: list[FaultSettings], kind: FaultKind, time_s: float) -> float:
    return max(
        (
            grow_severity(time_s, fault.onset_s, fault.failure_s)
            for fault in faults
            if fault.kind == kind and fault.failure_s is not None
        ),
        default=0.0,
    )


def _count_settle_steps(plant: PlantSettings) -> int:
    return min(math.ceil(SETTLE_S / (plant.step_s * plant.time_scale)), SETTLE_STEPS_MAX)


def begin(plant: PlantSettings, step: int) -> list[Simulation]:
    """Return every machine of the plant at `step`; before a fault's onset when one has begun by then."""
    onsets = [math.floor(fault.onset_s / plant.step_s) - 1 for fault in plant.faults]
    simulations = [Simulation(plant, machine, min([step, *onsets])) for machine in plant.machines]
    for simulation in simulations:
        simulation.advance_to(step)
    return simulations


def simulate_past(
    plant: PlantSettings, history_s: float, interval_s: float
) -> Iterator[tuple[int, list[dict[str, float]]]]:
    """Yield (step, values of each machine) over the `history_s` before the start, without faults."""
    stride = round(interval_s / plant.step_s)
    if stride < 1 or not math.isclose(stride * plant.step_s, interval_s, rel_tol=1e-6):
        raise HistoryRejected(
            f"--interval {interval_s:g} is not a multiple of the plant's step_s ({plant.step_s:g} s)"
        )
    rows = int(history_s / interval_s + 1e-9)
    healthy = plant.changed(faults=())
    simulations = begin(healthy, -rows * stride)
    for row in range(-rows, 0):
        for simulation in simulations:
            simulation.advance_to(row * stride)
        yield row * stride, [simulation.measure() for simulation in simulations]


def write_past(
    plant: PlantSettings, history_s: float, interval_s: float, until_ns: int, folder: Path
) -> list[Path]:
    """Write one CSV per machine with its simulated past up to `until_ns`, not included; return the files."""
    rows: list[list[list[object]]] = [[] for _ in plant.machines]
    for step, values in simulate_past(plant, history_s, interval_s):
        timestamp = format_instant(until_ns + round(step * plant.step_s * 1e9))
        for column, shown in zip(rows, values, strict=True):
            column.append([timestamp, *shown.values()])
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for machine, lines in zip(plant.machines, rows, strict=True):
        file = folder / f"{machine.path.machine}.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["timestamp", *machine.tags])
            writer.writerows(lines)
        files.append(file)
    return files


def format_instant(timestamp_ns: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601 in UTC, to the microsecond."""
    seconds, rest_ns = divmod(timestamp_ns, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return whole.isoformat(timespec="microseconds").replace("+00:00", "Z")
