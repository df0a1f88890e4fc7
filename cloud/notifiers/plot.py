"""Draws the picture of an alert: a panel per blamed tag and one for the score; alone knows matplotlib."""

import io
import sys
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cloud.notifiers.panels import Panel, PlotRequest

INK, BLUE, ORANGE, GREY = "#1f2a33", "#1f4e79", "#b3401a", "#8896a0"
DPI = 130
SECONDS_A_DAY = 86_400


def draw_plot(request: PlotRequest) -> bytes:
    """Return a PNG, readable at a phone's width."""
    rows = len(request.panels)
    figure = Figure(figsize=(6.2, 0.6 + 1.75 * rows), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, request.panels, strict=True):
        _draw_panel(axis, panel, request.raised_s / SECONDS_A_DAY)
    _mark_alert(axes[0], request.raised_s / SECONDS_A_DAY)
    _label_times(axes[-1])
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _draw_panel(axis: Any, panel: Panel, raised: float) -> None:
    times = np.array(panel.times_s) / SECONDS_A_DAY
    axis.plot(times, panel.values, color=ORANGE, linewidth=1.6, label=panel.label, zorder=3)
    if panel.expected:
        _draw_expected(axis, panel, times)
    if panel.high is not None:
        axis.axhline(panel.high, color=GREY, linewidth=1, linestyle=":", label="fixed limit", zorder=1)
    axis.axvline(raised, color=INK, linewidth=1, alpha=0.7)
    # parse_math: a `$` in a tag's name is no mathematics.
    axis.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", color=INK, parse_math=False)
    axis.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=9, borderpad=0.1
    )
    axis.tick_params(labelsize=9, colors=INK)
    axis.grid(visible=True, color="#e4e8eb", linewidth=0.8)
    axis.margins(x=0.01, y=0.12)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#c3ccd2")


def _draw_expected(axis: Any, panel: Panel, times: NDArray[np.float64]) -> None:
    expected_times = np.array(panel.expected_times_s) / SECONDS_A_DAY
    axis.plot(
        expected_times,
        panel.expected,
        color=BLUE,
        linewidth=1.3,
        linestyle=(0, (4, 2)),
        label=panel.expected_label,
        zorder=2,
    )
    beside = np.interp(times, expected_times, panel.expected, left=np.nan, right=np.nan)
    values = np.array(panel.values)
    counts = values > beside if panel.shade == "above" else np.full(len(values), fill_value=True)
    axis.fill_between(times, values, beside, where=counts, color=ORANGE, alpha=0.12, linewidth=0, zorder=1)


def _mark_alert(axis: Any, raised: float) -> None:
    axis.annotate(
        "alert ",
        (raised, 1.0),
        xycoords=("data", "axes fraction"),
        ha="right",
        va="top",
        fontsize=9,
        color=INK,
    )


def _label_times(axis: Any) -> None:
    zone = datetime.now().astimezone().tzinfo
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=8)  # type: ignore[no-untyped-call]  # as theirs is
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.stdout.buffer.write(draw_plot(msgspec.json.decode(sys.stdin.buffer.read(), type=PlotRequest)))
