"""Machines under watch for the benchmarks, and a program that says what memory some of them take.

`python -m tests.bench.watched_machines FOLDER MACHINES` loads the bundle in FOLDER once for each of so many
machines, judges half a minute of them, and prints its resident kilobytes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from cloud.watch.progress import Progress
from cloud.watch.rounds import judge_due
from cloud.watch.watched import WatchedMachine
from models.anomaly.bundle import Bundle, load_current
from models.anomaly.detectors.shelf import restore_detector
from models.anomaly.features import Matrix
from models.anomaly.together import Seating
from models.anomaly.training import train_bundle
from models.telemetry import Frame, MachinePath

TAGS = 10
ROWS = 3_600
WARM_ROWS = 200
STEP_NS = 1_000_000_000
START_NS = 1_795_337_912_000_000_000
LEARNED = MachinePath("a", "b", "c", "d")


def make_rows(rows: int, seed: int = 0) -> Matrix:
    """Return a machine's rows: tags that follow a load, with noise."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 60), np.ones(60) / 8.0, mode="valid")[:rows]
    return 20.0 + np.outer(load, np.arange(1, TAGS + 1)) + 0.3 * rng.normal(size=(rows, TAGS))


def train(rows: int = ROWS, seed: int = 0, detector: str = "fuse") -> Bundle:
    """Return what the first rows of a machine teach."""
    stamps = START_NS + np.arange(rows, dtype=np.int64) * STEP_NS
    columns = {f"tag-{tag}": column for tag, column in enumerate(make_rows(rows, seed).T)}
    return train_bundle(str(LEARNED), stamps, columns, {}, grid_s=1.0, trained_ns=START_NS, detector=detector)


def copy_bundle(bundle: Bundle) -> Bundle:
    """Return the bundle with arrays of its own, as another machine's would have."""
    arrays = {name: array.copy() for name, array in bundle.detector.arrays().items()}
    return msgspec.structs.replace(bundle, detector=restore_detector(bundle.card.detector, arrays))


def make_frames(values: Matrix, first: int) -> list[Frame]:
    """Return each row as a frame of its own, as it comes from a gateway; the first is row `first`."""
    return [
        Frame([START_NS + (first + row) * STEP_NS], {f"tag-{tag}": [one] for tag, one in enumerate(said)})
        for row, said in enumerate(values.tolist())
    ]


def watch(bundles: Sequence[Bundle]) -> list[WatchedMachine]:
    """Return machines whose windows are filled and whose first row is due next, as after a restart."""
    machines = []
    stop_ns = START_NS + ROWS * STEP_NS
    warm = make_frames(make_rows(ROWS)[-WARM_ROWS:], ROWS - WARM_ROWS)
    for number, bundle in enumerate(bundles):
        machine = WatchedMachine(MachinePath("a", "b", "c", f"m-{number}"), 0)
        machine.resume(Progress(stop_ns), stop_ns)
        machine.take_charge(bundle)
        machine.put(warm)
        machines.append(machine)
    return machines


def measure_memory(folder: Path, machines: int) -> None:
    """Print what this program takes with so many machines."""
    watched = watch([load_current(folder, LEARNED) for _ in range(machines)])
    seating = Seating([one.bundle.detector for one in watched if one.bundle is not None])
    for frame in make_frames(make_rows(ROWS + 30)[ROWS:], ROWS):
        for machine in watched:
            machine.put([frame])
        for _ in judge_due(watched, seating):
            pass
    print(Path("/proc/self/smaps_rollup").read_text().split("Rss:")[1].split()[0])


if __name__ == "__main__":
    measure_memory(Path(sys.argv[1]), int(sys.argv[2]))
