"""Readings that no machine can have made: beyond what the sensor can read, a code for "no value", a spike."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix, Vector

SENTINELS = np.array(
    [
        *(-9999.0, 9999.0, -99999.0, 99999.0, -999.0, 32767.0, -32768.0, 65535.0, 3276.7, -3276.8, 6553.5),
        *(2147483647.0, -2147483648.0, 4294967295.0, 3.4028234663852886e38, -3.4028234663852886e38),
    ]
)
"""What controllers and gateways write for "no value": the ends of their number types, and rows of nines."""
SENTINEL_MARGIN = 1.0
"""In widths of what was seen while learning: nearer than this such a number may be a reading."""
SPIKE_FACTOR = 10.0
"""Of the largest change from one row to the next while learning."""
CONFIRM_FACTOR = 1.0
"""Another tag that moved farther than ever at the same time says that the machine did something."""
SPIKE_ROWS_MAX = 3
SPIKE_SPAN_ROWS = 20
SPIKES_MIN = 3
SPIKE_TAGS_MIN = 3
"""Of fewer tags nobody can say that the others do not confirm it."""
STEP_MIN = 1e-12
PREFIX = "ranges."


class TagRanges(msgspec.Struct, frozen=True):
    """What each tag can read, and has done while learning; arrays (tags,).

    `low`, `high`: as declared, -inf and inf where nobody did. `usual_low`, `usual_high`: the least and the
    greatest value seen. `step`: the largest change from one row of the grid to the next.
    """

    low: Vector
    high: Vector
    usual_low: Vector
    usual_high: Vector
    step: Vector

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a bundle keeps: `restore_ranges` takes it back."""
        return {f"{PREFIX}{name}": getattr(self, name) for name in self.__struct_fields__}


def restore_ranges(arrays: Mapping[str, NDArray[Any]]) -> TagRanges | None:
    """Return the ranges among a bundle's arrays, None where it has none."""
    names = TagRanges.__struct_fields__
    if f"{PREFIX}{names[0]}" not in arrays:
        return None
    return TagRanges(*(arrays[f"{PREFIX}{name}"] for name in names))


def declare_bounds(tags: Sequence[str], declared: Mapping[str, tuple[float, float]]) -> Matrix:
    """Return what sensors can read (2, tags), lowest and highest; infinite where nothing was declared."""
    return np.array([declared.get(tag, (-np.inf, np.inf)) for tag in tags], dtype=np.float64).reshape(-1, 2).T


def learn_ranges(held: Matrix, bounds: Matrix | None = None) -> TagRanges:
    """Return what held values (rows, tags) show, without sentinels, within the declared bounds (2, tags)."""
    low, high = declare_bounds([""] * held.shape[1], {}) if bounds is None else bounds
    believed = np.where((held < low) | (held > high) | _are_strays(held), np.nan, held)
    steps = np.abs(np.diff(believed, axis=0))
    return TagRanges(
        low,
        high,
        np.fmin.reduce(believed, axis=0, initial=np.inf),
        np.fmax.reduce(believed, axis=0, initial=-np.inf),
        np.fmax(np.fmax.reduce(steps, axis=0, initial=0.0), STEP_MIN),
    )


def _are_strays(held: Matrix) -> Mask:
    """Return sentinels (rows, tags) that lie away from all other values of their tag."""
    codes: Mask = np.isin(held, SENTINELS)
    if not codes.any():
        return codes
    others = np.where(codes, np.nan, held)
    return codes & _is_far(
        held, np.fmin.reduce(others, axis=0, initial=np.inf), np.fmax.reduce(others, axis=0, initial=-np.inf)
    )


def _is_far(values: Matrix, low: Vector, high: Vector) -> Mask:
    margin = SENTINEL_MARGIN * np.maximum(high - low, 0.0)
    far: Mask = np.asarray((values < low - margin) | (values > high + margin))
    return far


def find_impossible(values: Matrix, ranges: TagRanges) -> Mask:
    """Return where (rows, tags) a value cannot be a reading: outside the declared range, or a sentinel.

    That a value is outside of what was seen while learning says nothing: so are those of real faults.
    """
    outside: Mask = np.asarray((values < ranges.low) | (values > ranges.high))
    unusual = _is_far(values, ranges.usual_low, ranges.usual_high)
    if unusual.any():
        outside |= unusual & np.isin(values, SENTINELS)
    return outside


def find_spikes(values: Matrix, ranges: TagRanges) -> Mask:
    """Return where (rows, tags) a value is in doubt: its tag jumped there, alone, and is not back yet.

    A jump is wider than `SPIKE_FACTOR` times every change while learning, from where the tag usually is: one
    that is elsewhere already is on a way of its own, which may be the machine's (a flow that swings about
    as its pump runs dry). After `SPIKE_ROWS_MAX` rows it is believed: then it was a step. Row t depends on
    rows <= t.
    """
    doubt = np.zeros(values.shape, dtype=bool)
    if values.shape[1] < SPIKE_TAGS_MIN or len(values) < 2:
        return doubt
    change = np.abs(np.diff(values, axis=0))
    width: Vector = np.asarray(SPIKE_FACTOR * ranges.step)
    jumped = change > width
    if not jumped.any():
        return doubt
    usual = (values >= ranges.usual_low - ranges.step) & (values <= ranges.usual_high + ranges.step)
    moved: Mask = np.asarray(change > CONFIRM_FACTOR * ranges.step)
    for row, tag in np.argwhere(jumped).tolist():
        company: Mask = np.asarray(moved[max(0, row - 1) : row + 1].any(axis=0))
        if doubt[row, tag] or company.sum() > company[tag] or not usual[row, tag]:
            continue
        for later in range(row + 1, min(row + 1 + SPIKE_ROWS_MAX, len(values))):
            if not abs(float(values[later, tag] - values[row, tag])) > width[tag]:
                break
            doubt[later, tag] = True
    return doubt


def count_spikes(doubt: Mask) -> NDArray[np.int64]:
    """Return how many spikes each tag (tags,) has had in the last `SPIKE_SPAN_ROWS` rows."""
    recent = doubt[-SPIKE_SPAN_ROWS:]
    begins = recent & ~np.concatenate([np.zeros((1, recent.shape[1]), dtype=bool), recent[:-1]])
    counts: NDArray[np.int64] = begins.sum(axis=0)
    return counts


def say_impossible(value: float, low: float, high: float) -> str:
    """Say why a value is no reading."""
    if low <= value <= high:
        return f"reads {value:g}, a number that stands for no value"
    return f"reads {value:g}, which this sensor cannot ({low:g} to {high:g})"
