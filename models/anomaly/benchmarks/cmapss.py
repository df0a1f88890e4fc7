"""C-MAPSS turbofans run to failure: alerts learned from young engines, remaining life from failed ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_episodes
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick, find_below, join_apart
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import MONTH_S, keep_promise
from models.anomaly.features import Matrix, plan_windows

LEARNED_CYCLES = 40
LIFE_KNOWN_CYCLES = 125
"""Farther from its end an engine counts as healthy, as in the published work on this set."""
AHEAD_CYCLES = 20
WINDOWS = plan_windows(1)
ASKED_PER_1000 = 0.5


class Warned(msgspec.Struct, frozen=True):
    """One engine: how many cycles before its end it was first warned of (None: never), and false alerts."""

    lead: int | None
    false_episodes: int
    healthy_cycles: int


def read_engines(file: Path) -> dict[str, Matrix]:
    """Return the cycles (cycles, settings and measurements) of each engine, named by file and number."""
    table = np.loadtxt(file)
    numbers = table[:, 0].astype(int)
    return {f"{file.stem}/{number}": table[numbers == number, 2:] for number in np.unique(numbers)}


def is_taught(engine: str) -> bool:
    """Return whether an engine teaches; the others are judged. By hash, so that no order plays a part."""
    return hashlib.sha256(engine.encode()).digest()[0] % 2 == 0


def warn_engines(engines: dict[str, Matrix], contender: str) -> list[Warned]:
    """Learn from the first cycles of half of the engines and judge the others over their whole lives."""
    young = [cycles[:LEARNED_CYCLES] for name, cycles in engines.items() if is_taught(name)]
    rows = join_apart(young, WINDOWS.longest)
    varying = np.nanmax(rows, axis=0) > np.nanmin(rows, axis=0)
    detector = make_contender(contender, WINDOWS).fit(rows[:, varying])
    # A thousand cycles stand for the month of the promise.
    limit = keep_promise(detector.held_out_, WINDOWS.longest, MONTH_S / 1000.0, ASKED_PER_1000).limit
    warned = []
    for name, cycles in engines.items():
        if not is_taught(name):
            scores = detector.judge(cycles[:, varying]).score
            alerting = find_alerting(scores, limit, Persistence())
            healthy = max(len(cycles) - LIFE_KNOWN_CYCLES, 0)
            late = np.flatnonzero(alerting[healthy:])
            lead = len(cycles) - healthy - int(late[0]) - 1 if len(late) else None
            warned.append(Warned(lead, count_episodes(alerting[:healthy]), healthy))
    return warned


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return shares of engines warned in time, median lead in cycles, false alerts per 1,000 healthy cycles."""
    warned: list[Warned] = []
    for file in files:
        warned += warn_engines(read_engines(file), contender)
        tick()
    leads = [one.lead for one in warned if one.lead is not None]
    return {
        "engines_20_ahead": sum(lead >= AHEAD_CYCLES for lead in leads) / len(warned),
        "engines": len(warned),
        "lead_median": float(np.median(leads)) if leads else None,
        "false_per_1000": 1000.0
        * sum(one.false_episodes for one in warned)
        / max(sum(one.healthy_cycles for one in warned), 1),
    }


def _find_files(folder: Path) -> list[Path]:
    return find_below(folder, "cmapss", "train_FD*.txt")


CMAPSS = Benchmark(
    name="cmapss",
    layout="cmapss/train_FD*.txt",
    find_files=_find_files,
    count_steps=len,
    run=run,
    headline={"engines_20_ahead": 1, "false_per_1000": -1, "lead_median": 1, "rul_rmse": -1},
)
