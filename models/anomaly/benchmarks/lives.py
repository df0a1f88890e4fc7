"""C-MAPSS, remaining life: forecasts for engines that were not learned from, whole lives and cut ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from models.anomaly.benchmarks.engines import Engine, Flights, find_cut, find_flights, read_engines
from models.anomaly.benchmarks.protocol import Metrics, Tick
from models.anomaly.benchmarks.reading import FileRejected, find_varying, need_columns
from models.anomaly.features import Mask, Matrix, Vector, Windows, plan_windows
from models.anomaly.forecasting.remaining_life import (
    FAILURES_MIN,
    LIFE_MAX_ROWS,
    Remaining,
    RemainingLife,
    count_down,
)
from models.anomaly.forecasting.similarity import SimilarLives

FOLDS = 5
LIFE_WINDOWS = Windows(means=plan_windows(8).means, spreads=[])
"""Wear is slow: what is left is read from means over 8 to 96 cycles."""


class Forecaster(Protocol):
    """Says what is left of a machine, from others that failed."""

    def fit(self, runs: Sequence[Matrix]) -> Self:
        """Learn from runs up to their failure."""

    def predict(self, run: Matrix) -> Remaining:
        """Return what is left at every row."""


class Fleet:
    """A forecaster that has learned from some engines, as their settings and measurements come."""

    def __init__(self, engines: Sequence[Engine], make: Callable[[], Forecaster], varying: Mask) -> None:
        everything = np.concatenate([engine.cycles for engine in engines])
        self._flights: Flights = find_flights(everything)
        self._varying = varying
        self._usual: Vector = np.nanmedian(everything[:, varying], axis=0)
        self._forecaster = make().fit([self._prepare(engine.cycles) for engine in engines])

    def predict(self, cycles: Matrix) -> Remaining:
        """Return what is left at every cycle (cycles, settings and measurements)."""
        return self._forecaster.predict(self._prepare(cycles))

    def _prepare(self, cycles: Matrix) -> Matrix:
        units = self._flights.standardise(cycles)[:, self._varying]
        # What is missing, or was flown as never before, counts as usual.
        return np.where(np.isnan(units), 0.0 if self._flights.regimes else self._usual, units)


def forecast(
    engines: Sequence[Engine], make: Callable[[], Forecaster], varying: Mask, tick: Tick
) -> tuple[Vector, Vector]:
    """Return, for every cycle of engines not learned from, the error in cycles and 1 where the band held."""
    errors, inside = [], []
    for fold in range(FOLDS):
        fleet = Fleet([one for number, one in enumerate(engines) if number % FOLDS != fold], make, varying)
        for one in engines[fold::FOLDS]:
            left, truth = fleet.predict(one.cycles), count_down(len(one.cycles))
            errors.append(left.rows - truth)
            inside.append((left.low <= truth) & (truth <= left.high))
        tick()
    return np.concatenate(errors), np.concatenate(inside).astype(np.float64)


def forecast_lives(files: Sequence[Path], tick: Tick) -> Metrics:
    """Return how well remaining life is forecast (capped at 125 cycles), by networks and by similarity.

    Each file's engines are of a kind; the errors are pooled over files. Files with too few failures are
    passed over, and with none left there is no figure.
    """
    found: dict[str, list[Vector]] = {}
    for file in files:
        engines = [one for one in read_engines(file) if not one.left]
        if len(engines) - -(-len(engines) // FOLDS) < FAILURES_MIN:
            continue
        varying = _find_varying(file, engines)
        truth = np.concatenate([count_down(len(one.cycles)) for one in engines])
        found.setdefault("constant", []).append(truth - truth.mean())
        for name, make in (("", _make_networks), ("similarity_", _make_similar)):
            errors, inside = forecast(engines, make, varying, tick)
            found.setdefault(f"{name}error", []).append(errors)
            found.setdefault(f"{name}inside", []).append(inside)
    pooled = {name: np.concatenate(parts) for name, parts in found.items()}
    if not pooled:
        return {"rul_rmse": None, "rul_band_coverage": None}
    return {
        "rul_rmse": _measure_rmse(pooled["error"]),
        "rul_band_coverage": float(pooled["inside"].mean()),
        "rul_similarity_rmse": _measure_rmse(pooled["similarity_error"]),
        "rul_similarity_band_coverage": float(pooled["similarity_inside"].mean()),
        "rul_constant_rmse": _measure_rmse(pooled["constant"]),
    }


def forecast_cut(files: Sequence[Path]) -> Metrics:
    """Return the RMSE at the last cycle of engines cut short, where their files lie beside train_FD."""
    errors = []
    for file in files:
        cut = find_cut(file)
        learned = [one for one in read_engines(file) if not one.left]
        if cut is None or len(learned) < FAILURES_MIN:
            continue
        fleet = Fleet(learned, _make_networks, _find_varying(file, learned))
        for one in read_engines(cut):
            if one.cycles.shape[1] != learned[0].cycles.shape[1]:
                raise FileRejected(f"{cut}: has other columns than {file.name}: copy both again")
            errors.append(fleet.predict(one.cycles).rows[-1] - min(one.left, LIFE_MAX_ROWS))
    return {"rul_test_rmse": _measure_rmse(np.array(errors))} if errors else {}


def _find_varying(file: Path, engines: Sequence[Engine]) -> Mask:
    return need_columns(file, find_varying(np.concatenate([one.cycles for one in engines])))


def _make_networks() -> Forecaster:
    return RemainingLife(windows=LIFE_WINDOWS)


def _make_similar() -> Forecaster:
    return SimilarLives(windows=LIFE_WINDOWS)


def _measure_rmse(errors: Vector) -> float:
    return float(np.sqrt(np.mean(errors**2)))
