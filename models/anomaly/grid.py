"""The grid: samples of a machine put onto evenly spaced rows of event time, and gaps filled with care."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix
from models.telemetry import quality

NS_PER_S = 1_000_000_000
SILENCE_ROWS = 5
"""A machine none of whose tags spoke in this many rows is away: nothing of it may be held."""


class GridRows(msgspec.Struct, frozen=True):
    """Consecutive rows of a grid; row i covers the nanoseconds (first + i) * grid .. + grid - 1.

    `values` (rows, tags) is the last good sample in the row's span, NaN without one. `bad` (rows, tags) is
    the status code where the last sample was bad, else 0. `quiet` (tags,): for how many rows the gateway said
    nothing of a tag because it changed too little (a deadband); None where no tag has one.
    """

    first: int
    values: Matrix
    bad: NDArray[np.uint32]
    quiet: NDArray[np.int64] | None = None

    def take_columns(self, count: int) -> "GridRows":
        """Return the rows of the first `count` columns."""
        if count == self.values.shape[1]:
            return self
        quiet = None if self.quiet is None else self.quiet[:count]
        return GridRows(self.first, self.values[:, :count], self.bad[:, :count], quiet)

    @property
    def spoken(self) -> Mask:
        """Where the tag gave a sample, good or bad."""
        spoken: Mask = np.isfinite(self.values) | (self.bad != 0)
        return spoken


def step_ns(grid_s: float) -> int:
    """Return the grid's step in nanoseconds."""
    return round(grid_s * NS_PER_S)


def put_on_grid(
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    tags: Sequence[str],
    grid_ns: int,
) -> GridRows:
    """Return the rows from the first to the last timestamp (ascending, at least one), one column per tag."""
    indices = timestamps // grid_ns
    first = int(indices[0])
    rows = int(indices[-1]) - first + 1
    on_grid = np.full((rows, len(tags)), np.nan)
    bad = np.zeros((rows, len(tags)), dtype=np.uint32)
    for column, tag in enumerate(tags):
        samples = values.get(tag)
        if samples is None:
            continue
        status = codes.get(tag, np.zeros(len(samples), dtype=np.uint32))
        wrong = status >= quality.BAD
        spoken = np.isfinite(samples) | wrong
        places = indices[spoken] - first
        # With repeated places numpy keeps the last one: the newest sample of the row.
        on_grid[places, column] = np.where(wrong[spoken], np.nan, samples[spoken])
        bad[places, column] = np.where(wrong[spoken], status[spoken], 0)
    return GridRows(first, on_grid, bad)


def find_gaps(spoken: Mask) -> NDArray[np.int64]:
    """Return, for every row and column, how many rows ago the column last spoke (0: in this row).

    A column that has not spoken yet counts from before the first row.
    """
    rows = np.arange(len(spoken))[:, None]
    last = np.maximum.accumulate(np.where(spoken, rows, -1), axis=0)
    return np.where(last >= 0, rows - last, rows + len(spoken) + 1)


def hold_last(grid: GridRows) -> Matrix:
    """Return the values with gaps filled by the last value, for as long as the machine speaks.

    A bad sample ends the holding, and so does silence of the whole machine: a server that sends changes only
    leaves single tags out, a lost connection all of them.
    """
    spoken = grid.spoken
    gaps = find_gaps(spoken)
    source = np.maximum(np.arange(len(spoken))[:, None] - gaps, 0)
    held = np.take_along_axis(grid.values, source, axis=0)
    somebody: Mask = np.asarray(spoken.any(axis=1, keepdims=True))
    awake = find_gaps(somebody) < SILENCE_ROWS
    return np.where((gaps < len(spoken)) & awake, held, np.nan)


def count_still_rows(values: Matrix) -> NDArray[np.int64]:
    """Return, for every row and column, for how many rows the value has been exactly what it is.

    A new value counts 0; a missing one too, and it ends the run.
    """
    moved = np.ones(values.shape, dtype=bool)
    moved[1:] = ~(values[1:] == values[:-1])
    return find_gaps(moved)
