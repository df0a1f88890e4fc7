"""Tennessee Eastman process: learned from one normal run, judged on runs in which a fault begins."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_episodes
from models.anomaly.benchmarks.promises import join_kept, keep_count
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Outcome, Tick, fill_calm, find_below
from models.anomaly.benchmarks.reading import (
    FileRejected,
    find_taught,
    naming,
    need_columns,
    read_numbers,
)
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import keep_promise
from models.anomaly.features import Mask, Matrix, plan_windows

TAGS = 52
ONSET_ROW = 160
STEP_MIN = 3.0
WINDOWS = plan_windows(1)
LIMIT_QUANTILE = 0.99
HARDLY_VISIBLE = {3, 9, 15}
"""Faults that leave the process' means and spreads as they were; FDR is also given without them."""


def read_run(file: Path) -> Matrix:
    """Return a run (rows, 52); the normal one is stored the other way round. Raises `FileRejected`."""
    values = read_numbers(file)
    if TAGS not in values.shape:
        raise FileRejected(
            f"{file}: has {values.shape[0]} lines of {values.shape[1]} numbers: a run has {TAGS} channels"
        )
    return np.ascontiguousarray(values.T if values.shape[1] != TAGS else values)


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
    """Return detection and false-alarm rates of rows, and the delay of alerts, over the fault files given."""
    normal, *others = files
    rows = read_run(normal)
    taught = need_columns(normal, find_taught(rows))
    with naming(normal):
        detector = make_contender(contender, WINDOWS).fit(rows[:, taught])
    limit = float(np.quantile(detector.held_out_, LIMIT_QUANTILE))
    promise = keep_promise(detector.held_out_, WINDOWS.longest, 60.0 * STEP_MIN)
    tick()
    found: dict[int, float] = {}
    false: list[Mask] = []
    delays_min: list[float] = []
    kept = []
    for file in others:
        fault = int(file.name[1:3])
        scores = fill_calm(detector.judge(read_run(file)[:, taught]).score)
        onset = len(scores) if fault == 0 else ONSET_ROW
        if fault and len(scores) <= onset:
            raise FileRejected(f"{file}: has {len(scores)} rows: its fault begins at row {ONSET_ROW}")
        false.append(scores[:onset] > limit)
        calm = find_alerting(scores[:onset], promise.limit, Persistence())
        kept.append(keep_count("before the onset", promise, onset * 60.0 * STEP_MIN, count_episodes(calm)))
        if fault:
            found[fault] = float((scores[onset:] > limit).mean())
            alerting = np.flatnonzero(find_alerting(scores, limit, Persistence())[onset:])
            delays_min += [float(alerting[0]) * STEP_MIN] if len(alerting) else []
        tick()
    visible = [share for fault, share in found.items() if fault not in HARDLY_VISIBLE]
    metrics: Metrics = {
        "far": float(np.concatenate(false).mean()) if false else None,
        "fdr": float(np.mean(list(found.values()))) if found else None,
        "fdr18": float(np.mean(visible)) if visible else None,
        "faults": len(found),
        "delay_min_median": float(np.median(delays_min)) if delays_min else None,
    }
    return Outcome(metrics, join_kept(kept))


def _find_files(folder: Path) -> list[Path]:
    """Return the normal run and the others; without d00.dat the second normal run teaches."""
    found = find_below(folder, "tep", "d[0-9][0-9]_te.dat")
    normal = find_below(folder, "tep", "d00.dat") or find_below(folder, "tep", "d00_te.dat")
    return normal + [file for file in found if file not in normal] if normal else []


TEP = Benchmark(
    name="tep",
    layout="tep/d00.dat (or d00_te.dat) and tep/dNN_te.dat",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"fdr18": 1, "fdr": 1, "far": -1, "delay_min_median": -1},
)
