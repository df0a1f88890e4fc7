"""Draws scores and deviations as SVG's numbers: pure; every word is the page's to write."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from cloud.reports.facts import Cell, ScoreChart, Span, Strip, Tick
from cloud.reports.series import Series
from models.anomaly.features import Vector

WIDTH, HEIGHT = 1_000.0, 220.0
LOWEST, HIGHEST_MIN = 0.1, 2.0
LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0, 10_000.0)
SIGMA_LEVELS = (3.0, 6.0, 12.0)
STRIPS_MAX = 12
TIMES_WANTED = 6
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200)
DAY_S = 86_400

AlertSpan = tuple[int, int, str]
"""First and last instant of an alert (nanoseconds), and its kind."""


def draw_scores(series: Series, alerts: Sequence[AlertSpan], words: str) -> ScoreChart:
    """Return the chart of score / limit on a logarithmic scale, so that early signs and peaks both show."""
    highest = max(HIGHEST_MIN, float(np.nanmax(series.peak)))
    levels = [level for level in LEVELS if level <= highest * 1.05]
    return ScoreChart(
        width=WIDTH,
        height=HEIGHT,
        band=_trace(series.peak, highest, closed=True),
        line=_trace(series.mean, highest, closed=False),
        limit_y=_find_y(1.0, highest),
        levels=[Tick(_find_y(level, highest), f"{level:g}") for level in levels],
        times=mark_times(series.edges_ns),
        alerts=[one for alert in alerts if (one := _place(series, alert)) is not None],
        words=words,
    )


def draw_strips(series: Series, titles: Mapping[str, str]) -> list[Strip]:
    """Return the tags that were farthest from what was expected, the farthest first, at most `STRIPS_MAX`."""
    worst = {
        tag: float(np.nanmax(sizes)) for tag, sizes in series.strength.items() if np.isfinite(sizes).any()
    }
    order = sorted(worst, key=lambda tag: -worst[tag])[:STRIPS_MAX]
    return [
        Strip(
            titles.get(tag, tag),
            _fill(series.strength[tag]),
            f"at most {_say_sigma(worst[tag])} sigma",
        )
        for tag in order
    ]


def _say_sigma(size: float) -> str:
    return f"{size:.1f}" if size < 10 else f"{size:.0f}"


def _find_y(ratio: float, highest: float) -> float:
    share = math.log(max(ratio, LOWEST) / LOWEST) / math.log(highest / LOWEST)
    return round(HEIGHT * (1.0 - share), 1)


def _find_x(series: Series, at_ns: float) -> float:
    begin, end = float(series.edges_ns[0]), float(series.edges_ns[-1])
    return round(WIDTH * min(1.0, max(0.0, (at_ns - begin) / (end - begin))), 1)


def _trace(values: Vector, highest: float, *, closed: bool) -> str:
    """Return an SVG path over the steps that were judged; what was not leaves a gap."""
    width, parts, run = WIDTH / len(values), [], list[str]()
    for step, value in enumerate([*values.tolist(), math.nan]):
        if math.isfinite(value):
            run.append(f"{(step + 0.5) * width:.1f} {_find_y(value, highest)}")
        elif run:
            first, last = (step - len(run)) * width, step * width
            run = [f"{first:.1f} {run[0].split()[1]}", *run, f"{last:.1f} {run[-1].split()[1]}"]
            ends = f"L{last:.1f} {HEIGHT} L{first:.1f} {HEIGHT}Z" if closed else ""
            parts.append(f"M{' L'.join(run)}{ends}")
            run = []
    return " ".join(parts)


def _place(series: Series, alert: AlertSpan) -> Span | None:
    first, last, kind = alert
    if last < series.edges_ns[0] or first > series.edges_ns[-1]:
        return None
    x = _find_x(series, first)
    return Span(x, max(2.0, round(_find_x(series, last) - x, 1)), kind)


def _fill(sizes: Vector) -> list[Cell]:
    """Return the cells of a strip, neighbours of a level joined."""
    width, cells = WIDTH / len(sizes), list[Cell]()
    levels = np.searchsorted(np.array(SIGMA_LEVELS), np.nan_to_num(sizes, nan=0.0), side="right").tolist()
    begin = 0
    for step in range(1, len(levels) + 1):
        if step == len(levels) or levels[step] != levels[begin]:
            if levels[begin]:
                cells.append(Cell(round(begin * width, 1), round((step - begin) * width, 1), levels[begin]))
            begin = step
    return cells


def mark_times(edges_ns: NDArray[np.int64]) -> list[Tick]:
    """Return round instants of local time to label a span with, about `TIMES_WANTED`."""
    begin_s, end_s = int(edges_ns[0]) / 1e9, int(edges_ns[-1]) / 1e9
    wanted_s = (end_s - begin_s) / TIMES_WANTED
    step_s = next((step for step in STEPS_S if step >= wanted_s), 0) or DAY_S * math.ceil(wanted_s / DAY_S)
    shift_s = (datetime.fromtimestamp(begin_s).astimezone().utcoffset() or timedelta()).total_seconds()
    clock = "%H:%M:%S" if step_s < 60 else "%H:%M" if end_s - begin_s <= DAY_S else "%d %b %H:%M"
    pattern = clock if step_s < DAY_S else "%d %b"
    first = math.ceil((begin_s + shift_s) / step_s) * step_s - shift_s
    ticks = []
    for place in range(int((end_s - first) // step_s) + 1):
        at_s = first + place * step_s
        label = datetime.fromtimestamp(at_s).astimezone().strftime(pattern)
        ticks.append(Tick(round(WIDTH * (at_s - begin_s) / (end_s - begin_s), 1), label))
    return ticks
