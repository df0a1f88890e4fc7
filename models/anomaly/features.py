"""Causal multi-window features: what a detector sees of the rows up to now."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Rows of a machine's grid, one column a tag (or a feature); NaN is missing."""
Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

PRESENT_SHARE_MIN = 0.5
"""A window in which fewer of its rows have a value says nothing about its tag."""


class Windows(msgspec.Struct, frozen=True):
    """The lengths, in rows of the grid, over which means and spreads are taken; ascending."""

    means: list[int]
    spreads: list[int]

    @property
    def longest(self) -> int:
        """Rows that one row of features looks back over, itself included."""
        return max([*self.means, *self.spreads])

    @property
    def per_tag(self) -> int:
        """Features that each tag has."""
        return len(self.means) + len(self.spreads)


def plan_windows(base_rows: int = 5, multiples: Sequence[int] = (1, 3, 6, 12)) -> Windows:
    """Return windows of `multiples` of `base_rows`: means over all, spreads over the second and the last."""
    means = [base_rows * multiple for multiple in multiples]
    return Windows(means=means, spreads=[means[1], means[-1]])


def compute_features(values: Matrix, windows: Windows, spread_floor: Vector) -> Matrix:
    """Return features of shape (rows, windows.per_tag, tags) from standardised `values` (rows, tags).

    The first axis of features holds the means, then the logarithms of the standard deviations, whose
    variance is floored at `spread_floor` (tags,) squared. Row t looks at rows <= t only. A feature is NaN
    where fewer than half of its window's rows have a value, also at the start.
    """
    rows, tags = values.shape
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    counts = _pad_cumulated(present.astype(np.float64))
    sums = _pad_cumulated(filled)
    squares = _pad_cumulated(filled * filled)
    features = np.empty((rows, windows.per_tag, tags))
    for place, length in enumerate(windows.means):
        features[:, place] = _mean(sums, counts, length)
    for place, length in enumerate(windows.spreads, start=len(windows.means)):
        mean = _mean(sums, counts, length)
        variance = np.maximum(_mean(squares, counts, length) - mean * mean, 0.0)
        features[:, place] = 0.5 * np.log(variance + spread_floor * spread_floor)
    return features


def _pad_cumulated(values: Matrix) -> Matrix:
    """Return running totals with a first row of zeros: `padded[b] - padded[a]` is the sum over a..b-1."""
    padded = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=padded[1:])
    return padded


def _mean(sums: Matrix, counts: Matrix, length: int) -> Matrix:
    """Return the mean of the last `length` rows at every row, NaN where too few of them have a value."""
    total, count = _difference(sums, length), _difference(counts, length)
    enough = count >= max(1.0, PRESENT_SHARE_MIN * length)
    return np.where(enough, total / np.where(enough, count, 1.0), np.nan)


def _difference(cumulated: Matrix, length: int) -> Matrix:
    """Return the totals over the last `length` rows; over fewer where the rows begin."""
    ends = cumulated[1:]
    rows = len(ends)
    totals = ends.copy()
    if rows > length:
        totals[length:] -= cumulated[1 : rows - length + 1]
    return totals
