"""Gathers what the charts of one machine draw: reads the store, thins, orders by what stands out."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from cloud.alerts import Alert
from cloud.console.series import (
    Times,
    Values,
    column_of,
    draw_band,
    draw_line,
    newest,
)
from cloud.console.shapes import AlertMark, MachineCharts, Series, TagChart
from cloud.machines import MachineCard
from cloud.stores import Measurement, StoreReader, Table
from models.telemetry import MachinePath

NS_PER_MS = 1_000_000
TAGS_MAX = 200


class Window(NamedTuple):
    """From when to when, and how many points a curve may have."""

    from_ms: int
    to_ms: int
    points: int

    def read(self, reader: StoreReader, measurement: Measurement, machine: MachinePath) -> Table:
        """Return what is stored of one measurement in this window; raise `StoreUnavailable`."""
        return reader.read(measurement, machine, self.from_ms * NS_PER_MS, self.to_ms * NS_PER_MS)


class Judged(NamedTuple):
    """What machines said beside what the model made of it."""

    telemetry: Table
    expected: Table
    sigmas: Table


def read_series(
    reader: StoreReader, machine: MachinePath, measurement: Measurement, window: Window
) -> Series:
    """Return every column of one measurement, thinned; raise `StoreUnavailable`."""
    table = window.read(reader, measurement, machine)
    columns = {
        tag: draw_line(table.timestamps, values, window.points) for tag, values in table.values.items()
    }
    return Series(machine=str(machine), measurement=measurement, columns=columns)


def read_charts(
    reader: StoreReader, card: MachineCard, alerts: Collection[Alert], window: Window
) -> MachineCharts:
    """Return all charts of a machine between two instants; raise `StoreUnavailable`."""
    score = window.read(reader, "score", card.path)
    judged = Judged(
        window.read(reader, "telemetry", card.path),
        window.read(reader, "expected", card.path),
        window.read(reader, "contribution", card.path),
    )
    faults = find_faults(alerts)
    names = list(judged.telemetry.values)[:TAGS_MAX]
    tags = [_draw_tag(tag, card, judged, window.points, faults.get(tag, "")) for tag in names]
    return MachineCharts(
        machine=str(card.path),
        from_ms=window.from_ms,
        to_ms=window.to_ms,
        score=draw_line(*column_of(score, "score"), window.points),
        limit=draw_line(*column_of(score, "limit"), window.points),
        tags=sorted(tags, key=lambda chart: (not chart.fault, -abs(chart.sigma or 0.0), chart.title)),
        marks=[mark(alert) for alert in alerts if alert.kind != "model" and overlaps(alert, window)],
    )


def _draw_tag(tag: str, card: MachineCard, judged: Judged, points: int, fault: str) -> TagChart:
    said = card.tag(tag)
    value, centre, off = (column_of(table, tag) for table in judged)
    return TagChart(
        tag=tag,
        title=said.title,
        unit=said.unit,
        line=draw_line(*value, points),
        band=draw_band(value, centre, off, points),
        high=said.high,
        value=newest(value),
        expected=_newest_beside(centre, value),
        sigma=_newest_beside(off, value),
        fault=fault,
    )


def _newest_beside(judgement: tuple[Times, Values], value: tuple[Times, Values]) -> float | None:
    """Return the newest judgement, unless the tag has gone on for half a minute without one."""
    times, beside = judgement[0], value[0]
    if len(times) and len(beside) and beside[-1] - times[-1] > 30e9:
        return None
    return newest(judgement)


def find_faults(alerts: Iterable[Alert]) -> dict[str, str]:
    """Return the tags that open alerts do not believe, with the reason."""
    return {tag: reason for alert in alerts if alert.is_open for tag, reason in alert.faulty_tags.items()}


def overlaps(alert: Alert, window: Window) -> bool:
    """Return whether the alert was open at any time of the window."""
    ended_before = alert.cleared_ns is not None and alert.cleared_ns < window.from_ms * NS_PER_MS
    return alert.raised_ns < window.to_ms * NS_PER_MS and not ended_before


def mark(alert: Alert) -> AlertMark:
    """Return the lines that show the alert in a chart."""
    return AlertMark(
        id=alert.id,
        kind=alert.kind,
        words="Machine alert" if alert.kind == "machine" else "Sensor fault",
        raised_ms=alert.raised_ns // NS_PER_MS,
        cleared_ms=None if alert.cleared_ns is None else alert.cleared_ns // NS_PER_MS,
    )
