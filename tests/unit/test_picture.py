"""The picture of an alert: enough of the past, no peak lost, any name drawn, bounded in time."""

import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cloud.notifiers.panels import Panel, PlotRequest
from cloud.notifiers.picture import (
    ROWS_MAX,
    PictureMissing,
    draw_in_child,
    gather_request,
    thin,
)
from cloud.stores import Measurement, StoredMachine, Table
from models.telemetry import MachinePath
from tests.unit.alert_rig import PUMP, SCRIPT, START_S, make_alert, make_cards

CARD = make_cards().of(PUMP)


class Reader:
    """A store with one row of telemetry every `every_s`, and what is expected beside it."""

    def __init__(self, every_s: float, columns: dict[str, float]) -> None:
        self.every_s = every_s
        self.columns = columns
        self.asked: list[tuple[Measurement, float]] = []

    def read(
        self, measurement: Measurement, machine: MachinePath, start_ns: int, end_ns: int, tags: Any = None
    ) -> Table:
        self.asked.append((measurement, START_S - start_ns / 1e9))
        times = np.arange(start_ns / 1e9, START_S, self.every_s)
        columns = {"score": 0.5, "limit": 1.0} if measurement == "score" else self.columns
        known = {tag: np.full(len(times), value) for tag, value in columns.items()}
        return Table((times * 1e9).astype(np.int64), known, {})

    def list_machines(self) -> list[StoredMachine]:
        return []

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("every_s", "span_s"), [(0.5, 180), (10.0, 1800), (60.0, 21_600), (7200, 172_800)])
def test_slow_machines_show_more_of_the_past(every_s: float, span_s: float) -> None:
    """The picture begins where there is enough to see, whatever the machine's pace."""
    reader = Reader(every_s, {"vibration_velocity": 2.0})
    request = gather_request(make_alert(), CARD, reader)
    assert request is not None
    assert ("score", span_s) in reader.asked
    assert [panel.title for panel in request.panels] == ["Vibration (mm/s)", "Score"]


def test_the_picture_begins_where_judging_began() -> None:
    """Right after a model was learnt, the minutes before it would only squeeze what matters."""

    class NewlyJudged(Reader):
        def read(self, measurement: Measurement, *rest: Any) -> Table:
            table = super().read(measurement, *rest)
            late = table.timestamps >= (START_S - 50) * 1_000_000_000 if measurement == "score" else ...
            return Table(table.timestamps[late], {t: v[late] for t, v in table.values.items()}, {})

    request = gather_request(make_alert(), CARD, NewlyJudged(1.0, {"vibration_velocity": 2.0}))
    assert request is not None
    assert [panel.times_s[0] for panel in request.panels] == [START_S - 54, START_S - 50]
    silent = NewlyJudged(1.0, {"vibration_velocity": 2.0, "bearing_temperature": float("nan")})
    request = gather_request(make_alert(), CARD, silent)
    assert request is not None
    assert [panel.title for panel in request.panels] == ["Vibration (mm/s)", "Score"]


def test_without_values_there_is_no_picture() -> None:
    """Tags that the store does not hold, or holds as gaps only, are not drawn."""
    assert gather_request(make_alert(), CARD, Reader(1.0, {})) is None
    assert gather_request(make_alert(), CARD, Reader(1.0, {"vibration_velocity": float("nan")})) is None


@pytest.mark.parametrize(("value", "drawn"), [(92.0, 95.0), (99.0, 95.0), (61.0, None)])
def test_a_fixed_limit_is_drawn_when_it_is_near(value: float, drawn: float | None) -> None:
    """A limit far away would flatten the curve that matters."""
    request = gather_request(make_alert(), CARD, Reader(1.0, {"bearing_temperature": value}))
    assert request is not None
    assert request.panels[0].high == drawn


def test_thinning_keeps_every_peak() -> None:
    """One high and one low sample in a million are still in the picture, in order of time."""
    times = np.arange(1_000_000.0)
    values = np.zeros(1_000_000)
    values[123_456], values[777_777] = 9.0, -9.0
    thin_times, thin_values = thin(times, values)
    assert len(thin_values) <= ROWS_MAX
    assert (thin_values.max(), thin_values.min()) == (9.0, -9.0)
    assert (np.diff(thin_times) >= 0).all()
    assert {123_456.0, 777_777.0} <= set(thin_times)


def test_the_picture_is_a_png_for_a_phone() -> None:
    """Whatever a tag is called (mathematics, markup, unknown letters) it is drawn."""
    times = [START_S + n for n in range(100)]
    panels = [
        Panel(name, "read", times, [float(n) for n in range(100)], "expected", times, [50.0] * 100, 60.0)
        for name in (r"$\frac{", SCRIPT, "温度 °C")
    ]
    drawn = draw_in_child(PlotRequest(START_S + 80, panels))
    assert drawn.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", drawn[16:24])
    assert 700 <= width <= 1000
    assert height > width / 2
    assert len(drawn) < 400_000


def test_a_flat_and_short_curve_is_drawn_too() -> None:
    """A stuck tag with a single value does not stop the drawing."""
    assert draw_in_child(PlotRequest(START_S, [Panel("x", "read", [START_S], [1.0])])).startswith(b"\x89PNG")


def test_drawing_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing program that hangs or dies costs the picture, not the mail."""
    request = PlotRequest(START_S, [Panel("x", "read", [START_S], [1.0])])
    with pytest.raises(PictureMissing, match="took longer than 0 s"):
        draw_in_child(request, timeout_s=0.001)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(PictureMissing, match="the drawing program failed"):
        draw_in_child(request)


def test_the_service_never_loads_matplotlib() -> None:
    """What would cost it 55 MB for ever lives in the drawing program alone."""

    code = "import sys, cloud.notifiers.post; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
