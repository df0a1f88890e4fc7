"""What an alert's picture shows: the panels, as the drawing program is given them."""

from typing import Literal

import msgspec


class Panel(msgspec.Struct, frozen=True):
    """Values over time (seconds since 1970), what was expected of them, and a fixed limit.

    `shade` says where the stretch between values and expected counts: everywhere, or only above it.
    """

    title: str
    label: str
    times_s: list[float]
    values: list[float]
    expected_label: str = ""
    expected_times_s: list[float] = []
    expected: list[float] = []
    high: float | None = None
    shade: Literal["beside", "above"] = "beside"


class PlotRequest(msgspec.Struct, frozen=True):
    """The whole picture, top to bottom; `raised_s` is marked in every panel."""

    raised_s: float
    panels: list[Panel]
