"""Calibration: persistence, the tail of episodes, and a promise that is kept."""

import numpy as np
import pytest

from models.anomaly.calibration.persistence import Persistence, find_alerting, sustain
from models.anomaly.calibration.promise import MONTH_S, keep_promise
from models.anomaly.calibration.spans import find_spans
from models.anomaly.calibration.tail import fit_tail
from models.anomaly.features import Vector

GRID_S = 600.0
WINDOW_ROWS = 60
BASELINE_ROWS = 4_464
"""A month of rows at ten minutes."""


def walk_alert(scores: Vector, limit: float, rule: Persistence) -> list[bool]:
    """Decide row by row, as the words of `Persistence` say."""
    on, states = False, []
    for row in range(len(scores)):
        recent = scores[max(0, row - rule.of_rows + 1) : row + 1]
        if (recent > limit).sum() >= rule.on_rows:
            on = True
        elif (recent < rule.off_share * limit).sum() >= rule.on_rows:
            on = False
        states.append(on)
    return states


def test_an_alert_begins_and_ends_as_the_words_say() -> None:
    """The columnar way decides as a walk over the rows, also with rows that cannot be judged."""
    rng = np.random.default_rng(1)
    for rule in (Persistence(), Persistence(3, 5, 0.8), Persistence(1, 1, 1.0)):
        scores = np.exp(np.cumsum(rng.normal(scale=0.2, size=600)) * 0.5)
        scores[100:130] = np.nan
        assert find_alerting(scores, 1.0, rule).tolist() == walk_alert(scores, 1.0, rule)


def test_what_is_sustained_is_the_limit_at_which_an_alert_would_begin() -> None:
    """Eight of ten rows at 2 sustain 2; seven do not."""
    scores = np.full(30, 0.5)
    scores[10:18] = 2.0
    assert sustain(scores, Persistence())[17:20].tolist() == [2.0, 2.0, 2.0]
    assert sustain(scores, Persistence())[16] == 0.5
    assert sustain(scores, Persistence())[3] == -np.inf


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_the_tail_finds_the_level_of_a_known_distribution(shape: float) -> None:
    """From 2,000 peaks the level passed once in 100 peaks is found to a tenth."""
    uniform = np.random.default_rng(2).random(2_000)
    excess = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    tail = fit_tail(5.0 + excess, 5.0, 20_000)
    expected = np.log(100.0) if shape == 0 else (0.01**-shape - 1) / shape
    assert tail.find_level(2_000 / 20_000 / 100) - 5.0 == pytest.approx(expected, rel=0.1)
    low, high = tail.band_above(5.0 + expected)
    assert low < 2_000 / 20_000 / 100 < high


def make_scores(rows: int, rng: np.random.Generator, machines: int = 1) -> Vector:
    """Return scores (rows, machines) of stationary machines: rms of six smoothed noises."""
    noise = rng.normal(size=(rows + 30, machines, 6))
    steps = sum(0.9**lag * noise[30 - lag : len(noise) - lag] for lag in range(30))
    return np.sqrt((steps**2).mean(axis=-1) * (1 - 0.81))


def test_the_promise_is_kept_on_machines_that_stay_as_they_were() -> None:
    """120 machine-months of scores: what is realised is within a factor of 1.5 of what was promised."""
    rng = np.random.default_rng(3)
    promised = realised = 0.0
    months = 4
    for _ in range(30):
        held_out = make_scores(BASELINE_ROWS, rng)[:, 0]
        promise = keep_promise(held_out, WINDOW_ROWS, GRID_S, asked=2.0)
        fresh = make_scores(months * int(MONTH_S / GRID_S), rng)[:, 0]
        realised += len(find_spans(find_alerting(fresh, promise.limit, promise.persistence)))
        promised += promise.promised * months
    print(f"promised {promised:.0f} episodes, realised {realised:.0f}")
    assert 1 / 1.5 < realised / promised < 1.5


def test_rarer_false_alarms_ask_for_a_higher_limit() -> None:
    """The limit grows as the promise shrinks, until the floor of what the baseline supports."""
    held_out = make_scores(BASELINE_ROWS, np.random.default_rng(4))[:, 0]
    promises = [keep_promise(held_out, WINDOW_ROWS, GRID_S, asked) for asked in (10.0, 1.0, 0.5, 0.001)]
    limits = [promise.limit for promise in promises]
    assert limits == sorted(limits)
    assert len(set(limits)) == 4
    assert promises[1].promised == 1.0
    assert promises[3].promised == promises[3].floor > 0.001
    low, high = promises[1].band
    assert low < 1.0 < high


def test_a_short_baseline_makes_the_promise_provisional() -> None:
    """400 rows are seven windows: one episode in twice their length is all that is promised."""
    scores = make_scores(BASELINE_ROWS, np.random.default_rng(5))[:, 0]
    short, long = (keep_promise(scores[:rows], WINDOW_ROWS, 1.0) for rows in (400, BASELINE_ROWS))
    assert short.provisional
    assert not long.provisional
    assert short.independent_windows == 6
    assert short.promised == short.floor == pytest.approx(MONTH_S / 800.0)
    assert long.floor < short.floor


def test_scores_that_are_all_alike_have_a_limit() -> None:
    """A constant score has no tail; the limit is that score, and it is not passed by it."""
    promise = keep_promise(np.full(500, 0.5), WINDOW_ROWS, 1.0)
    assert promise.limit == pytest.approx(0.5, rel=1e-4)
    assert not find_alerting(np.full(500, 0.5), promise.limit, promise.persistence).any()
