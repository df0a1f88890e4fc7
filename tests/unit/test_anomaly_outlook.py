"""Forecasts: a band of time that holds as often as it says, or why there is none."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from models.anomaly.forecasting.experience import recall
from models.anomaly.forecasting.outlook import foresee
from models.anomaly.forecasting.trend import find_trend

LIFE_S = 3_600.0
LEVEL = 10.0
STEP_S = 6.0
SEEDS = 40

CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exponential": lambda share: LEVEL**share,
    "even": lambda share: 1.0 + (LEVEL - 1.0) * share,
    "slowing": lambda share: 1.0 + (LEVEL - 1.0) * share**0.7,
    "quickening": lambda share: (1.0 + (LEVEL**0.5 - 1.0) * share) ** 2,
}


def wear(curve: str, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and a score that reaches the level at `LIFE_S`, its noise alike from row to row."""
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, LIFE_S, STEP_S)
    errors = np.zeros(len(times))
    for place in range(1, len(times)):
        errors[place] = 0.9 * errors[place - 1] + np.sqrt(1 - 0.81) * rng.standard_normal()
    return times, CURVES[curve](times / LIFE_S) * np.exp(noise * errors)


def test_a_band_of_80_percent_holds_in_about_80_percent(capsys: pytest.CaptureFixture[str]) -> None:
    """Over four ways of wearing out, two noises, and two instants: what is promised, and what is kept."""
    given = held = asked = 0
    for curve in CURVES:
        for noise in (0.05, 0.15):
            for share in (0.6, 0.8):
                inside = []
                for seed in range(SEEDS):
                    times, scores = wear(curve, seed, noise)
                    seen = int(len(times) * share)
                    outlook = foresee(times[:seen], scores[:seen], LEVEL)
                    asked += 1
                    if outlook.earliest_s is not None and outlook.latest_s is not None:
                        left = LIFE_S - times[seen - 1]
                        inside.append(outlook.earliest_s <= left <= outlook.latest_s)
                given, held = given + len(inside), held + sum(inside)
    with capsys.disabled():
        print(f"\nforecasts: {given} given of {asked} asked, the end was in {held / given:.1%} of the bands")
    assert 0.70 <= held / given <= 0.90
    assert given > 0.6 * asked


def test_what_does_not_rise_has_no_forecast() -> None:
    """Noise, a fall, and a walk without a trend get a reason, nearly always."""
    times = np.arange(0.0, 1_200.0, 6.0)
    reasons = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        for scores in (
            2.0 + 0.3 * rng.standard_normal(200),
            4.0 - times / 600.0 + 0.1 * rng.standard_normal(200),
            2.0 + 0.05 * np.cumsum(rng.standard_normal(200)),
        ):
            reasons.append(foresee(times, np.maximum(scores, 0.1), LEVEL).reason)
    silent = [reason for reason in reasons if reason]
    assert len(silent) / len(reasons) > 0.95
    assert "it does not rise steadily" in silent


def test_too_few_values_a_far_end_and_a_passed_level_are_named() -> None:
    """Never a bare date: the reason is said in words."""
    times = np.arange(0.0, 1_200.0, 6.0)
    assert foresee(times[:8], times[:8], LEVEL).reason == "only 8 values since it began, 12 are needed"
    assert "farther ahead" in foresee(times, 1.0 + times / 1e5, LEVEL).reason
    assert foresee(times, 8.0 + times / 300.0, LEVEL).reason == "the level is reached already"
    assert foresee(times, np.full(200, np.nan), LEVEL).reason.startswith("only 0 values")


def test_a_band_never_begins_and_ends_now() -> None:
    """Just below the level it is either there, or has a band that a person can act on."""
    times, scores = wear("exponential", 5, 0.1)
    for share in (0.9, 0.94, 0.97, 0.99):
        seen = int(len(times) * share)
        outlook = foresee(times[:seen], scores[:seen], LEVEL)
        if outlook.latest_s is not None:
            assert outlook.latest_s > 0.0
    near = np.linspace(1.0, 9.99, 200)
    near[-30:] += 0.3
    assert foresee(np.arange(200.0), near, LEVEL).reason == "the level is reached already"


def test_a_clean_rise_is_foreseen_narrowly_and_the_same_every_time() -> None:
    """An exponential without noise ends where it must, whatever its values are called."""
    times = np.arange(0.0, 600.0, 2.0)
    scores = 1.5 ** (times / 120.0)
    first, again = foresee(times, scores, LEVEL), foresee(times, scores, LEVEL)
    end = 120.0 * np.log(LEVEL) / np.log(1.5) - times[-1]
    assert first == again
    assert first.earliest_s is not None
    assert first.latest_s is not None
    assert first.earliest_s == pytest.approx(end, rel=0.05)
    assert first.latest_s == pytest.approx(end, rel=0.05)


def test_mann_kendall_knows_a_rise_from_neighbours_that_resemble_each_other() -> None:
    """Of walks without a trend it calls far fewer rising than the test for independent values would."""
    rng = np.random.default_rng(2)
    rising = find_trend(np.arange(30.0) + rng.standard_normal(30))
    assert rising.tau > 0.8
    assert rising.chance < 1e-6
    assert find_trend(-np.arange(30.0)).chance > 0.999
    found = [find_trend(np.cumsum(rng.standard_normal(40))) for _ in range(300)]
    assert np.mean([trend.chance < 0.01 for trend in found]) < 0.25
    # 2.33 standard deviations of tau among 40 independent values are 0.26.
    assert np.mean([trend.tau > 0.26 for trend in found]) > 0.3
    even = [find_trend(rng.standard_normal(40)).chance for _ in range(500)]
    assert np.mean(np.array(even) < 0.01) < 0.03


def test_five_failures_of_the_past_say_what_is_left() -> None:
    """Runs of different lengths, their ends alike: the band holds the truth; four runs are too few."""
    runs = []
    for seed in range(8):
        times, scores = wear("quickening", seed, 0.1)
        runs.append((times * (0.7 + 0.1 * seed), scores))
    times, scores = wear("quickening", 99, 0.1)
    kept = []
    for share in (0.5, 0.7, 0.85):
        seen = int(len(times) * share)
        outlook = recall(runs, times[:seen], scores[:seen])
        assert outlook.earliest_s is not None
        assert outlook.latest_s is not None
        left = LIFE_S - times[seen - 1]
        kept.append(outlook.earliest_s <= left <= outlook.latest_s)
        assert outlook.latest_s < 1.5 * LIFE_S
    assert sum(kept) >= 2
    assert recall(runs[:4], times, scores).reason == "4 failures are recorded, 5 are needed"


def test_an_alert_that_is_open_for_long_costs_no_more_than_the_longest_failure() -> None:
    """Machines that failed within a minute, and one that has gone on for a month: it has as long left."""
    runs = [(np.arange(60.0), np.linspace(1.0, 9.0 + seed, 60)) for seed in range(5)]
    times = np.linspace(0.0, 30 * 86_400.0, 20_000)
    tracemalloc.start()
    long = recall(runs, times, np.full(20_000, 5.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert long == recall(runs, np.arange(60.0), np.full(60, 5.0))
