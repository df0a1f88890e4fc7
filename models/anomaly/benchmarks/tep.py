"""Tennessee Eastman process: learned from one normal run, judged on runs in which a fault begins."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick, fill_calm, find_below
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.detectors import Detector
from models.anomaly.features import Mask, Matrix, Vector, plan_windows

TAGS = 52
ONSET_ROW = 160
STEP_MIN = 3.0
WINDOWS = plan_windows(1)
LIMIT_QUANTILE = 0.99
HARDLY_VISIBLE = {3, 9, 15}
"""Faults that leave the process' means and spreads as they were; FDR is also given without them."""


def read_run(file: Path) -> Matrix:
    """Return a run (rows, 52); the normal one is stored the other way round."""
    values = np.loadtxt(file)
    return np.ascontiguousarray(values.T if values.shape[1] != TAGS else values)


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return detection and false-alarm rates of rows, and the delay of alerts, over the fault files given."""
    normal = next(file for file in files if file.name == "d00.dat")
    detector = make_contender(contender, WINDOWS).fit(read_run(normal))
    limit = float(np.quantile(detector.held_out_, LIMIT_QUANTILE))
    tick()
    found: dict[int, float] = {}
    false: list[Mask] = []
    delays_min: list[float] = []
    for file in (file for file in files if file != normal):
        fault = int(file.name[1:3])
        scores = _score(detector, file)
        onset = len(scores) if fault == 0 else ONSET_ROW
        false.append(scores[:onset] > limit)
        if fault:
            found[fault] = float((scores[onset:] > limit).mean())
            alerting = np.flatnonzero(find_alerting(scores, limit, Persistence())[onset:])
            delays_min += [float(alerting[0]) * STEP_MIN] if len(alerting) else []
        tick()
    visible = [share for fault, share in found.items() if fault not in HARDLY_VISIBLE]
    return {
        "far": float(np.concatenate(false).mean()) if false else None,
        "fdr": float(np.mean(list(found.values()))) if found else None,
        "fdr18": float(np.mean(visible)) if visible else None,
        "faults": len(found),
        "delay_min_median": float(np.median(delays_min)) if delays_min else None,
    }


def _score(detector: Detector, file: Path) -> Vector:
    return fill_calm(detector.judge(read_run(file)).score)


def _find_files(folder: Path) -> list[Path]:
    found = find_below(folder, "tep", "d[0-9][0-9]_te.dat")
    normal = find_below(folder, "tep", "d00.dat")
    return normal + found if normal else []


TEP = Benchmark(
    name="tep",
    layout="tep/d00.dat and tep/dNN_te.dat",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"fdr18": 1, "fdr": 1, "far": -1, "delay_min_median": -1},
)
