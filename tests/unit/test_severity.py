"""Severity: from how far above the limit, for how long, and how fast it rises."""

import numpy as np
import pytest

from cloud.alerts.severity import grade_severity

TIMES = np.arange(0.0, 1_200.0, 10.0)


def grade(first: float, last: float, lasted_s: float = 1_200.0) -> str:
    """Return the grade of a score that went from `first` to `last` limits within 20 minutes."""
    ratios = np.geomspace(first, last, len(TIMES))
    return grade_severity(TIMES, ratios, lasted_s).grade


def test_the_farther_above_the_limit_the_worse() -> None:
    """Steady scores: 1.2, 3, 8 and 20 times the limit."""
    grades = [grade(level, level) for level in (1.2, 3.0, 8.0, 20.0)]
    assert grades == ["slight", "distinct", "severe", "critical"]


def test_what_rises_is_worse_than_what_stays_and_what_falls() -> None:
    """All of them are at 1.8 times the limit now."""
    assert grade(0.5, 1.8) == "distinct"
    assert grade(1.8, 1.8) == "slight"
    assert grade(6.0, 1.8) == "slight"


def test_what_lasts_gets_worse() -> None:
    """1.8 times the limit for two days is more than for twenty minutes."""
    assert grade(1.8, 1.8, 2 * 86_400.0) == "distinct"


def test_the_words_say_the_numbers() -> None:
    """Ratio, duration, and how fast: doubling in 10 minutes."""
    ratios = 2.0 ** (TIMES / 600.0)
    rising = grade_severity(TIMES, ratios, 1_200.0)
    assert (
        rising.words
        == "severe, 3.75 times the limit, for 20 min, rising: at this pace twice as high in 10 min"
    )
    assert grade_severity(TIMES, ratios[::-1], 1_200.0).words.endswith(", falling")


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_values_are_graded_without_a_slope(rows: int) -> None:
    """Just after the alert there is little to go by."""
    assert grade_severity(TIMES[:rows], np.full(rows, 1.5), 0.0).grade == "slight"
