"""Readings that no machine can have made are the sensor's fault; what a real fault reads is not."""

import numpy as np
import pytest

from models.anomaly.grid import GridRows
from models.anomaly.health import TagHealth, check_tags, learn_health, restore_health
from models.anomaly.ranges import (
    SENTINELS,
    SPIKE_ROWS_MAX,
    declare_bounds,
    find_impossible,
    find_spikes,
    learn_ranges,
)

ROWS = 600
TAGS = ("flow", "pressure", "temperature", "current")
BAD = 0x80000000


def make_rows(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    """Return four tags that wander a little."""
    rng = np.random.default_rng(seed)
    return np.array([30.0, 6.0, 60.0, 12.0]) + 0.3 * rng.standard_normal((rows, len(TAGS)))


def rows_of(values: np.ndarray) -> GridRows:
    """Return values as rows of a grid."""
    return GridRows(0, values, np.zeros(values.shape, dtype=np.uint32))


@pytest.fixture
def health() -> TagHealth:
    """Give what healthy rows taught, the temperature's sensor reading from -40 to 200."""
    return learn_health(rows_of(make_rows()), declare_bounds(TAGS, {"temperature": (-40.0, 200.0)}))


def test_a_value_beyond_the_declared_range_is_the_sensors_fault(health: TagHealth) -> None:
    """It is left out at once, with its reason; 199 degrees are the machine's, however unusual."""
    fresh = make_rows(1)
    fresh[-5:, 2] = [201.0, 250.0, 230.0, 240.0, 233.5]
    checkup = check_tags(rows_of(fresh), health, 1.0)
    assert np.isnan(checkup.values[-5:, 2]).all()
    assert checkup.faults == {2: "reads 233.5, which this sensor cannot (-40 to 200)"}
    fresh[-5:, 2] = 199.0 + 0.01 * np.arange(5)
    checkup = check_tags(rows_of(fresh), health, 1.0)
    assert np.isfinite(checkup.values[-1, 2])
    assert checkup.faults == {}


@pytest.mark.parametrize("code", [-9999.0, 32767.0, 65535.0, -32768.0])
def test_a_number_that_stands_for_no_value_is_no_reading(health: TagHealth, code: float) -> None:
    """What a gateway writes when it has nothing; 9998 is believed, for a real fault may read anything."""
    fresh = make_rows(2)
    fresh[300:, 0] = code
    checkup = check_tags(rows_of(fresh), health, 1.0)
    assert np.isnan(checkup.values[300:, 0]).all()
    assert checkup.faults == {0: f"reads {code:g}, a number that stands for no value"}
    fresh[300:, 0] = code - 1.0
    assert health.ranges is not None
    assert not find_impossible(fresh, health.ranges).any()


def test_a_usual_value_that_happens_to_be_such_a_number_is_believed() -> None:
    """A counter that passes 32767, or a temperature of 999 in a furnace."""
    rng = np.random.default_rng(3)
    furnace = np.column_stack([950.0 + 60.0 * rng.random(400), 32_000.0 + 3.0 * np.arange(400.0)])
    ranges = learn_ranges(furnace)
    assert not find_impossible(np.array([[999.0, 32767.0]]), ranges).any()


def test_learning_is_not_misled_by_such_numbers() -> None:
    """-9999 now and then is in neither the usual range nor the usual steps."""
    rows = make_rows()
    clean = learn_ranges(rows)
    rows[[50, 51, 300], 1] = -9999.0
    ranges = learn_ranges(rows)
    assert ranges.usual_low[1] > 4.0
    assert ranges.step[1] == pytest.approx(clean.step[1], rel=0.3)
    assert find_impossible(rows, ranges).sum() == 3


def test_a_spike_that_no_other_tag_confirms_does_not_reach_the_detector(health: TagHealth) -> None:
    """One alone is passed over in silence; three within 20 rows are a loose contact."""
    fresh = make_rows(4)
    fresh[500, 1] += 90.0
    once = check_tags(rows_of(fresh), health, 1.0)
    assert np.flatnonzero(np.isnan(once.values[:, 1])).tolist() == [500]
    assert once.faults == {}
    fresh[[585, 590, 595], 1] -= 90.0
    often = check_tags(rows_of(fresh), health, 1.0)
    assert np.flatnonzero(np.isnan(often.values[:, 1])).tolist() == [500, 585, 590, 595]
    assert list(often.faults) == [1]
    assert often.faults[1].startswith("jumped 3 times within 20 s, more than 10 times as far as ever")


def test_a_step_that_stays_and_a_jump_that_others_share_are_the_machines(health: TagHealth) -> None:
    """After three rows a step is believed; where another tag moves too, nothing is ever in doubt."""
    fresh = make_rows(5)
    fresh[500:, 1] += 90.0
    values = check_tags(rows_of(fresh), health, 1.0).values
    assert np.flatnonzero(np.isnan(values[:, 1])).tolist() == list(range(500, 500 + SPIKE_ROWS_MAX))
    fresh = make_rows(5)
    fresh[500, 1] += 90.0
    fresh[500:, 3] += 5.0
    assert np.isfinite(check_tags(rows_of(fresh), health, 1.0).values).all()


def test_a_tag_that_swings_about_away_from_where_it_was_is_believed(health: TagHealth) -> None:
    """As the flow of a pump that runs dry does in SKAB, while no other tag moves."""
    fresh = make_rows(6)
    fresh[400:420, 0] = np.linspace(30.0, -60.0, 20)
    fresh[420:, 0] = -60.0 + 40.0 * np.sin(np.arange(180.0))
    assert health.ranges is not None
    assert not find_spikes(fresh, health.ranges)[420:].any()


def test_what_is_in_doubt_is_known_from_the_rows_before(health: TagHealth) -> None:
    """The doubts of a beginning are the beginning of the doubts."""
    rng = np.random.default_rng(7)
    fresh = make_rows(7)
    for row in rng.integers(10, ROWS, 40):
        fresh[row : row + int(rng.integers(1, 6)), rng.integers(4)] += rng.choice([-80.0, 80.0])
    assert health.ranges is not None
    whole = find_spikes(fresh, health.ranges)
    assert whole.any()
    for stop in range(20, ROWS, 37):
        np.testing.assert_array_equal(find_spikes(fresh[:stop], health.ranges), whole[:stop])


def test_of_two_tags_nobody_can_say_which_one_lies() -> None:
    """And a single tag's jumps are all there is to see of its machine."""
    rows = make_rows()[:, :2]
    fresh = make_rows(8)[:, :2]
    fresh[300, 0] += 90.0
    assert not find_spikes(fresh, learn_ranges(rows)).any()


def test_health_comes_back_from_a_bundles_arrays(health: TagHealth) -> None:
    """Also of bundles from before ranges were learned: then nothing is out of range."""
    again = restore_health(health.arrays())
    assert again.ranges is not None
    assert health.ranges is not None
    for name in health.ranges.__struct_fields__:
        np.testing.assert_array_equal(getattr(again.ranges, name), getattr(health.ranges, name))
    old = restore_health({"health.still_rows": health.still_rows})
    assert old.ranges is None
    fresh = make_rows(9)
    fresh[-1, 0] = SENTINELS[0]
    assert check_tags(rows_of(fresh), old, 1.0).faults == {}
