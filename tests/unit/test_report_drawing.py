"""A report's drawings: steps that say what was in them, gaps that stay gaps, labels at round times."""

from datetime import UTC, datetime

import numpy as np
import pytest

from cloud.reports.drawing import HEIGHT, WIDTH, draw_scores, draw_strips, mark_times
from cloud.reports.series import STEPS_MAX, Series, SeriesMaker

SECOND = 1_000_000_000
BEGIN_NS = 1_795_337_912 * SECOND
DAY = 86_400


def make_series(ratio: np.ndarray, tags: dict[str, np.ndarray] | None = None) -> Series:
    """Return a series of one row a second."""
    stamps = BEGIN_NS + np.arange(len(ratio), dtype=np.int64) * SECOND
    maker = SeriesMaker(BEGIN_NS, BEGIN_NS + len(ratio) * SECOND, SECOND, list(tags or {}))
    maker.put_scores(stamps, ratio)
    maker.put_sigmas(stamps, tags or {})
    return maker.make()


def test_a_step_keeps_its_peak_and_its_mean() -> None:
    """One row of 40 among ten thousand is the peak of its step, and hardly moves the mean."""
    ratio = np.full(10_000, 0.5)
    ratio[5_000] = 40.0
    series = make_series(ratio)
    assert len(series.peak) == STEPS_MAX
    assert np.nanmax(series.peak) == 40.0
    assert np.nanmax(series.mean) < 2.0
    assert (series.rows, series.above) == (10_000, 1)


def test_pieces_and_the_whole_give_the_same() -> None:
    """Read step by step or at once, the series is the same, as long as pieces hold whole steps."""
    ratio = np.random.default_rng(1).uniform(size=2_400)
    whole = make_series(ratio)
    stamps = BEGIN_NS + np.arange(2_400, dtype=np.int64) * SECOND
    maker = SeriesMaker(BEGIN_NS, BEGIN_NS + 2_400 * SECOND, SECOND, [])
    for first in range(0, 2_400, 10):
        maker.put_scores(stamps[first : first + 10], ratio[first : first + 10])
    np.testing.assert_array_equal(maker.make().peak, whole.peak)
    np.testing.assert_array_equal(maker.make().mean, whole.mean)


def test_the_limit_lies_between_calm_and_strange() -> None:
    """On the logarithmic scale one is at the limit's line, and the peak at the top."""
    chart = draw_scores(make_series(np.array([0.1] * 50 + [8.0] * 50)), [], "")
    assert 0.0 < chart.limit_y < HEIGHT
    assert [tick.label for tick in chart.levels] == ["0.1", "0.2", "0.5", "1", "2", "5"]
    assert chart.limit_y == next(tick.at for tick in chart.levels if tick.label == "1")
    assert f" {HEIGHT}" in chart.line.split("L")[1]
    assert " 0.0" in chart.line.split("L")[-1]


def test_what_was_not_judged_is_a_gap() -> None:
    """Rows without a score draw nothing: two strokes, not one."""
    chart = draw_scores(make_series(np.array([0.5] * 100 + [np.nan] * 100 + [0.5] * 100)), [], "")
    assert chart.line.count("M") == chart.band.count("M") == 2
    assert "nan" not in chart.line + chart.band


def test_alerts_are_placed_and_cut_to_the_span() -> None:
    """An alert from before the span begins at its edge; one outside is left out; a short one is seen."""
    series = make_series(np.full(1_000, 0.5))
    at = [BEGIN_NS + second * SECOND for second in (-500, 250, 500, 501, 2_000, 3_000)]
    alerts = [(at[0], at[1], "machine"), (at[2], at[3], "tag"), (at[4], at[5], "machine")]
    first, second = draw_scores(series, alerts, "").alerts
    assert (first.x, first.width, first.kind) == (0.0, WIDTH / 4, "machine")
    assert (second.x, second.width) == (WIDTH / 2, 2.0)


def test_strips_name_the_farthest_tag_first_and_join_cells() -> None:
    """A spell of twenty sigma is one cell of the darkest level; calm is left out; titles are passed on."""
    tags = {"calm": np.full(480, 0.5), "hot": np.where(np.arange(480) >= 240, -20.0, 1.0)}
    hot, calm = draw_strips(make_series(np.full(480, 0.5), tags), {"hot": "Hot <b>"})
    assert (hot.title, calm.title) == ("Hot <b>", "calm")
    assert [(cell.x, cell.width, cell.level) for cell in hot.cells] == [(WIDTH / 2, WIDTH / 2, 3)]
    assert calm.cells == []
    assert (hot.words, calm.words) == ("at most 20 sigma", "at most 0.5 sigma")


@pytest.mark.parametrize("seconds", [5, 90, 3_600, 20_000, DAY, 5 * DAY, 400 * DAY])
def test_labels_stand_at_round_times(seconds: int) -> None:
    """A few labels, inside the chart, at whole minutes, hours or days of local time."""
    ticks = mark_times(np.array([BEGIN_NS, BEGIN_NS + seconds * SECOND]))
    assert 2 <= len(ticks) <= 8
    assert all(0.0 <= tick.at <= WIDTH for tick in ticks)
    first = datetime.fromtimestamp(BEGIN_NS / SECOND + ticks[0].at / WIDTH * seconds, UTC).astimezone()
    if seconds in (20_000, DAY):
        assert first.minute in (0, 59)  # positions are rounded to a tenth of the chart's unit
    if seconds == 5 * DAY:
        assert first.hour in (0, 23)
