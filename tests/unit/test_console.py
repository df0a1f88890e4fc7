"""What the console decides without a server: curves, order of attention, what has changed, words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import Alert
from cloud.console.history import bridge
from cloud.console.live import find_change
from cloud.console.overview import Sighting, choose_alerts, find_attention, make_row, sort_rows
from cloud.console.series import draw_band, draw_line, find_sigma, hold, thin
from cloud.console.shapes import Attention, MachineRow, Overview, PlantLine
from cloud.console.spark import draw_spark
from cloud.console.words import say_number, say_sigma, say_span
from cloud.machines import CardBox
from cloud.watch.machine_states import MachineStateRow
from models.telemetry import MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
NOW_NS = 1_795_337_912_000_000_000
SECOND_NS = 1_000_000_000


def make_times(count: int, step_ns: int = SECOND_NS) -> np.ndarray:
    """Return `count` instants at an even step."""
    return NOW_NS + np.arange(count, dtype=np.int64) * step_ns


@given(st.integers(2, 5000), st.integers(2, 400), st.integers(0, 10_000))
def test_thinning_keeps_every_extreme(count: int, points: int, seed: int) -> None:
    """The lowest and the highest value survive, time ascends, and there are no more points than asked for."""
    values = np.random.default_rng(seed).normal(0, 1, count).round(1)
    times, kept = thin(make_times(count), values, points)
    assert len(times) <= max(points, 2)
    assert (kept.min(), kept.max()) == (values.min(), values.max())
    assert (np.diff(times) > 0).all()
    assert set(zip(times.tolist(), kept.tolist(), strict=True)) <= set(
        zip(make_times(count).tolist(), values.tolist(), strict=True)
    )


def test_a_week_is_thinned_without_losing_one_spike() -> None:
    """One row of 600,000 stands out, and is still there among 600 points."""
    values = np.zeros(600_000)
    values[123_456] = 9.0
    line = draw_line(make_times(600_000), values, 600)
    assert line.values.count(9.0) == 1
    assert len(line.values) <= 600


def test_a_curve_is_broken_where_nothing_was_observed() -> None:
    """An outage is a gap, not a straight line over it; a thinned curve keeps the gap."""
    times = np.concatenate([make_times(1000), make_times(1000) + 3_000 * SECOND_NS])
    for points in (2000, 100):
        line = draw_line(times, np.ones(2000), points)
        assert line.values.count(None) == 1
        at = line.values.index(None)
        assert line.times_ms[at - 1] < line.times_ms[at] < line.times_ms[at + 1]
        assert line.times_ms[at + 1] - line.times_ms[at - 1] == pytest.approx(2_001_000, abs=100_000)


def test_the_band_is_three_of_the_models_sigmas_wide() -> None:
    """From value, expectation and signed sigmas comes the width of the band, whatever the noise."""
    times = make_times(500)
    random = np.random.default_rng(1)
    expected = 50 + np.sin(np.arange(500) / 30)
    values = expected + random.normal(0, 0.4, 500)
    sigmas = (values - expected) / 0.4
    band = draw_band((times, values), (times[::2], expected[::2]), (times[::2], sigmas[::2]), 2000)
    assert band is not None
    assert [
        high - low
        for high, low in zip(band.high, band.low, strict=True)
        if high is not None and low is not None
    ] == pytest.approx([6 * 0.4] * 250, rel=1e-3)


def test_without_a_word_of_the_model_there_is_no_band() -> None:
    """A machine that is learning has curves and no band; a sigma of zero gives no width."""
    nothing = (np.empty(0, np.int64), np.empty(0))
    assert draw_band((make_times(3), np.ones(3)), nothing, nothing, 100) is None
    assert (
        find_sigma((make_times(3), np.ones(3)), (make_times(3), np.ones(3)), (make_times(3), np.zeros(3)))
        is None
    )


def test_hold_takes_the_newest_value_at_or_before_an_instant() -> None:
    """An instant before the first value has none."""
    source = (make_times(3, 10), np.array([1.0, np.nan, 3.0]))
    held = hold(source, np.array([NOW_NS - 1, NOW_NS, NOW_NS + 15, NOW_NS + 99]))
    assert np.array_equal(held, [np.nan, 1.0, 1.0, 3.0], equal_nan=True)


def make_state(**changes: object) -> MachineStateRow:
    """Return the state of a healthy machine, with changes."""
    facts: dict[str, object] = {
        "machine": PUMP, "state": "judged", "score": 0.4, "limit": 1.0, "coverage": 1.0,
        "timestamp_ns": NOW_NS, "since_ns": NOW_NS, "reason": "", "faulty": {},
    }  # fmt: skip
    return MachineStateRow(**(facts | changes))  # type: ignore[arg-type]  # facts of a test


def make_alert(**changes: object) -> Alert:
    """Return an open machine alert, with changes."""
    facts: dict[str, object] = {
        "id": "a1", "machine": PUMP, "kind": "machine", "state": "raised",
        "raised_ns": NOW_NS - 60_000_000_000, "score": 2.0, "limit": 1.0, "score_peak": 2.0,
        "contributions": [], "faulty_tags": {}, "tags": [], "summary": "Odd", "cause": "", "advice": [],
    }  # fmt: skip
    return Alert(**(facts | changes))  # type: ignore[arg-type]  # facts of a test


TAKEN_ON = make_alert(acknowledged_ns=NOW_NS)
LONG_AGO_NS = NOW_NS - 31 * SECOND_NS


@pytest.mark.parametrize(
    ("sighting", "attention"),
    [
        (Sighting(PUMP, make_state(), make_alert(), NOW_NS), Attention.ALERT),
        (Sighting(PUMP, make_state(), TAKEN_ON, NOW_NS), Attention.ACKNOWLEDGED),
        (Sighting(PUMP, make_state(), make_alert(kind="tag"), NOW_NS), Attention.TAG_FAULT),
        (Sighting(PUMP, make_state(faulty={"flow": "stuck"}), None, NOW_NS), Attention.TAG_FAULT),
        (Sighting(PUMP, make_state(state="cannot_judge"), None, NOW_NS), Attention.CANNOT_JUDGE),
        (Sighting(PUMP, make_state(), None, NOW_NS - 31 * SECOND_NS), Attention.CANNOT_JUDGE),
        (Sighting(PUMP, make_state(state="learning"), None, NOW_NS), Attention.LEARNING),
        (Sighting(PUMP, None, None, NOW_NS), Attention.LEARNING),
        (Sighting(PUMP, make_state(state="learning"), make_alert(), NOW_NS), Attention.ALERT),
        (Sighting(PUMP, make_state(state="learning"), TAKEN_ON, NOW_NS), Attention.LEARNING),
        (Sighting(PUMP, make_state(state="learning"), TAKEN_ON, LONG_AGO_NS), Attention.CANNOT_JUDGE),
        (Sighting(PUMP, make_state(state="unknown_running"), None, NOW_NS), Attention.UNKNOWN_RUNNING),
        (Sighting(PUMP, make_state(), None, NOW_NS), Attention.HEALTHY),
    ],
)
def test_attention_follows_the_alert_the_sensors_and_the_silence(
    sighting: Sighting, attention: Attention
) -> None:
    """An alert goes before a faulty tag, that before silence, and silence is never called healthy."""
    assert attention == find_attention(sighting, NOW_NS)


def test_a_silent_machine_says_for_how_long() -> None:
    """The reason names the silence, not the last score."""
    row = make_row(Sighting(PUMP, make_state(), None, NOW_NS - 150 * SECOND_NS), CardBox(), "", NOW_NS)
    assert row.reason == "No value for 2 min 30 s"


def test_a_machine_alert_goes_before_its_tag_alert_and_cleared_ones_do_not_count() -> None:
    """Whatever the order of the list."""
    tag, machine = make_alert(id="t", kind="tag"), make_alert(id="m")
    assert choose_alerts([tag, machine])[PUMP].id == "m"
    assert choose_alerts([machine, tag])[PUMP].id == "m"
    assert choose_alerts([make_alert(cleared_ns=NOW_NS)]) == {}


def make_machine_row(name: str, attention: Attention, since_ms: int = 0) -> MachineRow:
    """Return a row that matters by its attention alone."""
    return MachineRow(
        path=name, title=name, attention=attention, words="", reason="", score=None, limit=None, load=None,
        newest_ms=None, since_ms=since_ms, alert_id="a" if since_ms else None, spark="",
    )  # fmt: skip


def test_rows_stand_in_the_order_of_attention() -> None:
    """Among alerts the one that has waited longest is first; among the calm the path decides."""
    rows = [
        make_machine_row("healthy-b", Attention.HEALTHY),
        make_machine_row("healthy-a", Attention.HEALTHY),
        make_machine_row("late", Attention.ALERT, 2_000),
        make_machine_row("learning", Attention.LEARNING),
        make_machine_row("early", Attention.ALERT, 1_000),
        make_machine_row("tag", Attention.TAG_FAULT, 500),
    ]
    assert [row.path for row in sort_rows(rows)] == [
        "early",
        "late",
        "tag",
        "learning",
        "healthy-a",
        "healthy-b",
    ]


def make_overview(*rows: MachineRow, at_ms: int = 0) -> Overview:
    """Return an overview of these rows."""
    plant = PlantLine(
        machines=len(rows), needing_attention=0, gateways_online=1, gateways_offline=0, values_stored=0,
        batches_missing=0,
    )  # fmt: skip
    return Overview(at_ms=at_ms, plant=plant, machines=list(rows))


def test_the_stream_carries_only_what_changed() -> None:
    """The same plant a second later is no event; one changed row travels alone; a move brings the order."""
    calm, tag = make_machine_row("a", Attention.HEALTHY), make_machine_row("b", Attention.HEALTHY)
    before = make_overview(calm, tag)
    assert find_change(before, make_overview(calm, tag, at_ms=1000)) is None
    worse = make_machine_row("b", Attention.ALERT, 5)
    same_place = find_change(before, make_overview(calm, worse))
    assert same_place is not None
    assert (same_place.machines, same_place.order) == ([worse], None)
    moved = find_change(before, make_overview(worse, calm))
    assert moved is not None
    assert (moved.machines, moved.order) == ([worse], ["b", "a"])
    first = find_change(None, before)
    assert first is not None
    assert (first.machines, first.order) == ([calm, tag], ["a", "b"])


def test_a_spark_shows_the_limit_at_half_its_height() -> None:
    """Ratios above two limits stay inside the picture; a hole lifts the pen."""
    assert draw_spark([0.0, 1.0, 9.0], 3) == "M0.0 32.0L60.0 16.0L120.0 0.0"
    assert draw_spark([0.0, None, 0.0], 3) == "M0.0 32.0M120.0 32.0"
    assert draw_spark([], 3) == ""
    assert bridge([1.0, None, None, 2.0]) == [1.0, 1.0, 1.0, 2.0]
    assert bridge([1.0, None, None, None, 2.0]) == [1.0, 1.0, 1.0, None, 2.0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (say_span(0.4), "0 s"),
        (say_span(59.9), "59 s"),
        (say_span(200), "3 min 20 s"),
        (say_span(7_500), "2 h 5 min"),
        (say_span(-5), "0 s"),
        (say_number(None), "–"),
        (say_number(float("nan")), "–"),
        (say_number(0.0), "0"),
        (say_number(12345.6), "12\u202f346"),
        (say_number(61.5), "61.5"),
        (say_number(61.0), "61"),
        (say_sigma(-0.01), "+0.0 σ"),
        (say_sigma(-4.56), "\u22124.6 σ"),
    ],
)
def test_words_are_a_plant_engineers(said: str, words: str) -> None:
    """Spans, numbers and sigmas read as people write them."""
    assert words == said
