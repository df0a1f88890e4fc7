"""LBNL air handlers: each normal day is judged by what the others teach, fault days by all of them."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_episodes, measure_auc
from models.anomaly.benchmarks.promises import Kept, join_kept, keep_count
from models.anomaly.benchmarks.protocol import (
    Benchmark,
    Metric,
    Metrics,
    Outcome,
    Tick,
    find_below,
    join_apart,
)
from models.anomaly.benchmarks.reading import (
    FileRejected,
    find_taught,
    find_varying,
    is_count,
    naming,
    need_columns,
    read_cells,
    read_heading,
)
from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import Promise, keep_promise
from models.anomaly.detectors import Detector
from models.anomaly.features import Mask, Matrix, Vector, plan_windows
from models.anomaly.regimes import Condition, Regimes, identify_regimes, learn_regimes
from models.recordings.header import TIME_COLUMNS

STEP_S = 60.0
WINDOWS = plan_windows(5)
MISLABELLED = {"MZVAV-2-1": {"8/30/2007"}}
"""Documented as a fault (a heating valve that leaks), labelled 0 in the file: counted as the fault it is."""
DAY_QUANTILE = 0.9
"""A day is as strange as a tenth of its minutes are: some faults show in one mode of running only."""
ROWS_MIN = 600
NORMAL_DAYS_MIN = 2
MODES = ("Supply Air Fan Status", "Occupancy Mode Indicator")
"""Columns that say, by 0 and 1, how the unit is run: declared running conditions."""
MARK = "fault detection"
"""In the name of the column that says by 1 that the unit is faulty."""


class Days(msgspec.Struct, frozen=True):
    """The days of one air handler, minute by minute (rows, tags) each, and which are faulty (days,)."""

    file: Path
    values: list[Matrix]
    faulty: Mask
    conditions: list[Condition]

    @property
    def is_usable(self) -> bool:
        """Whether there are days to learn from while one is left out, and days to find."""
        return self.count_normal() >= NORMAL_DAYS_MIN and bool(self.faulty.any())

    def count_normal(self) -> int:
        """Return how many days are normal."""
        return int((~self.faulty).sum())


def read_days(file: Path) -> Days:
    """Return the file's days in order; raise `FileRejected`."""
    cells = read_cells(file)
    if len(cells.names) < 3:
        raise FileRejected(f"{file}:1: names no columns of times, tags and faults")
    times = next((place for place, name in enumerate(cells.names) if name.lower() in TIME_COLUMNS), 0)
    marked = [place for place, name in enumerate(cells.names) if MARK in name.lower()]
    mark = marked[-1] if marked else len(cells.names) - 1
    by_day: dict[str, list[int]] = {}
    for row, cell in enumerate(cells.rows):
        by_day.setdefault(re.split("[ T]", cell[times].strip())[0], []).append(row)
    kept = {day: rows for day, rows in by_day.items() if len(rows) >= ROWS_MIN}
    columns = {
        cells.names[place]: cells.column(place)
        for place in range(len(cells.names))
        if place not in (times, mark) and cells.names[place]
    }
    table = np.column_stack([column for column in columns.values() if not is_count(column)])
    labels = cells.column(mark)
    wrong = MISLABELLED.get(file.stem, set())
    faulty = [day in wrong or bool(np.mean(labels[rows] > 0.5) > 0.5) for day, rows in kept.items()]
    names = [name for name, column in columns.items() if not is_count(column)]
    conditions = [
        Condition(place, 0.5)
        for place, name in enumerate(names)
        if name.endswith(MODES) and find_taught(table[:, [place]])[0]
    ]
    return Days(file, [table[rows] for rows in kept.values()], np.array(faulty, dtype=bool), conditions)


class Learned(msgspec.Struct, frozen=True):
    """What some days taught: a detector of the columns that `varying` marks, the regimes, the promise."""

    detector: Detector
    varying: Mask
    conditions: Sequence[Condition]
    regimes: Regimes
    promise: Promise

    def score(self, day: Matrix) -> Vector:
        """Return the scores (rows,), NaN where a row cannot be judged."""
        return self.detector.judge(_standardise(day, self.conditions, self.regimes)[:, self.varying]).score


