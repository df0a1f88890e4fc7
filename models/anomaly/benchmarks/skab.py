"""SKAB: a water-pump rig; each experiment is learned from its first 400 rows and judged on the rest."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import (
    Confusion,
    count_confusion,
    count_episodes,
    find_delays,
    measure_vus_pr,
)
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick, fill_calm, find_below
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import keep_promise
from models.anomaly.features import Mask, Vector, plan_windows
from models.anomaly.grid import hold_last, put_on_grid, step_ns
from models.anomaly.tables import read_table

LEARNED_ROWS = 400
GRID_S = 1.0
WINDOWS = plan_windows(5)
LABELS = ("anomaly", "changepoint")


class Judged(msgspec.Struct, frozen=True):
    """The rows of one experiment after those learned, all (rows,); alerting: where an alert was on.

    `scores` are in units of the experiment's own limit: that makes experiments comparable.
    """

    seconds: Vector
    labels: Mask
    scores: Vector
    alerting: Mask


def judge_experiment(file: Path, contender: str) -> Judged:
    """Learn from the file's first rows and judge the others."""
    table = read_table(file, None)
    labels = table.values["anomaly"] > 0.5
    tags = [tag for tag in table.values if tag not in LABELS]
    grid_ns = step_ns(GRID_S)
    grid = put_on_grid(table.timestamps, table.values, {}, tags, grid_ns)
    rows = (table.timestamps // grid_ns - grid.first).astype(np.int64)
    values = hold_last(grid)
    detector = make_contender(contender, WINDOWS).fit(values[: rows[LEARNED_ROWS]])
    limit = keep_promise(detector.held_out_, WINDOWS.longest, GRID_S).limit
    scores = detector.judge(values).score
    alerting = find_alerting(scores, limit, Persistence())
    judged = rows[LEARNED_ROWS:]
    seconds = (table.timestamps[LEARNED_ROWS:] - table.timestamps[LEARNED_ROWS]) / 1e9
    ratios = fill_calm(scores[judged]) / limit
    return Judged(seconds, labels[LEARNED_ROWS:], ratios, alerting[judged])


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return the pooled metrics; `f1`, `far`, `mar` count rows above the limit, the others alerts."""
    judged = []
    for file in files:
        judged.append(judge_experiment(file, contender))
        tick()
    pooled = count_confusion(
        np.concatenate([one.labels for one in judged]),
        np.concatenate([one.scores > 1.0 for one in judged]),
    )
    delays = [delay for one in judged for delay in _find_delays_s(one)]
    found = [delay for delay in delays if delay is not None]
    return _describe(pooled, judged) | {
        "events_found": len(found),
        "events": len(delays),
        "delay_s_median": float(np.median(found)) if found else None,
    }


def _find_delays_s(one: Judged) -> list[float | None]:
    begins = np.flatnonzero(np.diff(one.labels.astype(np.int8), prepend=0) == 1)
    delays = find_delays(one.labels, one.alerting)
    return [
        None if delay is None else float(one.seconds[begin + delay] - one.seconds[begin])
        for begin, delay in zip(begins.tolist(), delays, strict=True)
    ]


def _describe(pooled: Confusion, judged: Sequence[Judged]) -> Metrics:
    onsets = [int(np.argmax(one.labels)) if one.labels.any() else len(one.labels) for one in judged]
    healthy = list(zip(judged, onsets, strict=True))
    return {
        "f1": pooled.f1,
        "far": pooled.far,
        "mar": pooled.mar,
        "vus_pr": measure_vus_pr([(one.labels, one.scores) for one in judged]),
        "false_episodes": sum(count_episodes(one.alerting[:onset]) for one, onset in healthy),
        "hours": sum(float(one.seconds[onset - 1]) for one, onset in healthy if onset) / 3600.0,
    }


def _find_files(folder: Path) -> list[Path]:
    return [file for file in find_below(folder, "skab", "*/*.csv") if file.parent.name != "anomaly-free"]


SKAB = Benchmark(
    name="skab",
    layout="skab/<valve1|valve2|other>/*.csv",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"f1": 1, "vus_pr": 1, "events_found": 1, "delay_s_median": -1, "false_episodes": -1},
)
