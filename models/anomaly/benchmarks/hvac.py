"""LBNL air handlers: each normal day is judged by what the others teach, fault days by all of them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import measure_auc
from models.anomaly.benchmarks.protocol import Benchmark, Metric, Metrics, Tick, find_below, join_apart
from models.anomaly.features import Mask, Matrix, Vector, plan_windows
from models.anomaly.regimes import Condition, Regimes, identify_regimes, learn_regimes

WINDOWS = plan_windows(5)
MISLABELLED = {"MZVAV-2-1": {"8/30/2007"}}
"""Documented as a fault (a heating valve that leaks), labelled 0 in the file: counted as the fault it is."""
DAY_QUANTILE = 0.9
"""A day is as strange as a tenth of its minutes are: some faults show in one mode of running only."""
ROWS_MIN = 600
NORMAL_DAYS_MIN = 2
MODES = ("Supply Air Fan Status", "Occupancy Mode Indicator")
"""Columns that say, by 0 and 1, how the unit is run: declared running conditions."""


class Days(msgspec.Struct, frozen=True):
    """The days of one air handler, minute by minute (rows, tags) each, and which are faulty (days,)."""

    values: list[Matrix]
    faulty: Mask
    conditions: list[Condition]


def read_days(file: Path) -> Days:
    """Return the file's days in order."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        names, *rows = csv.reader(lines)
    by_day: dict[str, list[list[str]]] = {}
    for row in rows:
        by_day.setdefault(row[0].partition(" ")[0], []).append(row)
    wrong = MISLABELLED.get(file.stem, set())
    kept = {day: table for day, table in by_day.items() if len(table) >= ROWS_MIN}
    values = [np.array([[_number(cell) for cell in row[1:-1]] for row in table]) for table in kept.values()]
    faulty = [
        day in wrong or np.mean([_number(row[-1]) for row in table]) > 0.5 for day, table in kept.items()
    ]
    conditions = [
        Condition(column, 0.5) for column, name in enumerate(names[1:-1]) if name.strip().endswith(MODES)
    ]
    return Days(values, np.array(faulty), conditions)


def judge_days(days: Days, contender: str, tick: Tick) -> tuple[list[Vector], list[Vector]]:
    """Return the scores of every normal day, left out of learning in turn, and of every fault day."""
    normal = [day for day, sick in zip(days.values, days.faulty, strict=True) if not sick]
    faults = [day for day, sick in zip(days.values, days.faulty, strict=True) if sick]
    healthy_scores = []
    for left_out, day in enumerate(normal):
        others = [other for number, other in enumerate(normal) if number != left_out]
        healthy_scores.append(_score(others, [day], days.conditions, contender)[0])
        tick()
    return healthy_scores, _score(normal, faults, days.conditions, contender)


def _score(
    normal: Sequence[Matrix], judged: Sequence[Matrix], conditions: Sequence[Condition], contender: str
) -> list[Vector]:
    everything = np.concatenate(normal)
    regimes = learn_regimes(everything, identify_regimes(everything, conditions))
    rows = join_apart([_standardise(day, conditions, regimes) for day in normal], WINDOWS.longest)
    varying = np.nanmax(rows, axis=0) > np.nanmin(rows, axis=0)
    detector = make_contender(contender, WINDOWS).fit(rows[:, varying])
    scores = [detector.judge(_standardise(day, conditions, regimes)[:, varying]).score for day in judged]
    # A day wholly in a way of running never seen while learning has no score: it raises no alarm.
    return [one[np.isfinite(one)] if np.isfinite(one).any() else np.zeros(1) for one in scores]


def _standardise(day: Matrix, conditions: Sequence[Condition], regimes: Regimes) -> Matrix:
    return regimes.standardise(day, identify_regimes(day, conditions))


def is_usable(days: Days) -> bool:
    """Return whether there are days to learn from while one is left out, and days to find."""
    return int((~days.faulty).sum()) >= NORMAL_DAYS_MIN and bool(days.faulty.any())


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return the mean AUC of minutes, and the fault days above every normal day of their file."""
    aucs, above, total = [], 0, 0
    apart: Metrics = {}
    for file in files:
        days = read_days(file)
        if not is_usable(days):
            continue
        healthy, sick = judge_days(days, contender, tick)
        marks = np.concatenate([np.zeros(sum(map(len, healthy))), np.ones(sum(map(len, sick)))]) > 0
        aucs.append(measure_auc(marks, np.concatenate([*healthy, *sick])))
        bar = max(float(np.quantile(day, DAY_QUANTILE)) for day in healthy)
        higher = sum(float(np.quantile(day, DAY_QUANTILE)) > bar for day in sick)
        above, total = above + higher, total + len(sick)
        named: dict[str, Metric] = {"fault_days_above_all_normal": higher, "fault_days": len(sick)}
        apart |= {f"{metric}_{file.stem}": value for metric, value in (named | {"auc": aucs[-1]}).items()}
    return {
        "auc": float(np.mean(aucs)) if aucs else None,
        "fault_days_above_all_normal": above,
        "fault_days": total,
    } | (apart if len(files) > 1 else {})


def _count_normal(file: Path) -> int:
    days = read_days(file)
    return int((~days.faulty).sum()) if is_usable(days) else 0


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _find_files(folder: Path) -> list[Path]:
    return [*find_below(folder, "hvac", "*ZVAV*.csv"), *find_below(folder, "hvac", "SZCAV*.csv")]


HVAC = Benchmark(
    name="hvac",
    layout="hvac/*ZVAV*.csv, hvac/SZCAV*.csv",
    find_files=_find_files,
    count_steps=lambda files, _: sum(_count_normal(file) for file in files),
    run=run,
    headline={"auc": 1, "fault_days_above_all_normal": 1, "fault_days": 0},
)
