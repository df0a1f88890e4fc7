"""The ring of a machine's newest rows: event time decides, whatever order values come in."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from cloud.watch.rings import GridRing
from models.anomaly.health import TagHealth, check_tags
from models.telemetry import Frame, Value, quality

TAGS = ["a", "b"]
STEP_NS = 1_000


def make_frames(count: int) -> list[Frame]:
    """Return frames of one sample each, two a row, the later one to count."""
    return [
        Frame([10_000 + number * 500], {"a": [float(number)], "b": [float(-number)]})
        for number in range(count)
    ]


def test_rows_are_the_same_in_whatever_order_samples_come() -> None:
    """Shuffled within the ring's length, the newest sample of each row and tag wins."""
    frames = make_frames(80)
    shuffled = frames.copy()
    random.Random(1).shuffle(shuffled)
    straight, mixed = GridRing(TAGS, STEP_NS, 100), GridRing(TAGS, STEP_NS, 100)
    mixed.put(frames[0])
    for ordered, disordered in zip(frames, shuffled, strict=True):
        straight.put(ordered)
        mixed.put(disordered)
    expected = straight.read(49, 40)
    np.testing.assert_array_equal(mixed.read(49, 40).values, expected.values)
    np.testing.assert_array_equal(expected.values[:, 0], np.arange(1, 80, 2))
    assert expected.first == 10


def poll_with_deadband(seconds: int, values_of_a: Callable[[int], float], *, marked: bool) -> GridRing:
    """Return a ring that heard of `a` once a minute only, and of three lively tags every second."""
    ring = GridRing(["a", "b", "c", "d"], STEP_NS, 2 * seconds)
    for second in range(1, seconds + 1):
        values: dict[str, list[Value]] = {tag: [float(second)] for tag in "bcd"}
        is_heartbeat = second % 60 == 1
        if is_heartbeat:
            values["a"] = [values_of_a(second)]
        is_repeat = is_heartbeat and second > 1 and marked
        ring.put(Frame([second * STEP_NS], values, {}, {"a": [0]} if is_repeat else {}))
    return ring


def test_a_tag_under_a_deadband_is_not_stuck_between_its_heartbeats() -> None:
    """A minute without a word, then a marked repeat: that may be; without the mark it is a stuck sensor."""
    health = TagHealth(np.array([1, 1, 1, 1]))
    for marked, faulty in ((True, []), (False, [0])):
        ring = poll_with_deadband(230, lambda second: 5.0 + second / 1000, marked=marked)
        checkup = check_tags(ring.read(230, 200), health, 1.0)
        assert list(checkup.faults) == faulty
        assert bool(np.isfinite(checkup.values[-1, 0])) is marked


def test_a_stuck_sensor_under_a_deadband_is_still_found() -> None:
    """The very same number at heartbeat after heartbeat is no small change."""
    ring = poll_with_deadband(600, lambda _: 5.0, marked=True)
    assert list(check_tags(ring.read(600, 600), TagHealth(np.array([1, 1, 1, 1])), 1.0).faults) == [0]


def test_old_rows_leave_and_what_comes_for_them_is_counted() -> None:
    """At least `rows_min` rows stay; a sample older than the ring is counted, and changes nothing."""
    ring = GridRing(TAGS, STEP_NS, 10)
    for frame in make_frames(200):
        ring.put(frame)
    kept = ring.read(109, 10)
    assert np.isfinite(kept.values).all()
    ring.put(Frame([10_000], {"a": [99.0], "b": [99.0]}))
    assert ring.too_old_total == 2
    np.testing.assert_array_equal(ring.read(109, 10).values, kept.values)


def test_a_long_silence_leaves_empty_rows() -> None:
    """A jump longer than the ring lets go of everything before it."""
    ring = GridRing(TAGS, STEP_NS, 10)
    for frame in make_frames(20):
        ring.put(frame)
    ring.put(Frame([9_000_000], {"a": [1.0]}))
    rows = ring.read(9_000, 10)
    assert np.isnan(rows.values[:-1]).all()
    assert rows.values[-1, 0] == 1.0
    assert np.isnan(rows.values[-1, 1])


def test_a_bad_sample_takes_the_place_of_a_good_one() -> None:
    """With its code; a value that is good by quality but no number is bad for an unknown reason."""
    ring = GridRing(TAGS, STEP_NS, 10)
    ring.put(Frame([5_000, 5_500], {"a": [1.0, None], "b": [1.0, None]}, {"a": {1: quality.BAD_TIMEOUT}}))
    rows = ring.read(5, 1)
    assert np.isnan(rows.values).all()
    assert rows.bad.tolist() == [[quality.BAD_TIMEOUT, quality.BAD]]


@pytest.mark.parametrize("code", [quality.GOOD, quality.UNCERTAIN_LAST_USABLE_VALUE])
def test_an_uncertain_value_is_used(code: int) -> None:
    """Only bad is left out: an uncertain sensor still tells more than none."""
    ring = GridRing(TAGS, STEP_NS, 10)
    ring.put(Frame([5_000], {"a": [1.5], "z": [1.0]}, {"a": {0: code}}))
    assert ring.read(5, 1).values[0, 0] == 1.5


def test_what_a_silent_tag_last_said_is_carried_in() -> None:
    """A set point that was told long before the rows read is known in the first of them."""
    ring = GridRing(TAGS, STEP_NS, 10)
    ring.put(Frame([5_000], {"a": [7.0]}))
    for number in range(6, 200):
        ring.put(Frame([number * 1_000], {"b": [float(number)]}))
    rows = ring.read(199, 5)
    np.testing.assert_array_equal(rows.values[:, 0], [7.0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(rows.values[:, 1], [195.0, 196.0, 197.0, 198.0, 199.0])
