"""Gathers what an alert's picture shows from the store, and has it drawn in a program of its own."""

import os
import subprocess
import sys
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.alerts import Alert
from cloud.machines import MachineCard
from cloud.notifiers.panels import Panel, PlotRequest
from cloud.stores import StoreReader, StoreUnavailable, Table
from models.errors import ForewarnError

SPANS_S = (180, 1800, 21_600, 172_800)
"""How far before the alert the picture may begin: the first that shows `ROWS_MIN` instants of a tag."""

ROWS_MIN = 60
AFTER_S = 60
ROWS_MAX = 1000
TAGS_MAX = 3
DRAW_TIMEOUT_S = 30.0


class PictureMissing(ForewarnError):
    """There is no picture: send the letter without it, with this message in its place."""


def draw_alert(alert: Alert, card: MachineCard, reader: StoreReader) -> bytes:
    """Return the picture (PNG) of what the blamed tags and the score did around the alert. Blocks.

    Raises `PictureMissing` with the reason in words.
    """
    if alert.kind == "model":
        raise PictureMissing("No picture: nothing is known against the machine itself.")
    try:
        request = gather_request(alert, card, reader)
    except StoreUnavailable as error:
        raise PictureMissing(f"No picture: the store did not answer ({error}).") from error
    if request is None:
        raise PictureMissing("No picture: the store holds no values of these tags around the alert.")
    return draw_in_child(request)


def gather_request(alert: Alert, card: MachineCard, reader: StoreReader) -> PlotRequest | None:
    """Return what to draw, or None when there is nothing. Raises `StoreUnavailable`."""
    tags = alert.tags[:TAGS_MAX]
    end_ns = max(alert.raised_ns, alert.escalated_ns or 0) + AFTER_S * 1_000_000_000
    telemetry, start_ns = _read_enough(alert, tags, reader, end_ns)
    score = reader.read("score", alert.machine, start_ns, end_ns, ["score", "limit"])
    start_ns = _choose_start(score, start_ns)
    telemetry = _cut(telemetry, start_ns)
    expected = reader.read("expected", alert.machine, start_ns, end_ns, tags)
    panels = [
        _tag_panel(tag, card, telemetry, expected)
        for tag in tags
        if tag in telemetry.values and np.isfinite(telemetry.values[tag]).any()
    ]
    if not panels:
        return None
    if "score" in score.values and "limit" in score.values:
        times, values = _column(score, "score")
        limit_times, limits = _column(score, "limit")
        panels.append(Panel("Score", "score", times, values, "limit", limit_times, limits, shade="above"))
    return PlotRequest(alert.raised_ns / 1e9, panels)


def _read_enough(alert: Alert, tags: list[str], reader: StoreReader, end_ns: int) -> tuple[Table, int]:
    """Read the shortest span that shows enough: machines are sampled from 10 ms to minutes."""
    for span_s in SPANS_S:
        start_ns = max(0, alert.raised_ns - span_s * 1_000_000_000)
        table = reader.read("telemetry", alert.machine, start_ns, end_ns, tags)
        if len(table.timestamps) >= ROWS_MIN:
            break
    return table, start_ns


def _choose_start(score: Table, start_ns: int) -> int:
    """Return where the picture begins: shortly before the first judgement, when enough judgements follow."""
    if len(score.timestamps) < ROWS_MIN // 2:
        return start_ns
    first_ns, last_ns = int(score.timestamps[0]), int(score.timestamps[-1])
    return max(start_ns, first_ns - (last_ns - first_ns) // 10)


def _cut(table: Table, start_ns: int) -> Table:
    kept = table.timestamps >= start_ns
    columns = {tag: values[kept] for tag, values in table.values.items()}
    return Table(table.timestamps[kept], columns, {})


def _tag_panel(tag: str, card: MachineCard, telemetry: Table, expected: Table) -> Panel:
    known = card.tag(tag)
    times, values = _column(telemetry, tag)
    expected_times, expectation = _column(expected, tag) if tag in expected.values else ([], [])
    # A fixed limit far away would flatten the curve that matters.
    high = known.high if known.high is not None and _is_near(known.high, values + expectation) else None
    unit = f" ({known.unit})" if known.unit else ""
    return Panel(f"{known.title}{unit}", "read", times, values, "expected", expected_times, expectation, high)


def _is_near(limit: float, values: list[float]) -> bool:
    low, high = min(values), max(values)
    return limit - high <= 1.5 * max(high - low, abs(high) * 0.05)


def _column(table: Table, tag: str) -> tuple[list[float], list[float]]:
    """Return times (s) and values of a tag without its gaps, thinned so that its peaks stay."""
    values = table.values[tag]
    known = np.isfinite(values)
    times, values = thin(table.timestamps[known] / 1e9, values[known])
    return times.tolist(), values.tolist()


def thin(
    times: NDArray[np.float64], values: NDArray[np.float64], rows_max: int = ROWS_MAX
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most `rows_max` rows: the lowest and the highest of each stretch, so that no peak is lost."""
    if len(values) <= rows_max:
        return times, values
    edges = np.linspace(0, len(values), rows_max // 2 + 1).astype(int)
    kept: list[int] = []
    for first, last in pairwise(edges):
        stretch = values[first:last]
        kept += sorted({first + int(stretch.argmin()), first + int(stretch.argmax())})
    return times[kept], values[kept]


def draw_in_child(request: PlotRequest, timeout_s: float = DRAW_TIMEOUT_S) -> bytes:
    """Return the PNG; raise `PictureMissing`. matplotlib would cost the service 55 MB for ever."""
    try:
        drawn = subprocess.run(
            [sys.executable, "-m", "cloud.notifiers.plot"],
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=timeout_s,
            check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise PictureMissing(f"No picture: drawing took longer than {timeout_s:.0f} s.") from error
    except (subprocess.CalledProcessError, OSError) as error:
        raise PictureMissing("No picture: the drawing program failed.") from error
    return drawn.stdout
