"""Report by exception, plausible ranges and stuck values: what is left out, what is marked, what is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.tags import TagSettings
from edge.polling.tag_filter import TagFilter, make_filter
from models.telemetry import Batch, Frame, decode_batch, encode_batch, quality

SECOND = 1_000_000_000
EXCEEDED = quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
STUCK = quality.UNCERTAIN_LAST_USABLE_VALUE

Points = dict[str, list[tuple[int, float | None, int | None]]]


def make(*tags: dict[str, object]) -> TagFilter:
    """Return the filter of these tags' settings."""
    made = make_filter([TagSettings.model_validate(tag) for tag in tags])
    assert made is not None
    return made


def list_points(frames: list[Frame]) -> Points:
    """Return (timestamp, value, status code) by tag, in the order in which they come."""
    points: Points = {}
    for frame in frames:
        for tag, column in frame.values.items():
            codes = frame.quality.get(tag, {})
            rows = zip(frame.timestamps, column, strict=True)
            points.setdefault(tag, []).extend(
                (at, value, codes.get(row)) for row, (at, value) in enumerate(rows)
            )
    return points


def poll(tag: str, values: list[float | None], interval_s: int = 1) -> list[Frame]:
    """Return one frame per value, from second 1 on."""
    return [Frame([at * interval_s * SECOND], {tag: [value]}) for at, value in enumerate(values, 1)]


def seconds(points: Points, tag: str = "a") -> list[tuple[float, float | None]]:
    """Return (second, value) of one tag."""
    return [(at / SECOND, value) for at, value, _ in points.get(tag, [])]


def test_tags_without_rules_have_no_filter() -> None:
    """Nothing is asked for: there is nothing to run. A heartbeat alone asks for nothing."""
    assert make_filter([TagSettings(name="a"), TagSettings(name="b", heartbeat_s=5)]) is None


def test_a_frame_without_ruled_tags_passes_as_it_is() -> None:
    """The very same frame, not a copy: other tags cost nothing."""
    frame = Frame([1], {"b": [1.0]})
    assert make({"name": "a", "deadband": 1})._apply(frame)[0] is frame


def test_small_changes_are_left_out_and_a_step_keeps_its_foot() -> None:
    """Within 0.5 of the last reported value nothing goes; a step goes with the value just before it."""
    noisy = make({"name": "a", "deadband": 0.5})
    kept = noisy.apply(poll("a", [10.0, 10.4, 9.6, 10.5, 20.0, 20.1]))
    assert seconds(list_points(kept)) == [(1, 10.0), (4, 10.5), (5, 20.0)]
    assert noisy.suppressed_total == 2


def test_a_slow_drift_is_not_lost() -> None:
    """The deadband is measured from the last reported value, not from the last read one."""
    drift = [10.0 + 0.2 * step for step in range(20)]
    kept = seconds(list_points(make({"name": "a", "deadband": 0.5}).apply(poll("a", drift))))
    assert len(kept) > 6
    assert max(abs(value - drift[int(at) - 1]) for at, value in kept if value is not None) == 0


def test_a_percentage_is_of_the_last_reported_value() -> None:
    """1 % of 200 is 2; 1 % of 0 is nothing, so every change from zero is reported."""
    kept = make({"name": "a", "deadband_percent": 1}).apply(poll("a", [200.0, 202.0, 202.1, 0.0, 0.001]))
    assert seconds(list_points(kept)) == [(1, 200.0), (2, 202.0), (3, 202.1), (4, 0.0), (5, 0.001)]
    kept = make({"name": "a", "deadband_percent": 1}).apply(poll("a", [-200.0, -201.0, -199.0, -202.1]))
    assert seconds(list_points(kept)) == [(1, -200.0), (3, -199.0), (4, -202.1)]


def test_a_repeat_goes_out_every_heartbeat_with_its_own_timestamp() -> None:
    """Unchanged for 30 s with a heartbeat of 10 s: three repeats, each as it was read."""
    kept = make({"name": "a", "deadband": 1, "heartbeat_s": 10}).apply(poll("a", [5.0] * 30))
    assert seconds(list_points(kept)) == [(1, 5.0), (11, 5.0), (21, 5.0)]


