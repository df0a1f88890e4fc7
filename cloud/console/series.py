"""Curves for a screen, as pure functions: thinned without losing a peak, with gaps and the normal band."""

import math

import numpy as np
from numpy.typing import NDArray

from cloud.console.shapes import Band, Column, Line
from cloud.stores import Table

Times = NDArray[np.int64]
Values = NDArray[np.float64]

POINTS_MAX = 2_000
SIGMAS = 3.0
GAP_STEPS = 5.0
GAP_S_MIN = 3.0
SIGMA_USABLE_MIN = 0.1


def thin(times: Times, values: Values, points: int) -> tuple[Times, Values]:
    """Return at most `points` of the rows: the lowest and the highest of each of `points / 2` buckets.

    Rows without a value are left out. A peak of one row survives any thinning.
    """
    present = ~np.isnan(values)
    times, values = times[present], values[present]
    if len(times) <= points:
        return times, values
    edges = np.linspace(0, len(times), max(1, points // 2) + 1).astype(np.int64)[:-1]
    sizes = np.diff(np.append(edges, len(times)))
    lows = _first_where(values, np.minimum.reduceat(values, edges), sizes)
    highs = _first_where(values, np.maximum.reduceat(values, edges), sizes)
    kept = np.unique(np.concatenate([lows, highs]))
    return times[kept], values[kept]


def _first_where(values: Values, targets: Values, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, per bucket, the index of the first row that equals the bucket's target."""
    hits = np.flatnonzero(values == np.repeat(targets, sizes))
    buckets = np.repeat(np.arange(len(sizes)), sizes)[hits]
    _, first = np.unique(buckets, return_index=True)
    return hits[first]


def find_gap_ns(times: Times) -> float:
    """Return the step between two rows above which the curve is broken: nothing was observed there."""
    if len(times) < 3:
        return float("inf")
    return max(float(np.median(np.diff(times))) * GAP_STEPS, GAP_S_MIN * 1e9)


def draw_line(times: Times, values: Values, points: int = POINTS_MAX) -> Line:
    """Return the curve for the screen, broken (a None) where nothing was observed."""
    present = ~np.isnan(values)
    gap_ns = find_gap_ns(times[present])
    kept_times, kept = thin(times, values, min(points, POINTS_MAX))
    # Thinned rows stand further apart than observed ones: a gap is one between neighbours of before.
    observed = times[present]
    breaks = np.flatnonzero(np.diff(observed) > gap_ns)
    after = np.searchsorted(kept_times, observed[breaks], side="right")
    inside = np.unique(after[(after > 0) & (after < len(kept_times))])
    drawn_times = np.insert(kept_times, inside, kept_times[np.maximum(inside, 1) - 1] + 1_000_000)
    drawn = np.insert(kept, inside, np.nan)
    return Line(times_ms=to_ms(drawn_times), values=to_column(drawn))


def draw_band(
    telemetry: tuple[Times, Values],
    expected: tuple[Times, Values],
    sigmas: tuple[Times, Values],
    points: int,
) -> Band | None:
    """Return expectation +- 3 sigmas over time; None where the model has said nothing.

    The store keeps what is expected and by how many signed sigmas the value is off, so one sigma in the
    tag's unit is |value - expected| / |sigmas|: the same for all rows but for rounding, hence the median.
    """
    times, centre = thin(*expected, min(points, POINTS_MAX))
    if not len(times):
        return None
    sigma = find_sigma(telemetry, expected, sigmas)
    reach = SIGMAS * sigma if sigma is not None else float("nan")
    return Band(
        times_ms=to_ms(times),
        low=to_column(centre - reach),
        high=to_column(centre + reach),
        expected=to_column(centre),
    )


def find_sigma(
    telemetry: tuple[Times, Values], expected: tuple[Times, Values], sigmas: tuple[Times, Values]
) -> float | None:
    """Return one sigma in the unit of the tag, or None when no row tells it."""
    at, off = _present(*sigmas)
    usable = np.abs(off) >= SIGMA_USABLE_MIN
    at, off = at[usable], off[usable]
    value, centre = hold(telemetry, at), hold(expected, at)
    scales = np.abs(value - centre) / np.abs(off)
    scales = scales[np.isfinite(scales) & (scales > 0)]
    return float(np.median(scales)) if len(scales) else None


def hold(source: tuple[Times, Values], at: Times) -> Values:
    """Return the newest value of `source` at or before each instant of `at`; NaN before the first."""
    times, values = _present(*source)
    if not len(times):
        return np.full(len(at), np.nan)
    rows = np.searchsorted(times, at, side="right") - 1
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


def column_of(table: Table, tag: str) -> tuple[Times, Values]:
    """Return the rows of one tag; none when the table does not have it."""
    values = table.values.get(tag)
    if values is None:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    return table.timestamps, values


def newest(source: tuple[Times, Values]) -> float | None:
    """Return the last value there is."""
    _, values = _present(*source)
    return float(values[-1]) if len(values) else None


def to_ms(times: Times) -> list[float]:
    """Return nanoseconds as milliseconds, which a browser counts in."""
    return [round(time / 1e6, 1) for time in times.tolist()]


def to_column(values: Values) -> Column:
    """Return values with six significant figures (a screen shows fewer) and None for NaN."""
    return [None if math.isnan(value) else float(f"{value:.6g}") for value in values.tolist()]


def _present(times: Times, values: Values) -> tuple[Times, Values]:
    kept = ~np.isnan(values)
    return times[kept], values[kept]
