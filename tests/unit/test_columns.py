"""Rows become frames; repeats are left out; what is no number says so."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.columns import (
    FUTURE_NS_MAX,
    Overflow,
    Rows,
    choose_time,
    convert_time,
    convert_value,
    has_overflowed,
)
from edge.drivers.gathering import Gatherer
from models.telemetry import Frame, Value, quality

NOW_NS = 1_795_402_800_000_000_000


def make_rows(*told: tuple[int, int, Value, int]) -> Rows:
    """Return rows of place, timestamp, value, code."""
    rows = Rows()
    for one in told:
        rows.add(*one)
    return rows


def test_tags_with_the_same_timestamps_share_a_frame() -> None:
    """Rows ascend whatever the order of arrival, and bad ones are None with their code."""
    rows = make_rows(
        (0, 20, 2.0, 0),
        (1, 10, None, quality.BAD_SENSOR_FAILURE),
        (0, 10, 1.0, quality.UNCERTAIN),
        (1, 20, 4.0, 0),
        (2, 20, 5.0, 0),
    )
    shared, alone = Gatherer("abc").gather([rows])
    assert shared == Frame(
        [10, 20],
        {"a": [1.0, 2.0], "b": [None, 4.0]},
        {"a": {0: quality.UNCERTAIN}, "b": {0: quality.BAD_SENSOR_FAILURE}},
    )
    assert alone == Frame([20], {"c": [5.0]})


def test_two_observations_of_one_instant_are_one_row() -> None:
    """The later one counts."""
    assert Gatherer("a").gather([make_rows((0, 10, 1.0, 0), (0, 10, 2.0, 0))]) == [Frame([10], {"a": [2.0]})]


def test_what_a_server_repeats_is_left_out() -> None:
    """The same timestamp, value and quality are no news; a new value under the old timestamp is."""
    gatherer = Gatherer("ab")
    assert gatherer.gather([make_rows((0, 10, 1.0, 0), (1, 10, 1.0, 0))]) == [
        Frame([10], {"a": (1.0,), "b": (1.0,)})
    ]
    assert gatherer.gather([make_rows((0, 10, 1.0, 0))]) == []
    assert gatherer.gather([make_rows((0, 10, 2.0, 0))]) == [Frame([10], {"a": [2.0]})]
    assert gatherer.gather([make_rows((0, 20, 2.0, 0))]) == [Frame([20], {"a": (2.0,)})]


def test_bad_is_said_once_until_it_changes() -> None:
    """A tag that stays bad with a new timestamp each round is no news; another reason is, and recovery."""
    gatherer = Gatherer("a")
    bad, worse = quality.BAD_NODE_ID_UNKNOWN, quality.BAD_DEVICE_FAILURE
    assert gatherer.gather([make_rows((0, 10, None, bad))]) == [Frame([10], {"a": [None]}, {"a": {0: bad}})]
    assert gatherer.gather([make_rows((0, 11, None, bad))]) == []
    (frame,) = gatherer.gather([make_rows((0, 12, None, worse)), make_rows((0, 13, 1.0, 0))])
    assert frame == Frame([12, 13], {"a": [None, 1.0]}, {"a": {0: worse}})


def test_going_bad_does_not_overwrite_the_last_good_value() -> None:
    """Some servers go bad under the timestamp of the last good value, by which a value is known."""
    gatherer = Gatherer("a")
    gatherer.gather([make_rows((0, 10, 1.0, 0))])
    (frame,) = gatherer.gather([make_rows((0, 10, None, quality.BAD))])
    assert frame == Frame([11], {"a": [None]}, {"a": {0: quality.BAD}})


told_rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(1, 6),
        st.sampled_from([0.0, 1.0, 2.0, None]),
        st.sampled_from([0, quality.UNCERTAIN, quality.BAD, quality.BAD_SENSOR_FAILURE]),
    ),
    max_size=12,
)


Told = tuple[int, int, Value, int]


def keep_news(calls: list[list[Told]]) -> list[dict[int, dict[int, tuple[Value, int]]]]:
    """The same rules, one observation after the other: what each call has new, by place and time."""
    last: dict[int, Told] = {}
    kept = []
    for told in calls:
        news: dict[int, dict[int, tuple[Value, int]]] = {}
        for one in told:
            place, time, value, code = one
            before = last.get(place)
            is_still_bad = before is not None and value is None and before[2] is None and before[3] == code
            if before == one or is_still_bad:
                continue
            goes_bad = before is not None and value is None and before[1] == time
            last[place] = one
            news.setdefault(place, {})[time + goes_bad] = (value, code)
        kept.append(news)
    return kept


answers = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([1, 2, 2, 3]),
        st.sampled_from([0.0, 1.0, None]),
        st.sampled_from([0, 0, quality.UNCERTAIN, quality.BAD]),
    ),
    max_size=3,
    unique_by=lambda told: told[0],
)
"""What Reads are answered with: every tag stands once."""


@given(st.lists(told_rows, max_size=4) | st.lists(answers, max_size=6))
def test_whatever_comes_what_is_new_is_a_row(calls: list[list[Told]]) -> None:
    """Columns say what the rules say of one observation after the other; each tag is in one frame."""
    calls = [[row for row in told if (row[2] is None) == quality.is_bad(row[3])] for told in calls]
    gatherer = Gatherer("abc")
    for told, expected in zip(calls, keep_news(calls), strict=True):
        seen: dict[int, dict[int, tuple[Value, int]]] = {}
        frames = gatherer.gather([make_rows(*told[:5]), make_rows(*told[5:])])
        assert len({tuple(frame.timestamps) for frame in frames}) == len(frames)
        for frame in frames:
            assert frame.timestamps == sorted(set(frame.timestamps))
            for tag, column in frame.values.items():
                assert "abc".index(tag) not in seen
                codes = frame.quality.get(tag, {})
                rows = enumerate(zip(frame.timestamps, column, strict=True))
                seen["abc".index(tag)] = {time: (value, codes.get(row, 0)) for row, (time, value) in rows}
        assert seen == expected


def test_an_overflow_lies_between_the_value_before_and_the_marked_one() -> None:
    """The mark stands on the first value after those that the server's queue had no room for."""
    gatherer = Gatherer("ab")
    rows = make_rows((0, 10, 1.0, 0), (1, 15, 1.0, 0), (0, 20, 2.0, 0))
    rows.overflowed.append(2)
    gatherer.gather([rows])
    assert gatherer.take_overflows() == [Overflow(0, 10, 20)]
    assert gatherer.take_overflows() == []


