"""`fuse` as a scikit-learn estimator, for notebooks, pipelines and searches; the service does without it."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin  # type: ignore[import-untyped]  # ships no types
from sklearn.utils.validation import (  # type: ignore[import-untyped]  # ships no types
    check_is_fitted,
    validate_data,
)

from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.windowed import FIT_ROWS_MIN
from models.anomaly.features import Matrix, Vector, Windows, plan_windows

FEWEST_ROWS = 3
CALM = 0.0
"""The score of a row without one: it stands before the first window is filled."""


class Fuse(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Outliers among rows on an even grid, oldest first.

    `base_rows` is the shortest window; 0 means that rows are strangers to each other: no windows, as most of
    scikit-learn takes them. `contamination` is the share of the rows learned from that `predict` calls
    outliers, as scikit-learn means it; the service promises false alarms from held-out rows instead.
    """

    def __init__(self, base_rows: int = 0, contamination: float = 0.1, random_state: int = 0) -> None:
        self.base_rows = base_rows
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Matrix, y: object = None) -> Self:  # noqa: N803  # scikit-learn names its arguments
        """Learn what is normal from rows (n, tags); `y` is passed over."""
        del y
        rows = self._check(X, reset=True)
        windows = plan_windows(self.base_rows) if self.base_rows else Windows(means=[1], spreads=[])
        fewest = FEWEST_ROWS if not self.base_rows else FIT_ROWS_MIN
        self.detector_ = FuseDetector(windows=windows, seed=self.random_state, fit_rows_min=fewest).fit(rows)
        self.offset_ = float(np.quantile(self._score(rows), self.contamination))
        return self

    def score_samples(self, X: Matrix) -> Vector:  # noqa: N803  # scikit-learn names its arguments
        """Return scores (n,) in scikit-learn's direction: the lower, the stranger."""
        check_is_fitted(self)
        return self._score(self._check(X, reset=False))

    def decision_function(self, X: Matrix) -> Vector:  # noqa: N803  # scikit-learn names its arguments
        """Return scores shifted so that outliers are negative."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Matrix) -> NDArray[np.int64]:  # noqa: N803  # scikit-learn names its arguments
        """Return -1 for outliers, 1 for the others."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def _score(self, rows: Matrix) -> Vector:
        scores: Vector = -np.nan_to_num(self.detector_.judge(rows).score, nan=CALM)
        return scores

    def _check(self, rows: Matrix, *, reset: bool) -> Matrix:
        checked: Matrix = validate_data(
            self,
            rows,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=FEWEST_ROWS if reset else 1,
        )
        return checked

    def __sklearn_tags__(self) -> Any:
        """Say that missing values are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
