"""Lessons and drift: what is good enough to learn from, in which words, and what has moved since."""

from typing import get_args

import numpy as np
import pytest

from cloud.metrics import CloudMetrics
from cloud.stores import Table
from cloud.watch.drift import Drift, measure_psi
from cloud.watch.lessons import Lesson, assess, grade_tag, mark_holes
from cloud.watch.watching import DetectorName
from models.anomaly.detectors.shelf import DETECTORS
from models.telemetry import Gap, quality

SECOND = 1_000_000_000


def make_table(rows: int, missing: slice = slice(0, 0)) -> Table:
    """Return two lively tags and a constant one, a value each second, none in the rows `missing`."""
    stamps = np.delete(np.arange(rows, dtype=np.int64), missing) * SECOND + 1
    noise = np.random.default_rng(1).normal(size=(len(stamps), 2))
    return Table(stamps, {"a": noise[:, 0], "b": noise[:, 1], "c": np.full(len(stamps), 5.0)}, {})


def test_a_recorded_gap_is_told_from_a_silence() -> None:
    """Both are left out, each under its own name; the good seconds are the rest."""
    table = make_table(600, slice(100, 160))
    silent = assess("m", table, 1.0, 3_600.0)
    assert silent.left_out == {"without any value": 56.0}  # a value is held for four rows
    gap = Gap(99 * SECOND + 1, 160 * SECOND + 1, "gateway_down")
    known = assess("m", mark_holes(table, [gap], SECOND), 1.0, 3_600.0)
    assert known.left_out == {"not acquired (recorded gaps)": 60.0}
    assert (known.good_s, silent.good_s) == (540.0, 544.0)
    words = "9 min of 60 min good values; left out: 60 s not acquired (recorded gaps)"
    assert known.describe() == words


def test_a_tag_is_graded_with_its_reason() -> None:
    """High, medium and low by the share of rows with a value; a constant tag teaches nothing."""
    values, codes = np.arange(100.0), np.zeros(100, dtype=np.uint32)
    assert grade_tag(values, codes).grade == "high"
    values[:30], codes[:10] = np.nan, quality.BAD_SENSOR_FAILURE
    found = grade_tag(values, codes)
    assert (found.grade, found.reason) == ("medium", "a value in 70% of the rows, 10% marked bad")
    values[:50] = np.nan
    assert grade_tag(values, codes).grade == "low"
    assert grade_tag(np.full(100, 5.0), codes).reason == "always 5: nothing can be learned from it"
    assert grade_tag(np.full(100, np.nan), codes).reason == "no good value"


def test_enough_is_enough() -> None:
    """The seconds wanted are reached, not passed."""
    assert Lesson("m", 3_600.0, 3_600.0).is_enough
    assert not Lesson("m", 3_599.0, 3_600.0).is_enough


def test_psi_is_small_for_the_same_and_large_for_another_machine() -> None:
    """By the usual reading: below 0.1 as learned, above 0.25 far; a shift by a deviation is about 1."""
    draw = np.random.default_rng(2).normal(size=(2, 20_000))
    assert measure_psi(draw[0], draw[1]) == pytest.approx(0.0, abs=0.01)
    assert measure_psi(draw[0], draw[1] + 1.0) == pytest.approx(1.0, abs=0.15)
    assert measure_psi(draw[0], np.append(draw[1], np.nan)) == pytest.approx(0.0, abs=0.01)
    assert measure_psi(draw[0], draw[1][:50]) is None


def test_drift_stands_in_the_metrics() -> None:
    """A gauge per tag, and one for the share of rows above half the limit."""
    metrics, drift = CloudMetrics(), Drift({"flow": 0.31}, 0.02)
    metrics.show_drift("a/b/c/d", drift.psi, drift.above_half)
    shown = metrics.render().decode()
    assert 'forewarn_tag_drift_psi{machine="a/b/c/d",tag="flow"} 0.31' in shown
    assert 'forewarn_scores_above_half_limit_share{machine="a/b/c/d"} 0.02' in shown
    assert drift.describe() == "PSI flow 0.31; 2.0% of the rows above half the limit"


def test_every_detector_of_the_shelf_can_be_set() -> None:
    """The settings name them without loading them."""
    assert set(get_args(DetectorName)) == set(DETECTORS)