def test_what_is_older_than_what_a_tag_has_said_is_left_out() -> None:
    """A read of resting tags is of no use for one that has spoken since."""
    gatherer = Gatherer("ab")
    gatherer.gather([make_rows((0, 10, 1.0, 0), (1, 30, 1.0, 0))])
    read = make_rows((0, 20, 2.0, quality.UNCERTAIN), (1, 30, 1.0, 0), (1, 20, 3.0, 0))
    assert gatherer.keep_newer(read) == make_rows((0, 20, 2.0, quality.UNCERTAIN))


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


def test_times_are_exact_to_the_microsecond() -> None:
    """In whatever zone; what is missing or before 1970 (OPC UA's zero: 1601) is none."""
    moment = datetime(2026, 11, 23, 3, 0, 0, 123_457, UTC)
    assert convert_time(moment) == 1_795_402_800_123_457_000
    assert convert_time(moment.replace(tzinfo=None)) == convert_time(moment)
    assert convert_time(moment.astimezone(timezone(timedelta(hours=5)))) == convert_time(moment)
    assert convert_time(None) == convert_time(datetime(1601, 1, 1, tzinfo=UTC)) == 0


@pytest.mark.parametrize(
    ("source", "server", "expected"),
    [
        (NOW_NS - 1, NOW_NS, NOW_NS - 1),
        (1, NOW_NS, 1),  # rests since 1970, for all we know
        (0, NOW_NS - 5, NOW_NS - 5),
        (NOW_NS + FUTURE_NS_MAX, 0, NOW_NS + FUTURE_NS_MAX),
        (NOW_NS + FUTURE_NS_MAX + 1, 0, NOW_NS),
        (NOW_NS + FUTURE_NS_MAX + 1, NOW_NS - 5, NOW_NS - 5),
        (NOW_NS + 2 * FUTURE_NS_MAX, NOW_NS + FUTURE_NS_MAX, NOW_NS + 2 * FUTURE_NS_MAX),
        (NOW_NS + 9 * FUTURE_NS_MAX, NOW_NS + 2 * FUTURE_NS_MAX, NOW_NS),
        (0, 0, NOW_NS),
    ],
)
def test_a_source_timestamp_is_kept_while_it_is_plausible(source: int, server: int, expected: int) -> None:
    """Else the server's counts, else the time of receipt; a clock of ours that is behind is no judge."""
    assert choose_time(source, server, NOW_NS) == expected


def test_an_overflow_is_known_by_its_bit_and_only_with_its_type() -> None:
    """0x80 means overflow only in a code of type DataValue (0x400)."""
    assert has_overflowed(0x00000480)
    assert not has_overflowed(0x00000080)
    assert not has_overflowed(0)
