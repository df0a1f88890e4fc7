"""The parts of `fuse`: units, members, and the memory."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.members import (
    MEMORY_ROWS_MAX,
    NEIGHBOURS,
    RIDGE,
    choose_memory,
    make_residuals,
    make_whitening,
    measure_distance,
    root_mean_square,
)
from models.anomaly.detectors.windowed import FOLDS, find_units
from models.anomaly.features import plan_windows


def test_one_odd_block_does_not_set_the_units() -> None:
    """A day that is 100 times stranger than the rest shifts the unit by a factor of 100 ** (1 / folds)."""
    held_out = np.ones((FOLDS * 50, 1))
    usual = find_units(held_out)[0]
    held_out[:50] = 100.0
    assert find_units(held_out)[0] == pytest.approx(usual * 100.0 ** (1 / FOLDS))


def test_a_conditional_residual_is_that_of_a_regression_on_the_others() -> None:
    """Within each window: z_j minus what least squares expect, over the residual's deviation."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(4_000, 6)) @ rng.normal(size=(6, 6))
    rows -= rows.mean(axis=0)
    residuals = rows @ make_residuals(rows.T @ rows / len(rows), per_tag=2)
    for window in range(2):
        own = rows[:, 3 * window : 3 * window + 3]
        others = LinearRegression(fit_intercept=False).fit(own[:, 1:], own[:, 0])
        left = own[:, 0] - others.predict(own[:, 1:])
        expected = left / left.std()
        np.testing.assert_allclose(
            residuals[:, 3 * window], expected, atol=3 * RIDGE * np.abs(expected).max()
        )


def test_whitened_rows_have_the_mahalanobis_distance() -> None:
    """Squares of the whitened row sum to z C^-1 z, the diagonal of C widened by the drift."""
    rng = np.random.default_rng(2)
    covariance = np.cov(rng.normal(size=(3, 200)) * [[1.0], [2.0], [3.0]])
    drift = np.array([0.0, 5.0, 0.0])
    row = np.array([[1.0, 2.0, -1.0]])
    whitened = row @ make_whitening(covariance, drift)
    inverse = np.linalg.inv(covariance + np.diag(drift + RIDGE))
    assert (whitened**2).sum() == pytest.approx((row @ inverse @ row.T).item())
    assert root_mean_square(whitened)[0] == pytest.approx(np.sqrt((whitened**2).mean()))


def test_the_distance_is_that_of_scikit_learns_neighbours() -> None:
    """The mean over the nearest five, per root feature."""
    rng = np.random.default_rng(3)
    memory, rows = rng.normal(size=(300, 4)), rng.normal(size=(50, 4))
    nearest, _ = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(memory).kneighbors(rows)
    np.testing.assert_allclose(measure_distance(rows, memory), nearest.mean(axis=1) / 2.0, rtol=1e-6)


def test_the_memory_is_bounded_and_spread_over_time() -> None:
    """Of many rows so many are kept, from the first to the last; of few all."""
    rows = np.arange(100_000, dtype=np.float64)[:, None]
    kept = choose_memory(rows)[:, 0]
    assert len(kept) == MEMORY_ROWS_MAX
    assert (kept[0], kept[-1]) == (0.0, 99_999.0)
    assert np.diff(kept).max() <= 102
    assert len(choose_memory(rows[:7])) == 7


def test_a_tag_that_is_alone_may_drift_as_it_did() -> None:
    """A slow walk while learning widens what is normal of a single tag; noise around a level does not."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2_000, 1))
    walk = np.cumsum(rng.normal(scale=0.1, size=(2_000, 1)), axis=0) + noise
    steady, wandering = (FuseDetector(windows=plan_windows(3)).fit(rows) for rows in (noise, walk))
    assert wandering.state_["drift"][0] > 10.0 * steady.state_["drift"][0]
