"""Remaining life from labelled failures: networks on multi-window features, with a conformal band."""

from collections.abc import Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Matrix, Vector, Windows
from models.errors import ForewarnError

FAILURES_MIN = 5
FOLDS = 4
NETWORKS = 2
"""Trained without each fold."""
LIFE_MAX_ROWS = 125
"""Farther from its end a machine shows no wear to tell from: all of it counts as this much."""
SPREAD_FLOOR = 0.05
BAND_SHARE = 0.8
BINS = 8
"""Of predicted life, for each of which the band is as wide as its errors were."""


Network = Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Weights (inputs, outputs) and offsets of each layer."""


class TooFewFailures(ForewarnError):
    """There are fewer stored failures than remaining life can be learned from."""


class Remaining(msgspec.Struct, frozen=True):
    """Rows until the end, at every row (rows,): the estimate and the band that holds 80 % of the time."""

    rows: Vector
    low: Vector
    high: Vector


class RemainingLife:
    """Learns from machines run to failure; never from elapsed time, which is no feature.

    Each of `FOLDS` networks is trained without a fold of the machines; the estimate is their mean, and the
    errors on the machines left out give the band (cross-conformal, Vovk 2015), by bins of the estimate.
    """

    def __init__(self, *, windows: Windows, seed: int = 0) -> None:
        self.windows = windows
        self.seed = seed

    def fit(self, runs: Sequence[Matrix]) -> Self:
        """Learn from runs (rows, tags), each up to its failure; raise `TooFewFailures`."""
        from models.anomaly.forecasting.networks import train_network  # predicting lives without it

        if len(runs) < FAILURES_MIN:
            raise TooFewFailures(f"{len(runs)} failures are stored; {FAILURES_MIN} are needed")
        everything = np.concatenate(runs)
        self.centre_ = everything.mean(axis=0)
        self.scale_ = np.maximum(everything.std(axis=0), 1e-9)
        features = [self._compute(run) for run in runs]
        joined = np.concatenate(features)
        self.mean_, self.deviation_ = joined.mean(axis=0), np.maximum(joined.std(axis=0), 1e-9)
        lives = [count_down(len(run)) for run in runs]
        owners = np.random.default_rng(self.seed).permutation(len(runs)) % FOLDS
        self.networks_: list[Network] = []
        turns = range(NETWORKS)
        errors, estimates = [], []
        for fold in range(FOLDS):
            learned = [number for number in range(len(runs)) if owners[number] != fold]
            rows = np.concatenate([self._standardise(features[number]) for number in learned])
            goals = np.concatenate([lives[number] for number in learned]) / LIFE_MAX_ROWS
            trained = [train_network(rows, goals, self.seed + NETWORKS * fold + turn) for turn in turns]
            self.networks_ += trained
            for number in np.flatnonzero(owners == fold):
                estimate = _run_networks(trained, self._standardise(features[number]))
                estimates.append(estimate)
                errors.append(lives[number] - estimate)
        self._learn_band(np.concatenate(estimates), np.concatenate(errors))
        return self

    def predict(self, run: Matrix) -> Remaining:
        """Return what is left at every row of a run (rows, tags); row t looks at rows <= t only."""
        rows = self._standardise(self._compute(run))
        estimate = _run_networks(self.networks_, rows)
        places = np.clip(np.searchsorted(self.edges_, estimate), 0, len(self.offsets_) - 1)
        low, high = estimate + self.offsets_[places, 0], estimate + self.offsets_[places, 1]
        return Remaining(estimate, np.clip(low, 0.0, LIFE_MAX_ROWS), np.clip(high, 0.0, LIFE_MAX_ROWS))

    def _compute(self, run: Matrix) -> Matrix:
        return summarise_past((run - self.centre_) / self.scale_, self.windows)

    def _standardise(self, features: Matrix) -> Matrix:
        return np.asarray((features - self.mean_) / self.deviation_)

    def _learn_band(self, estimates: Vector, errors: Vector) -> None:
        # Many estimates are the longest life: equal quantiles make one bin.
        self.edges_: Vector = np.unique(np.quantile(estimates, np.arange(1, BINS) / BINS))
        self.edges_ = self.edges_[self.edges_ < estimates.max()]
        places = np.searchsorted(self.edges_, estimates)
        tails = (0.5 - BAND_SHARE / 2.0, 0.5 + BAND_SHARE / 2.0)
        self.offsets_ = np.array(
            [np.quantile(errors[places == place], tails) for place in range(len(self.edges_) + 1)]
        )


def summarise_past(values: Matrix, windows: Windows) -> Matrix:
    """Return means and log-deviations of `values` (rows, tags) over windows, cut where the run begins.

    The deviation is the unbiased one, so that it does not tell how long the run has lasted.
    """
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    squares = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values * values, axis=0)])
    ends = np.arange(1, len(values) + 1)
    columns = []
    for length in windows.means:
        starts = np.maximum(ends - length, 0)
        columns.append((sums[ends] - sums[starts]) / (ends - starts)[:, None])
    for length in windows.spreads:
        starts = np.maximum(ends - length, 0)
        count = (ends - starts)[:, None]
        mean = (sums[ends] - sums[starts]) / count
        spread = (squares[ends] - squares[starts]) / count - mean * mean
        unbiased = np.where(count > 1, np.maximum(spread, 0.0) * count / np.maximum(count - 1, 1), 1.0)
        columns.append(0.5 * np.log(unbiased + SPREAD_FLOOR**2))
    return np.concatenate(columns, axis=1)


def count_down(rows: int) -> Vector:
    """Return the rows left at every row of a run of `rows` rows, at most `LIFE_MAX_ROWS`."""
    left: Vector = np.minimum(np.arange(rows - 1, -1, -1, dtype=np.float64), LIFE_MAX_ROWS)
    return left


def _run_networks(networks: Sequence[Network], rows: Matrix) -> Vector:
    """Return the mean of the networks' estimates (n,), in rows."""
    estimates = []
    for network in networks:
        hidden = rows
        for weights, offsets in network[:-1]:
            hidden = np.maximum(hidden @ weights + offsets, 0.0)
        weights, offsets = network[-1]
        estimates.append(np.clip((hidden @ weights + offsets)[:, 0], 0.0, 1.0))
    mean: Vector = np.mean(estimates, axis=0) * LIFE_MAX_ROWS
    return mean
