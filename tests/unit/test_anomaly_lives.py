"""Remaining life from machines that failed: an estimate with a band, never from elapsed time."""

import numpy as np
import pytest

from models.anomaly.features import Matrix, Windows, plan_windows
from models.anomaly.forecasting.remaining_life import (
    RemainingLife,
    TooFewFailures,
    count_down,
    summarise_past,
)
from models.anomaly.forecasting.similarity import SimilarLives

WINDOWS = Windows(means=plan_windows(2).means, spreads=[])


def make_run(seed: int) -> Matrix:
    """Return a machine that fails: wear of random onset shows in three of four tags."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(150, 300))
    wear = np.maximum(0.0, 1.0 - np.arange(rows - 1, -1, -1) / 100.0) ** 2
    return rng.normal(scale=0.1, size=(rows, 4)) + np.outer(wear, [1.0, -2.0, 0.5, 0.0])


RUNS = [make_run(seed) for seed in range(24)]


@pytest.mark.parametrize(
    "forecaster", [RemainingLife(windows=WINDOWS), SimilarLives(windows=WINDOWS)], ids=["networks", "similar"]
)
def test_a_worn_machine_is_told_from_a_fresh_one(forecaster: RemainingLife | SimilarLives) -> None:
    """Near the end the estimate is near the truth; the band holds it about four times in five."""
    forecaster.fit(RUNS[:20])
    errors, inside = [], []
    for run in RUNS[20:]:
        left, truth = forecaster.predict(run), count_down(len(run))
        errors.append(np.abs(left.rows - truth)[-40:])
        inside.append((left.low <= truth) & (truth <= left.high))
        assert (left.low <= left.high).all()
        assert left.rows[5:25].mean() > 90.0
    assert np.concatenate(errors).mean() < 15.0
    assert 0.65 < np.concatenate(inside).mean() <= 1.0


def test_a_prefix_is_told_what_the_whole_is() -> None:
    """Row t looks at rows up to t only."""
    similar = SimilarLives(windows=WINDOWS).fit(RUNS[:8])
    whole = similar.predict(RUNS[20]).rows
    np.testing.assert_allclose(similar.predict(RUNS[20][:90]).rows, whole[:90])
    networks = RemainingLife(windows=WINDOWS).fit(RUNS[:8])
    whole = networks.predict(RUNS[20]).rows
    np.testing.assert_allclose(networks.predict(RUNS[20][:90]).rows, whole[:90])


def test_few_failures_teach_nothing() -> None:
    """Fewer than five stored failures are refused with the number."""
    for forecaster in (RemainingLife(windows=WINDOWS), SimilarLives(windows=WINDOWS)):
        with pytest.raises(TooFewFailures, match="4 failures"):
            forecaster.fit(RUNS[:4])


def test_the_past_does_not_tell_how_long_it_was() -> None:
    """Of a machine that never changes, features are the same early and late, but for noise."""
    values = np.random.default_rng(1).normal(size=(4_000, 1))
    features = summarise_past(values, plan_windows(2))
    early, late = features[5:25].mean(axis=0), features[2_000:2_020].mean(axis=0)
    assert np.abs(early - late).max() < 0.6
    np.testing.assert_allclose(summarise_past(values[:50], plan_windows(2)), features[:50], atol=1e-9)
