"""Remaining life by similarity: how long machines that failed had left when they looked like this."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from models.anomaly.features import Matrix, Windows
from models.anomaly.forecasting.remaining_life import (
    BAND_SHARE,
    FAILURES_MIN,
    Remaining,
    TooFewFailures,
    count_down,
    summarise_past,
)

ALIKE_RUNS = 7
"""So many of the most similar past runs say what is left; all of them where fewer are known."""


class SimilarLives:
    """Looks in every stored run for its most similar row; never at how long a run has lasted.

    Each of the nearest runs says how much it had left there: their mean is the estimate, their 10-90 % range
    the band (after Wang, Yu, Siegel and Lee, PHM 2008).
    """

    def __init__(self, *, windows: Windows) -> None:
        self.windows = windows

    def fit(self, runs: Sequence[Matrix]) -> Self:
        """Keep runs (rows, tags), each up to its failure; raise `TooFewFailures`."""
        if len(runs) < FAILURES_MIN:
            raise TooFewFailures(f"{len(runs)} failures are stored; {FAILURES_MIN} are needed")
        features = [summarise_past(run, self.windows) for run in runs]
        joined = np.concatenate(features)
        self.mean_, self.deviation_ = joined.mean(axis=0), np.maximum(joined.std(axis=0), 1e-9)
        self.runs_ = [(rows - self.mean_) / self.deviation_ for rows in features]
        return self

    def predict(self, run: Matrix) -> Remaining:
        """Return what is left at every row of a run (rows, tags); row t looks at rows <= t only."""
        rows = (summarise_past(run, self.windows) - self.mean_) / self.deviation_
        distances, lives = [], []
        for past in self.runs_:
            squares = np.einsum("ij,ij->i", past, past) - 2.0 * (rows @ past.T)
            nearest = squares.argmin(axis=1)
            distances.append(np.take_along_axis(squares, nearest[:, None], axis=1)[:, 0])
            lives.append(count_down(len(past))[nearest])
        alike = np.argsort(np.column_stack(distances), axis=1, kind="stable")[:, :ALIKE_RUNS]
        left = np.take_along_axis(np.column_stack(lives), alike, axis=1)
        low, high = np.quantile(left, (0.5 - BAND_SHARE / 2.0, 0.5 + BAND_SHARE / 2.0), axis=1)
        return Remaining(left.mean(axis=1), low, high)
