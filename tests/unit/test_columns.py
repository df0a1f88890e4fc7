"""Single observations become frames; repeats are left out; what is no number says so."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from edge.drivers.columns import (
    Observation,
    RepeatFilter,
    convert_time,
    convert_value,
    gather_frames,
    has_overflowed,
)
from models.telemetry import Frame, quality


def test_tags_with_the_same_timestamps_share_a_frame() -> None:
    """Rows ascend whatever the order of arrival, and bad ones are None with their code."""
    observations: list[Observation] = [
        ("a", 20, 2.0, 0),
        ("b", 10, None, quality.BAD_SENSOR_FAILURE),
        ("a", 10, 1.0, quality.UNCERTAIN),
        ("b", 20, 4.0, 0),
        ("c", 20, 5.0, 0),
    ]
    shared, alone = gather_frames(observations)
    assert shared == Frame(
        [10, 20],
        {"a": [1.0, 2.0], "b": [None, 4.0]},
        {"a": {0: quality.UNCERTAIN}, "b": {0: quality.BAD_SENSOR_FAILURE}},
    )
    assert alone == Frame([20], {"c": [5.0]})


def test_two_observations_of_one_instant_are_one_row() -> None:
    """The later one counts."""
    assert gather_frames([("a", 10, 1.0, 0), ("a", 10, 2.0, 0)]) == [Frame([10], {"a": [2.0]})]


def test_what_a_server_repeats_is_left_out() -> None:
    """The same timestamp, value and quality are no news; a new value under the old timestamp is."""
    repeats = RepeatFilter()
    assert list(repeats.keep_news([("a", 10, 1.0, 0), ("b", 10, 1.0, 0)])) != []
    assert list(repeats.keep_news([("a", 10, 1.0, 0)])) == []
    assert list(repeats.keep_news([("a", 10, 2.0, 0)])) == [("a", 10, 2.0, 0)]
    assert list(repeats.keep_news([("a", 20, 2.0, 0)])) == [("a", 20, 2.0, 0)]


def test_bad_is_said_once_until_it_changes() -> None:
    """A tag that stays bad with a new timestamp each round is no news; another reason is, and recovery."""
    repeats = RepeatFilter()
    bad, worse = quality.BAD_NODE_ID_UNKNOWN, quality.BAD_DEVICE_FAILURE
    assert len(list(repeats.keep_news([("a", 10, None, bad)]))) == 1
    assert list(repeats.keep_news([("a", 11, None, bad)])) == []
    assert len(list(repeats.keep_news([("a", 12, None, worse), ("a", 13, 1.0, 0)]))) == 2


def test_going_bad_does_not_overwrite_the_last_good_value() -> None:
    """Some servers go bad under the timestamp of the last good value, by which a value is known."""
    repeats = RepeatFilter()
    news = [*repeats.keep_news([("a", 10, 1.0, 0)]), *repeats.keep_news([("a", 10, None, quality.BAD)])]
    assert news == [("a", 10, 1.0, 0), ("a", 11, None, quality.BAD)]


@pytest.mark.parametrize(
    ("sent", "code", "expected"),
    [
        (True, 0, (1.0, 0)),
        (False, 0, (0.0, 0)),
        (7, 0, (7.0, 0)),
        (1.5, quality.UNCERTAIN_SUB_NORMAL, (1.5, quality.UNCERTAIN_SUB_NORMAL)),
        (1.5, 0x00000480, (1.5, 0)),
        (1.5, quality.BAD_SENSOR_FAILURE, (None, quality.BAD_SENSOR_FAILURE)),
        (float("nan"), 0, (None, quality.BAD_SENSOR_FAILURE)),
        (float("-inf"), 0, (None, quality.BAD_SENSOR_FAILURE)),
        ("12", 0, (None, quality.BAD_TYPE_MISMATCH)),
        ([1.0, 2.0], 0, (None, quality.BAD_TYPE_MISMATCH)),
        (None, 0, (None, quality.BAD_WAITING_FOR_INITIAL_DATA)),
    ],
)
def test_what_a_server_sends_is_a_number_or_says_why_not(
    sent: object, code: int, expected: tuple[float | None, int]
) -> None:
    """Booleans and whole numbers are numbers; text, arrays and NaN are not; flags of the code are dropped."""
    assert convert_value(sent, code, is_float32=False) == expected


def test_a_float32_is_the_decimal_that_was_meant() -> None:
    """A Float of 12.3 arrives as 12.300000190734863 and leaves as 12.3; a Double is left alone."""
    assert convert_value(12.300000190734863, 0, is_float32=True) == (12.3, 0)
    assert convert_value(12.300000190734863, 0, is_float32=False) == (12.300000190734863, 0)


def test_the_first_timestamp_that_is_one_counts() -> None:
    """Microseconds are kept exactly; what is missing or before 1970 (OPC UA's zero: 1601) is passed over."""
    moment = datetime(2026, 11, 23, 3, 0, 0, 123_457, UTC)
    assert convert_time(moment, None) == 1_795_402_800_123_457_000
    assert convert_time(None, moment) == convert_time(datetime(1601, 1, 1, tzinfo=UTC), moment)
    assert convert_time(moment.replace(tzinfo=None)) == convert_time(moment)
    assert convert_time(moment.astimezone(timezone(timedelta(hours=5)))) == convert_time(moment)
    assert convert_time(None, None) is None


def test_an_overflow_is_known_by_its_bit_and_only_with_its_type() -> None:
    """0x80 means overflow only in a code of type DataValue (0x400)."""
    assert has_overflowed(0x00000480)
    assert not has_overflowed(0x00000080)
    assert not has_overflowed(0)
