"""`fuse` as scikit-learn sees it."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from models.anomaly.estimator import Fuse


def test_it_passes_scikit_learns_own_checks() -> None:
    """Every check that applies to an outlier detector passes; what is skipped needs what is not installed."""
    results = check_estimator(Fuse(), on_fail="raise", on_skip=None)
    passed = [result["check_name"] for result in results if result["status"] == "passed"]
    assert len(passed) > 40


def test_it_works_in_a_pipeline_with_windows() -> None:
    """After a scaler, on rows in time order: a shift that lasts is an outlier, health is not."""
    rng = np.random.default_rng(1)
    healthy = rng.normal(size=(800, 3))
    sick = rng.normal(size=(300, 3)) + np.array([0.0, 3.0, 0.0])
    pipeline = make_pipeline(StandardScaler(), Fuse(base_rows=2, contamination=0.01)).fit(healthy)
    assert (pipeline.predict(sick[50:]) == -1).mean() > 0.9
    assert (pipeline.predict(rng.normal(size=(300, 3))) == 1).mean() > 0.8


def test_lower_is_stranger_there() -> None:
    """scikit-learn's direction, turned round at this border only."""
    rng = np.random.default_rng(2)
    estimator = Fuse().fit(rng.normal(size=(400, 2)))
    scores = estimator.score_samples(np.array([[0.0, 0.0], [3.0, 3.0], [9.0, 9.0]]))
    assert scores[0] > scores[1] > scores[2]
    own = estimator.detector_.judge(np.array([[9.0, 9.0]])).score
    assert scores[2] == pytest.approx(-own[0])
