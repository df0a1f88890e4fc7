"""Grid, windows and tag health: what a detector gets to see."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.anomaly.features import Windows, compute_features, plan_windows
from models.anomaly.grid import GridRows, count_still_rows, hold_last, put_on_grid
from models.anomaly.health import NEVER, TagHealth, check_tags, learn_health
from models.telemetry import quality

NAN = float("nan")
WINDOWS = Windows(means=[2, 4], spreads=[4])
FLOOR = np.array([0.01, 0.01])


def rows_of(values: list[list[float]], bad: dict[tuple[int, int], int] | None = None) -> GridRows:
    """Return grid rows with some cells bad."""
    grid = GridRows(0, np.array(values), np.zeros((len(values), len(values[0])), dtype=np.uint32))
    for cell, code in (bad or {}).items():
        grid.bad[cell] = code
    return grid


def test_a_feature_is_the_mean_or_the_log_spread_of_its_window() -> None:
    """Means and spreads over the last rows, this one included."""
    values = np.random.default_rng(1).normal(size=(9, 2))
    features = compute_features(values, WINDOWS, FLOOR)
    np.testing.assert_allclose(features[8, 0], values[7:].mean(axis=0))
    np.testing.assert_allclose(features[8, 1], values[5:].mean(axis=0))
    expected = 0.5 * np.log(values[5:].var(axis=0) + 0.01**2)
    np.testing.assert_allclose(features[8, 2], expected)


def test_a_window_with_too_few_values_says_nothing() -> None:
    """Less than half of the rows of a window: missing, and the other tag is not touched."""
    values = np.ones((8, 2))
    values[3:6, 0] = NAN
    features = compute_features(values, WINDOWS, FLOOR)
    assert np.isnan(features[5, 1, 0])
    assert not np.isnan(features[5, 1, 1])
    assert not np.isnan(features[7, 1, 0])
    assert np.isnan(features[0, 1]).all()


@given(st.integers(min_value=1, max_value=199))
def test_features_never_look_ahead(cut: int) -> None:
    """The features of a prefix are the prefix of the features."""
    values = np.random.default_rng(3).normal(size=(200, 2))
    values[50:70, 1] = NAN
    windows = plan_windows(3)
    whole = compute_features(values, windows, FLOOR)
    np.testing.assert_allclose(compute_features(values[:cut], windows, FLOOR), whole[:cut], atol=1e-12)


def test_the_newest_sample_of_a_row_counts() -> None:
    """Rows hold the last sample; a bad one leaves no value but its status code."""
    timestamps = np.array([1_000, 1_400, 2_100, 4_900])
    values = {"a": np.array([1.0, 2.0, 3.0, NAN]), "b": np.array([NAN, 7.0, NAN, NAN])}
    codes = {"a": np.array([0, 0, 0, quality.BAD_SENSOR_FAILURE], dtype=np.uint32)}
    grid = put_on_grid(timestamps, values, codes, ["a", "b"], 1_000)
    assert grid.first == 1
    np.testing.assert_array_equal(grid.values, [[2.0, 7.0], [3.0, NAN], [NAN, NAN], [NAN, NAN]])
    assert grid.bad[3, 0] == quality.BAD_SENSOR_FAILURE


def test_a_value_is_held_for_a_while_only() -> None:
    """No news of a tag is no change; holding ends at a bad sample, and when the whole machine is silent."""
    values = [[1.0, 5.0], [NAN, 6.0], [2.0, 7.0], [NAN, 8.0], *[[NAN, NAN]] * 6, [NAN, 9.0]]
    held = hold_last(rows_of(values, {(3, 0): quality.BAD}))
    np.testing.assert_array_equal(held[:, 0], [1.0, 1.0, 2.0, *[NAN] * 8])
    np.testing.assert_array_equal(held[:, 1], [5.0, 6.0, 7.0, *[8.0] * 5, NAN, NAN, 9.0])


def test_a_standstill_is_counted_in_rows() -> None:
    """A new value counts 0, and so does one after a gap."""
    values = np.array([[1.0], [1.0], [1.0], [2.0], [NAN], [2.0], [2.0]])
    np.testing.assert_array_equal(count_still_rows(values).ravel(), [0, 1, 2, 0, 0, 0, 1])


def make_healthy(rows: int = 400) -> np.ndarray:
    """Return three tags: noise, noise of one digit, and a set point."""
    rng = np.random.default_rng(5)
    return np.column_stack(
        [rng.normal(size=rows), np.round(rng.normal(size=rows), 0), np.where(np.arange(rows) < 200, 3.0, 4.0)]
    )


def test_what_a_tag_may_do_is_learned_from_it() -> None:
    """A noisy tag never stands still, a coarse one does for a while, a set point for ever."""
    health = learn_health(rows_of(make_healthy().tolist()))
    assert health.still_rows[0] == 0
    assert 1 <= health.still_rows[1] < 15
    assert health.still_rows[2] == NEVER


def test_a_stuck_tag_is_left_out_at_once_and_faulty_later() -> None:
    """In doubt after a step or two, a fault of its own after many, named in words."""
    healthy = make_healthy()
    health = learn_health(rows_of(healthy.tolist()))
    stuck = healthy.copy()
    stuck[-4:, 0] = stuck[-5, 0]
    checkup = check_tags(rows_of(stuck.tolist()), health, 0.5)
    assert checkup.faults == {}
    assert np.isnan(checkup.values[-1, 0])
    stuck[-21:, 0] = stuck[-22, 0]
    faults = check_tags(rows_of(stuck.tolist()), health, 0.5).faults
    assert faults == {0: "unchanged for 10 s (it never stood still longer than 0.5 s while learning)"}


def test_a_set_point_may_stand_still() -> None:
    """A tag that stood still for long while learning is believed when it does."""
    healthy = make_healthy()
    checkup = check_tags(rows_of(healthy.tolist()), learn_health(rows_of(healthy.tolist())), 1.0)
    assert checkup.faults == {}
    assert checkup.values[-1, 2] == 4.0


def test_a_bad_tag_is_faulty_with_its_reason() -> None:
    """A bad status is named as the machine names it."""
    healthy = make_healthy()
    health = learn_health(rows_of(healthy.tolist()))
    bad = rows_of(healthy.tolist(), {(399, 0): quality.BAD_SENSOR_FAILURE})
    bad.values[399, 0] = NAN
    assert check_tags(bad, health, 1.0).faults == {0: "the machine marks it bad: BadSensorFailure"}


def test_changes_only_and_every_value_are_the_same_to_it() -> None:
    """A server that sends changes only leaves a tag out while it stands still: judged alike."""
    every = make_healthy()
    changes = every.copy()
    changes[1:, [0, 2]] = np.where(every[1:] == every[:-1], NAN, every[1:])[:, [0, 2]]
    from_every, from_changes = (learn_health(rows_of(rows.tolist())) for rows in (every, changes))
    np.testing.assert_array_equal(from_changes.still_rows, from_every.still_rows)
    stuck = changes.copy()
    stuck[-30:, 0] = NAN
    checkup = check_tags(rows_of(stuck.tolist()), from_every, 1.0)
    assert checkup.faults == {0: "unchanged for 30 s (it never stood still longer than 1 s while learning)"}
    np.testing.assert_array_equal(
        checkup.values[:, 1:], check_tags(rows_of(every.tolist()), from_every, 1.0).values[:, 1:]
    )


def test_when_all_tags_stand_still_no_single_one_is_blamed() -> None:
    """A controller that repeats itself is not a sensor's fault."""
    healthy = make_healthy()
    health = learn_health(rows_of(healthy.tolist()))
    frozen = healthy.copy()
    frozen[-60:] = frozen[-61]
    checkup = check_tags(rows_of(frozen.tolist()), health, 1.0)
    assert checkup.faults == {}
    assert checkup.standstill == "2 tags at once: unchanged"


def test_reach_covers_every_fault() -> None:
    """The rows that the check looks back over suffice to see the longest allowed standstill end."""
    health = TagHealth(np.array([0, 40, NEVER]))
    assert health.reach_rows > health.still_rows_max[1]
    assert health.reach_rows < 1_000
