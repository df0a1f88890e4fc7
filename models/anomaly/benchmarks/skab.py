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
from models.anomaly.benchmarks.promises import Kept, join_kept, keep_count
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Outcome, Tick, fill_calm, find_below
from models.anomaly.benchmarks.reading import (
    FileRejected,
    find_taught,
    is_count,
    naming,
    need_columns,
    read_heading,
)
from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import Promise, keep_promise
from models.anomaly.features import Mask, Vector, plan_windows
from models.anomaly.grid import hold_last, put_on_grid, step_ns
from models.anomaly.tables import TagTable, read_table
from models.recordings.header import TIME_COLUMNS
from models.telemetry import quality

GROUPS = ("valve1", "valve2", "other")
CALM_FILE = Path("anomaly-free") / "anomaly-free.csv"
"""A long run without a fault: it belongs to no metric, and shows what became of the promise."""
LEARNED_ROWS = 400
GRID_S = 1.0
WINDOWS = plan_windows(5)
LABEL = "anomaly"
LABELS = (LABEL, "changepoint")
SPAN_S_MAX = 7 * 86_400.0


class Judged(msgspec.Struct, frozen=True):
    """The labelled rows of one experiment after those learned, all (rows,); alerting: where an alert was on.

    `scores` are in units of the experiment's own limit: that makes experiments comparable.
    """

    seconds: Vector
    labels: Mask
    scores: Vector
    alerting: Mask
    promise: Promise

    @property
    def onset(self) -> int:
        """The first row of trouble; the number of rows where there is none."""
        return int(np.argmax(self.labels)) if self.labels.any() else len(self.labels)

    @property
    def healthy_s(self) -> float:
        """How long it was judged before the onset."""
        return float(self.seconds[self.onset - 1]) if self.onset else 0.0


def judge_experiment(file: Path, contender: str, learned: int = LEARNED_ROWS) -> Judged:
    """Learn from the file's first rows and judge the others; rows without a label count for nothing."""
    table, marks = read_experiment(file)
    if len(table.timestamps) <= learned:
        raise FileRejected(
            f"{file}: has {len(table.timestamps)} rows; {learned} are learned from, and the rest is judged: "
            "leave the file out of the folder"
        )
    grid_ns = step_ns(GRID_S)
    # An empty cell says that there is no value, which ends the holding of the last one.
    empty = {
        tag: np.where(np.isnan(column), quality.BAD, 0).astype(np.uint32)
        for tag, column in table.values.items()
    }
    grid = put_on_grid(table.timestamps, table.values, empty, list(table.values), grid_ns)
    rows = (table.timestamps // grid_ns - grid.first).astype(np.int64)
    values = hold_last(grid)
    taught = need_columns(file, find_taught(values[: rows[learned]]))
    values = values[:, taught]
    with naming(file):
        detector = make_contender(contender, WINDOWS).fit(values[: rows[learned]])
    promise = keep_promise(detector.held_out_, WINDOWS.longest, GRID_S)
    scores = detector.judge(values).score
    alerting = find_alerting(scores, promise.limit, promise.persistence)
    labelled = learned + np.flatnonzero(np.isfinite(marks[learned:]))
    judged = rows[labelled]
    seconds = (table.timestamps[labelled] - table.timestamps[learned]) / 1e9
    ratios = fill_calm(scores[judged]) / promise.limit
    return Judged(seconds, marks[labelled] > 0.5, ratios, alerting[judged], promise)


def read_experiment(file: Path) -> tuple[TagTable, Vector]:
    """Return the tags of a file, and its labels (rows,): NaN where one is missing, 0 where it has none."""
    names = [name for name in read_heading(file) if name and name.lower() not in TIME_COLUMNS]
    table = read_table(file, [name for name in names if not name.lower().startswith("unnamed")] or None)
    if LABEL not in table.values and file.parent.name in GROUPS:
        raise FileRejected(f"{file}:1: there is no column {LABEL!r}: it says in which rows the trouble is")
    marks = table.values.get(LABEL, np.zeros(len(table.timestamps)))
    if table.timestamps[-1] - table.timestamps[0] > SPAN_S_MAX * 1e9:
        raise FileRejected(f"{file}: spans more than {SPAN_S_MAX / 86_400.0:g} days: mend its times")
    tags = {tag: column for tag, column in table.values.items() if tag not in LABELS and not is_count(column)}
    return TagTable(table.timestamps, tags), marks


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
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
    metrics = _describe(pooled, judged) | {
        "events_found": len(found),
        "events": len(delays),
        "delay_s_median": float(np.median(found)) if found else None,
    }
    kept = [_count_kept("before the onset", one) for one in judged]
    calm = files[0].parent.parent / CALM_FILE
    if calm.is_file():
        kept.append(_count_kept("run without a fault", judge_calm(calm, contender)))
    return Outcome(metrics, join_kept(kept))


def judge_calm(file: Path, contender: str) -> Judged:
    """Learn from the first half of a run without a fault and judge the other."""
    table, _ = read_experiment(file)
    return judge_experiment(file, contender, len(table.timestamps) // 2)


def _count_kept(where: str, one: Judged) -> Kept:
    return keep_count(where, one.promise, one.healthy_s, count_episodes(one.alerting[: one.onset]))


def _find_delays_s(one: Judged) -> list[float | None]:
    begins = np.flatnonzero(np.diff(one.labels.astype(np.int8), prepend=0) == 1)
    delays = find_delays(one.labels, one.alerting)
    return [
        None if delay is None else float(one.seconds[begin + delay] - one.seconds[begin])
        for begin, delay in zip(begins.tolist(), delays, strict=True)
    ]


def _describe(pooled: Confusion, judged: Sequence[Judged]) -> Metrics:
    return {
        "f1": pooled.f1,
        "far": pooled.far,
        "mar": pooled.mar,
        "vus_pr": measure_vus_pr([(one.labels, one.scores) for one in judged]),
        "false_episodes": sum(count_episodes(one.alerting[: one.onset]) for one in judged),
        "hours": sum(one.healthy_s for one in judged) / 3600.0,
    }


def _find_files(folder: Path) -> list[Path]:
    """Return the experiments: what lies in a group's folder, and other tables that have the labels."""
    return [
        file
        for file in find_below(folder, "skab", "*/*.csv", "*.csv")
        if file.parent.name in GROUPS or LABEL in read_heading(file)
    ]


SKAB = Benchmark(
    name="skab",
    layout="skab/<valve1|valve2|other>/*.csv",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"f1": 1, "vus_pr": 1, "events_found": 1, "delay_s_median": -1, "false_episodes": -1},
)
