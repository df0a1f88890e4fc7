"""Who takes part in a benchmark: every detector on the shelf, and two that know nothing."""

from typing import Self

import numpy as np

from models.anomaly.detectors import Arrays, Detector, Judgement
from models.anomaly.detectors.shelf import DETECTORS, make_detector
from models.anomaly.features import Matrix, Vector, Windows
from models.errors import ForewarnError

OURS = "fuse"


class NoContender(ForewarnError):
    """The detector cannot take part in this benchmark; the message says why."""

    exit_code = 2


CERTAIN = 1e6


class Guessing:
    """Scores rows without looking at them: what any metric gives for nothing."""

    def __init__(self, windows: Windows, seed: int, *, certain: bool) -> None:
        self.reach_rows = windows.longest
        self.held_out_: Vector = np.empty(0)
        self.held_out_rows_ = np.empty(0, dtype=np.int64)
        self._seed = seed
        self._certain = certain

    def fit(self, values: Matrix) -> Self:
        """Learn nothing but how many rows there are."""
        self.held_out_ = np.full(len(values), 0.5) if self._certain else self._guess(len(values), 1)
        self.held_out_rows_ = np.arange(len(values))
        return self

    def judge(self, values: Matrix, last: int | None = None) -> Judgement:
        """Return random scores, or an alarm at every row."""
        rows = len(values) if last is None else min(last, len(values))
        score = np.full(rows, CERTAIN) if self._certain else self._guess(rows, 2)
        nothing = np.full((rows, values.shape[1]), np.nan)
        return Judgement(score, np.ones(rows), nothing, nothing, nothing)

    def arrays(self) -> Arrays:
        """Return nothing."""
        return {}

    def _guess(self, rows: int, turn: int) -> Vector:
        return np.random.default_rng((self._seed, turn)).random(rows)


GUESSERS = ("random", "always_alarm")
CONTENDERS = (OURS, "isolation_forest", "pca", "knn", "robust_zscore", *GUESSERS)
assert set(CONTENDERS) - set(GUESSERS) < set(DETECTORS)


def make_contender(name: str, windows: Windows, seed: int = 0) -> Detector:
    """Return a new contender that has learned nothing yet."""
    if name in GUESSERS:
        return Guessing(windows, seed, certain=name == "always_alarm")
    if name == "conditional" and not windows.spreads:
        raise NoContender("conditional needs windows of spreads, which rows in no order do not have")
    keywords = {} if name == "conditional" else {"seed": seed}
    return make_detector(name, windows=windows, **keywords)
