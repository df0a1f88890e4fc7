"""The simulated plant's physics in front of a watched machine, without the wire between."""

from pathlib import Path

import numpy as np

from cloud.watch.observations import Observation
from cloud.watch.rounds import judge_due
from cloud.watch.watched import WatchedMachine
from edge.simulator.machines import FaultKind
from edge.simulator.plant import FaultSettings, PlantSettings, choose_machine
from edge.simulator.simulation import begin, simulate_past
from models.anomaly.bundle import Bundle
from models.anomaly.together import Seating
from models.anomaly.training import train_bundle
from models.settings import load_settings
from models.telemetry import Frame, MachinePath

PLANT = Path(__file__).parent.parent.parent / "configs" / "demo" / "plant.yaml"
HISTORY_S = 1_800.0
INTERVAL_S = 0.5
START_NS = 1_795_337_912_000_000_000
ONSET_S = 30.0
ON_DELAY_S = 5.0


def load_plant(seed: int, machine: MachinePath | None = None, *faults: FaultSettings) -> PlantSettings:
    """Return the demo's plant with another seed, or one machine of it."""
    plant = load_settings(PLANT, PlantSettings)
    kept = tuple(one for one in plant.machines if machine in (None, one.path))
    return plant.changed(seed=seed, machines=kept, faults=faults)


def list_machines() -> list[MachinePath]:
    """Return the machines of the demo's plant."""
    return [machine.path for machine in load_plant(1).machines]


def make_fault(kind: FaultKind, failure_s: float = 110.0) -> FaultSettings:
    """Return a fault of the machine that shows it best, from `ONSET_S` on."""
    machine = choose_machine(kind, load_plant(1).machines)
    assert machine is not None
    ends = None if kind == "stuck-tag" else failure_s
    return FaultSettings(machine=machine, kind=kind, onset_s=ONSET_S, failure_s=ends)


def learn(seed: int, machine: MachinePath) -> tuple[Bundle, Frame]:
    """Return what half an hour of healthy history teaches, and the history."""
    rows = [values for _, (values,) in simulate_past(load_plant(seed, machine), HISTORY_S, INTERVAL_S)]
    stamps = [START_NS + round((row - len(rows)) * INTERVAL_S * 1e9) for row in range(len(rows))]
    columns = {tag: [row[tag] for row in rows] for tag in rows[0]}
    bundle = train_bundle(
        str(machine),
        np.array(stamps, dtype=np.int64),
        {tag: np.array(column) for tag, column in columns.items()},
        {},
        grid_s=INTERVAL_S,
        trained_ns=START_NS,
    )
    return bundle, Frame(stamps, columns)


def watch(seed: int, machine: MachinePath, seconds: float, *faults: FaultSettings) -> list[Observation]:
    """Return what is observed of a machine in its first `seconds`; rows arrive two at a time."""
    bundle, past = learn(seed, machine)
    watched = WatchedMachine(machine, lateness_ns=0)
    watched.take_charge(bundle)
    watched.put([past])
    list(judge_due([watched], Seating()))
    plant = load_plant(seed, machine, *faults)
    (simulation,) = begin(plant, 0)
    stride = round(INTERVAL_S / plant.step_s)
    seen: list[Observation] = []
    for second in range(round(seconds)):
        rows = []
        for half in (0, 1):
            simulation.advance_to((2 * second + half) * stride)
            rows.append(simulation.measure())
        stamps = [START_NS + (2 * second + half) * 500_000_000 for half in (0, 1)]
        watched.put([Frame(stamps, {tag: [row[tag] for row in rows] for tag in rows[0]})])
        seen += [one for _, found, _ in judge_due([watched], Seating()) for one in found]
    return [one for one in seen if one.timestamp > START_NS]


def find_alert(seen: list[Observation]) -> tuple[float, Observation] | None:
    """Return when (seconds after the start) a score has first been above its limit for the on-delay."""
    since: int | None = None
    for one in seen:
        if (one.score or 0.0) <= (one.limit or np.inf):
            since = None
            continue
        since = since or one.timestamp
        if one.timestamp - since >= ON_DELAY_S * 1e9:
            return (one.timestamp - START_NS) / 1e9, one
    return None