def test_a_change_of_quality_is_always_reported() -> None:
    """Bad, still bad, good again: the first bad one and the first good one go."""
    codes = [None, quality.BAD_TIMEOUT, quality.BAD_TIMEOUT, quality.UNCERTAIN, None]
    values = [1.0, None, None, 1.0, 1.0]
    frames = [
        Frame([at * SECOND], {"a": [value]}, {} if code is None else {"a": {0: code}})
        for at, (value, code) in enumerate(zip(values, codes, strict=True), 1)
    ]
    kept = list_points(make({"name": "a", "deadband": 1}).apply(frames))["a"]
    assert [(at // SECOND, code) for at, _, code in kept] == [
        (1, None),
        (2, quality.BAD_TIMEOUT),
        (3, quality.BAD_TIMEOUT),
        (4, quality.UNCERTAIN),
        (5, None),
    ]


def test_after_a_lost_connection_the_first_value_is_reported() -> None:
    """Nobody knows what happened in between."""
    quiet = make({"name": "a", "deadband": 1})
    quiet.apply(poll("a", [5.0, 5.0]))
    quiet.begin_again()
    assert list_points(quiet.apply([Frame([3 * SECOND], {"a": [5.0]})])) == {"a": [(3 * SECOND, 5.0, None)]}
    assert quiet.suppressed_total == 1


def test_an_implausible_value_is_kept_and_marked() -> None:
    """Beyond either end it is uncertain; a code that says more stays; the ends themselves are plausible."""
    frame = Frame([1, 2, 3, 4, 5], {"a": [-20.0, -20.1, 200.0, 999.0, None]}, {"a": {3: quality.BAD}})
    strict = make({"name": "a", "plausible": {"low": -20, "high": 200}})
    (kept,) = strict.apply([frame])
    assert kept.values == frame.values
    assert kept.quality == {"a": {1: EXCEEDED, 3: quality.BAD}}
    assert strict.implausible_total == 2
    (kept,) = make({"name": "a", "plausible": {"high": 5}}).apply([Frame([1], {"a": [-1e9]})])
    assert kept.quality == {}


def test_a_stuck_value_is_marked_and_said_once() -> None:
    """Unchanged for 10 s: marked from then on, said once; once more when it moves."""
    watched = make({"name": "a", "stuck_after_s": 10})
    kept = list_points(watched.apply(poll("a", [*[7.0] * 15, 7.1])))["a"]
    assert [code for _, _, code in kept] == [*[None] * 10, *[STUCK] * 5, None]
    stuck, moves = watched.take_news()
    assert (stuck.what, stuck.value, stuck.since_ns, stuck.now_ns) == ("stuck", 7.0, SECOND, 11 * SECOND)
    assert (moves.what, moves.since_ns, moves.now_ns) == ("moves", SECOND, 16 * SECOND)
    assert watched.take_news() == []


@pytest.mark.parametrize("in_one_frame", [True, False])
def test_standing_still_counts_only_while_the_machine_runs(*, in_one_frame: bool) -> None:
    """A machine that is off may stand still; the clock begins when it runs, by the same frame or the last."""
    rules = {"name": "a", "stuck_after_s": 10, "while_running": {"tag": "amps", "above": 5}}
    watched = make(rules)
    for at in range(1, 60):
        amps = 5.0 if at <= 30 else 5.1
        if in_one_frame:
            frames = [Frame([at * SECOND], {"a": [7.0], "amps": [amps]})]
        else:
            frames = [Frame([at * SECOND], {"amps": [amps]}), Frame([at * SECOND], {"a": [7.0]})]
        watched.apply(frames)
    (stuck,) = watched.take_news()
    assert (stuck.since_ns, stuck.now_ns) == (31 * SECOND, 41 * SECOND)


def test_a_machine_of_which_nothing_is_known_does_not_run() -> None:
    """Without a value of the running tag nothing is called stuck; a pause of the tag itself begins anew."""
    rules = {"name": "a", "stuck_after_s": 10, "while_running": {"tag": "amps"}}
    silent = make(rules)
    silent.apply(poll("a", [7.0] * 50))
    assert silent.take_news() == []
    paused = make({"name": "a", "stuck_after_s": 10})
    paused.apply(poll("a", [*[7.0] * 8, None, *[7.0] * 8]))
    assert paused.take_news() == []


def test_a_gap_is_no_standing_still() -> None:
    """The same value before and after an hour without any, or a clock that jumped by years: not stuck."""
    watched = make({"name": "a", "stuck_after_s": 10})
    years = 50 * 31_536_000
    frames = [Frame([at * SECOND], {"a": [7.0]}) for at in (1, 2, 3, years, years + 1, years + 9)]
    assert all(not frame.quality for frame in watched.apply(frames))
    assert watched.take_news() == []
    watched.apply([Frame([(years + 10) * SECOND], {"a": [7.0]})])
    assert [one.since_ns for one in watched.take_news()] == [years * SECOND]


def test_being_stuck_is_reported_through_a_deadband() -> None:
    """The rules work together: the mark is a change of quality, which no deadband holds back."""
    both = make({"name": "a", "deadband": 1, "heartbeat_s": 3600, "stuck_after_s": 10})
    kept = list_points(both.apply(poll("a", [7.0] * 20)))["a"]
    assert [(at // SECOND, code) for at, _, code in kept] == [(1, None), (10, None), (11, STUCK)]


VALUES = st.one_of(st.none(), st.floats(-5, 5), st.sampled_from([0.0, 1.0, 1.5]))


@st.composite
def polls(draw: st.DrawFn) -> list[Frame]:
    """Draw frames of tags with and without rules, of several rows each."""
    frames, at = [], 0
    for _ in range(draw(st.integers(1, 25))):
        rows = draw(st.integers(1, 4))
        timestamps = []
        for _ in range(rows):
            at += draw(st.integers(1, 5)) * SECOND
            timestamps.append(at)
        tags = draw(st.sets(st.sampled_from("abc"), min_size=1))
        values = {tag: draw(st.lists(VALUES, min_size=rows, max_size=rows)) for tag in sorted(tags)}
        marked = {tag: {0: quality.UNCERTAIN} for tag in sorted(tags) if draw(st.booleans())}
        frames.append(Frame(timestamps, values, marked))
    return frames


def make_all_rules() -> TagFilter:
    """Return a filter with every rule: a by deadband, b by percent and with marks, c without any."""
    return make(
        {"name": "a", "deadband": 1.0, "heartbeat_s": 20},
        {
            "name": "b",
            "deadband_percent": 10,
            "heartbeat_s": 30,
            "plausible": {"low": -4, "high": 4},
            "stuck_after_s": 15,
            "while_running": {"tag": "b"},
        },
        {"name": "c"},
    )


@given(polls())
def test_what_is_reported_was_read_and_what_is_not_lies_within_the_deadband(frames: list[Frame]) -> None:
    """No invented value; the rest differs less than allowed, and is never older than a heartbeat."""
    filtered = make_all_rules()
    read, kept = list_points(frames), list_points(filtered.apply(frames))
    assert kept.get("c") == read.get("c")
    left_out = 0
    for tag, limit, heartbeat_s in (("a", lambda _: 1.0, 20), ("b", lambda last: abs(last) * 0.1, 30)):
        reported = {at: (value, code) for at, value, code in kept.get(tag, [])}
        assert len(reported) == len(kept.get(tag, [])), "nothing is reported twice"
        assert list(reported) == sorted(reported)
        last: tuple[int, float | None] | None = None
        for at, value, _ in read.get(tag, []):
            if at in reported:
                assert reported[at][0] == value
                last = (at, value)
                continue
            left_out += 1
            assert last is not None, "the first value is always reported"
            assert at - last[0] < heartbeat_s * SECOND
            if value is None or last[1] is None:
                assert value == last[1]
            else:
                assert abs(value - last[1]) <= limit(last[1])
    waiting = sum(watch._held is not None for watch in filtered._watches.values())
    assert filtered.suppressed_total + waiting == left_out


@given(polls())
def test_however_frames_are_cut_the_same_values_come_out(frames: list[Frame]) -> None:
    """Row by row or in large frames: the rules see values, not frames; and the frames are valid."""
    rows = [
        Frame(
            [at],
            {tag: [column[row]] for tag, column in frame.values.items()},
            {tag: {0: codes[row]} for tag, codes in frame.quality.items() if row in codes},
        )
        for frame in frames
        for row, at in enumerate(frame.timestamps)
    ]
    at_once, one_by_one = make_all_rules(), make_all_rules()
    kept = at_once.apply(frames)
    assert list_points(kept) == list_points(one_by_one.apply(rows))
    assert at_once.take_news() == one_by_one.take_news()
    if kept:
        decode_batch(encode_batch(Batch("pi-01", "e", 1, kept)))