def learn_days(days: Days, left_out: int | None, contender: str) -> Learned:
    """Return what the normal days teach, but for the one left out."""
    normal = [day for day, sick in zip(days.values, days.faulty, strict=True) if not sick]
    taught = [day for number, day in enumerate(normal) if number != left_out]
    everything = np.concatenate(taught)
    regimes = learn_regimes(everything, identify_regimes(everything, days.conditions))
    rows = join_apart([_standardise(day, days.conditions, regimes) for day in taught], WINDOWS.longest)
    varying = need_columns(days.file, find_varying(rows))
    with naming(days.file):
        detector = make_contender(contender, WINDOWS).fit(rows[:, varying])
    promise = keep_promise(detector.held_out_, WINDOWS.longest, STEP_S)
    return Learned(detector, varying, days.conditions, regimes, promise)


def judge_days(days: Days, contender: str, tick: Tick) -> tuple[list[Vector], list[Vector], list[Kept]]:
    """Return scores of normal days, each left out of learning in turn, scores of fault days, and promises."""
    normal = [day for day, sick in zip(days.values, days.faulty, strict=True) if not sick]
    faults = [day for day, sick in zip(days.values, days.faulty, strict=True) if sick]
    healthy, kept = [], []
    for left_out, day in enumerate(normal):
        learned = learn_days(days, left_out, contender)
        scores = learned.score(day)
        alerts = count_episodes(find_alerting(scores, learned.promise.limit, learned.promise.persistence))
        kept.append(keep_count("normal days left out", learned.promise, len(day) * STEP_S, alerts))
        healthy.append(scores)
        tick()
    everything = learn_days(days, None, contender)
    sick_scores = [everything.score(day) for day in faults]
    return [_drop_unjudged(one) for one in healthy], [_drop_unjudged(one) for one in sick_scores], kept


def _drop_unjudged(scores: Vector) -> Vector:
    # A day wholly in a way of running never seen while learning has no score: it raises no alarm.
    judged = scores[np.isfinite(scores)]
    return judged if len(judged) else np.zeros(1)


def _standardise(day: Matrix, conditions: Sequence[Condition], regimes: Regimes) -> Matrix:
    return regimes.standardise(day, identify_regimes(day, conditions))


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
    """Return the mean AUC of minutes, and the fault days above every normal day of their file."""
    aucs, above, total = [], 0, 0
    apart: Metrics = {}
    kept: list[Kept] = []
    for days in map(read_days, files):
        if not days.is_usable:
            continue
        healthy, sick, promises = judge_days(days, contender, tick)
        kept += promises
        marks = np.concatenate([np.zeros(sum(map(len, healthy))), np.ones(sum(map(len, sick)))]) > 0
        aucs.append(measure_auc(marks, np.concatenate([*healthy, *sick])))
        bar = max(float(np.quantile(day, DAY_QUANTILE)) for day in healthy)
        higher = sum(float(np.quantile(day, DAY_QUANTILE)) > bar for day in sick)
        above, total = above + higher, total + len(sick)
        named: dict[str, Metric] = {"fault_days_above_all_normal": higher, "fault_days": len(sick)}
        apart |= {
            f"{metric}_{days.file.stem}": value for metric, value in (named | {"auc": aucs[-1]}).items()
        }
    metrics = {
        "auc": float(np.mean(aucs)) if aucs else None,
        "fault_days_above_all_normal": above,
        "fault_days": total,
    } | (apart if len(files) > 1 else {})
    return Outcome(metrics, join_kept(kept))


def _count_normal(file: Path) -> int:
    days = read_days(file)
    return days.count_normal() if days.is_usable else 0


def _find_files(folder: Path) -> list[Path]:
    """Return the units: tables whose last columns tell the fault, whatever they are called."""
    found = find_below(folder, "hvac", "*.csv")
    return [file for file in found if MARK in " ".join(read_heading(file)).lower()]


HVAC = Benchmark(
    name="hvac",
    layout="hvac/*.csv with a column Fault Detection Ground Truth",
    find_files=_find_files,
    count_steps=lambda files, _: sum(_count_normal(file) for file in files),
    run=run,
    headline={"auc": 1, "fault_days_above_all_normal": 1, "fault_days": 0},
)
