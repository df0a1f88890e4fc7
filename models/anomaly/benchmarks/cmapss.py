"""C-MAPSS turbofans run to failure: alerts learned from young engines, remaining life from failed ones."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import OURS, make_contender
from models.anomaly.benchmarks.metrics import count_episodes
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick, find_below, join_apart
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import MONTH_S, keep_promise
from models.anomaly.features import Matrix, Windows, plan_windows
from models.anomaly.forecasting.remaining_life import Remaining, RemainingLife, count_down
from models.anomaly.forecasting.similarity import SimilarLives

LEARNED_CYCLES = 40
LIFE_KNOWN_CYCLES = 125
"""Farther from its end an engine counts as healthy, as in the published work on this set."""
AHEAD_CYCLES = 20
WINDOWS = plan_windows(1)
ASKED_PER_1000 = 0.5
FOLDS = 5
LIFE_WINDOWS = Windows(means=plan_windows(8).means, spreads=[])
"""Wear is slow: what is left is read from means over 8 to 96 cycles."""


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


class Forecaster(Protocol):
    """Says what is left of a machine, from others that failed."""

    def fit(self, runs: Sequence[Matrix]) -> Self:
        """Learn from runs up to their failure."""

    def predict(self, run: Matrix) -> Remaining:
        """Return what is left at every row."""


def forecast(engines: Sequence[Matrix], make: Callable[[], Forecaster], tick: Tick) -> tuple[float, float]:
    """Return RMSE in cycles over every cycle of engines not learned from, and the share within the band."""
    errors, inside = [], []
    for fold in range(FOLDS):
        forecaster = make().fit([one for number, one in enumerate(engines) if number % FOLDS != fold])
        for one in engines[fold::FOLDS]:
            left, truth = forecaster.predict(one), count_down(len(one))
            errors.append(left.rows - truth)
            inside.append((left.low <= truth) & (truth <= left.high))
        tick()
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))), float(np.concatenate(inside).mean())


def forecast_lives(files: Sequence[Path], tick: Tick) -> Metrics:
    """Return how well remaining life is forecast (capped at 125 cycles), by networks and by similarity."""
    engines = [cycles for file in files for cycles in read_engines(file).values()]
    varying = np.ptp(np.concatenate(engines), axis=0) > 0
    engines = [cycles[:, varying] for cycles in engines]
    truth = np.concatenate([count_down(len(cycles)) for cycles in engines])
    rmse, coverage = forecast(engines, lambda: RemainingLife(windows=LIFE_WINDOWS), tick)
    alike_rmse, alike_coverage = forecast(engines, lambda: SimilarLives(windows=LIFE_WINDOWS), tick)
    return {
        "rul_rmse": rmse,
        "rul_band_coverage": coverage,
        "rul_similarity_rmse": alike_rmse,
        "rul_similarity_band_coverage": alike_coverage,
        "rul_constant_rmse": float(truth.std()),
    }


def forecast_cut(files: Sequence[Path]) -> Metrics:
    """Return the RMSE on engines cut short, where test_FD and RUL_FD lie beside train_FD; else nothing."""
    errors = []
    for file in files:
        test = file.with_name(file.name.replace("train", "test"))
        truth = file.with_name(file.name.replace("train", "RUL"))
        if not (test.is_file() and truth.is_file()):
            continue
        learned, cut = list(read_engines(file).values()), list(read_engines(test).values())
        varying = np.ptp(np.concatenate(learned), axis=0) > 0
        forecaster = RemainingLife(windows=LIFE_WINDOWS).fit([cycles[:, varying] for cycles in learned])
        left = np.array([forecaster.predict(cycles[:, varying]).rows[-1] for cycles in cut])
        errors.append(left - np.minimum(np.loadtxt(truth), LIFE_KNOWN_CYCLES))
    return {"rul_test_rmse": float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))} if errors else {}


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return the share of engines warned in time, the median lead, false alerts per 1,000 healthy cycles."""
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
    } | (forecast_lives(files, tick) | forecast_cut(files) if contender == OURS else {})


def _find_files(folder: Path) -> list[Path]:
    return find_below(folder, "cmapss", "train_FD*.txt")


CMAPSS = Benchmark(
    name="cmapss",
    layout="cmapss/train_FD*.txt",
    find_files=_find_files,
    count_steps=lambda files, contender: len(files) + (2 * FOLDS if contender == OURS else 0),
    run=run,
    headline={"engines_20_ahead": 1, "false_per_1000": -1, "lead_median": 1, "rul_rmse": -1},
)
