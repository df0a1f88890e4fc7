"""Metrics of detectors: rows, events, delays, episodes, areas."""

import numpy as np
import pytest

from models.anomaly.benchmarks.metrics import (
    count_confusion,
    count_episodes,
    find_delays,
    measure_auc,
    measure_vus_pr,
)
from models.anomaly.benchmarks.nab import Watched, list_alerts, score_nab


def marks(*spans: tuple[int, int], rows: int = 100) -> np.ndarray:
    """Return a mask that is True in the spans."""
    mask = np.zeros(rows, dtype=bool)
    for first, stop in spans:
        mask[first:stop] = True
    return mask


def test_rows_are_counted_by_hand() -> None:
    """10 of 20 rows of trouble found, 5 of 80 healthy rows called strange."""
    counts = count_confusion(marks((40, 60)), marks((50, 65)))
    assert (counts.true_positive, counts.false_positive) == (10, 5)
    assert counts.f1 == pytest.approx(2 * 10 / (2 * 10 + 5 + 10))
    assert counts.far == pytest.approx(5 / 80)
    assert counts.mar == pytest.approx(10 / 20)


def test_nothing_found_is_no_division_by_zero() -> None:
    """Without trouble and without alarms every rate is 0."""
    counts = count_confusion(marks(), marks())
    assert (counts.f1, counts.far, counts.mar) == (0.0, 0.0, 0.0)


def test_delays_are_rows_from_the_begin_of_each_event() -> None:
    """An alert that is on already counts at once; an event without one is missed."""
    labels = marks((10, 20), (40, 60), (80, 90))
    assert find_delays(labels, marks((5, 12), (45, 50))) == [0, 5, None]


def test_an_episode_is_a_run_of_alerting_rows() -> None:
    """Three runs are three episodes, also at both ends."""
    assert count_episodes(marks((0, 5), (50, 51), (98, 100))) == 3
    assert count_episodes(marks()) == 0


def test_the_area_under_the_curve_is_the_share_of_ordered_pairs() -> None:
    """Checked against all pairs, ties as half; undefined when only one kind is there."""
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.4
    sick, healthy = scores[labels][:, None], scores[~labels][None]
    expected = (sick > healthy).mean() + (sick == healthy).mean() / 2
    assert measure_auc(labels, scores) == pytest.approx(expected)
    assert np.isnan(measure_auc(marks(), np.zeros(100)))


def test_the_volume_is_one_for_the_truth_and_low_for_noise() -> None:
    """A perfect score reaches nearly 1 without a buffer; noise stays near the share of trouble."""
    labels = marks((400, 500), rows=1_000)
    noise = np.random.default_rng(2).random(1_000)
    assert measure_vus_pr([(labels, labels + 0.5 * noise)], 0) == pytest.approx(1.0, abs=0.02)
    assert measure_vus_pr([(labels, noise)], 0) == pytest.approx(0.1, abs=0.06)


def test_the_volume_forgives_a_score_that_is_late() -> None:
    """With a buffer a score that is shifted by some rows loses less than without."""
    labels, late = marks((400, 500), rows=1_000), marks((420, 520), rows=1_000).astype(float)
    exact, buffered = measure_vus_pr([(labels, late)], 0), measure_vus_pr([(labels, late)], 100)
    assert exact < buffered < 1.0


def test_the_volume_is_that_of_the_authors_rule_by_hand() -> None:
    """One buffer of 4 rows around one event, worked out by hand for a score of few levels."""
    labels = marks((4, 6), rows=10)
    scores = np.array([0.0, 0.1, 0.2, 0.9, 0.8, 0.7, 0.3, 0.05, 0.04, 0.03])
    by_hand = []
    for buffer_rows in range(0, 6, 5):
        soft = labels.astype(float)
        for step in range(1, buffer_rows // 2 + 1):
            soft[3 + 1 - step] += np.sqrt(1 - step / buffer_rows)
            soft[5 + step] += np.sqrt(1 - step / buffer_rows)
        limits = np.sort(scores)[::-1][np.linspace(0, 9, 250).astype(int)]
        recall, precision = [0.0], [1.0]
        for limit in limits:
            caught = soft[scores >= limit].sum()
            touched = float((soft * (scores >= limit)).any())
            recall.append(min(caught / ((2 + soft.sum()) / 2), 1.0) * touched)
            precision.append(caught / (scores >= limit).sum())
        heights = (np.array(precision[1:]) + np.array(precision[:-1])) / 2
        by_hand.append(float(np.diff(recall) @ heights))
    assert measure_vus_pr([(labels, scores)], 5) == pytest.approx(np.mean(by_hand))


def watched(alerts: list[int]) -> Watched:
    """Return a file of 1,000 minutes with two windows."""
    windows = np.array([[300, 400], [600, 700]])
    return Watched(np.arange(1_000) * 60.0, windows, np.array(alerts, dtype=np.int64), 100)


def test_nabs_score_is_that_of_its_definition() -> None:
    """Every window at once gives 1 each, a miss costs 1, an alarm far from windows 0.11."""
    assert score_nab(watched([300, 600])) == pytest.approx(2.0)
    assert score_nab(watched([])) == pytest.approx(-2.0)
    assert score_nab(watched([150, 300, 600])) == pytest.approx(2.0 - 0.11)
    assert score_nab(watched([300, 350, 600])) == pytest.approx(2.0)
    assert 1.0 < score_nab(watched([350, 600])) < 2.0
    soon, late = score_nab(watched([300, 405, 600])), score_nab(watched([300, 590, 600]))
    assert 2.0 > soon > late > 2.0 - 0.11 - 1e-9


def test_an_alert_that_stays_on_is_said_again_every_week() -> None:
    """Three weeks of alert count three times; two short ones once each."""
    hours = np.arange(24 * 40) * 3_600.0
    assert list_alerts(marks((0, 24 * 21), rows=len(hours)), hours).tolist() == [0, 24 * 7, 24 * 14]
    assert list_alerts(marks((5, 9), (50, 60), rows=len(hours)), hours).tolist() == [5, 50]
