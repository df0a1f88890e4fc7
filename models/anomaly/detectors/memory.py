"""The memory of `fuse` for single rows: the nearest remembered rows, found roughly and measured exactly."""

import math

import numpy as np
from numpy.typing import NDArray

from models.anomaly.detectors.members import NEIGHBOURS, Singles
from models.anomaly.features import Vector

CANDIDATES = 8
"""So many rows are measured exactly; that no other is nearer is proven for every row judged."""
SINGLE_ROUNDING = 2.0**-24
DOUBLE_ROUNDING = 2.0**-53


class Memory:
    """Remembered rows (n, d), of which a float32 holds every value, as `choose_memory` rounds them.

    A product in float32 says how far all of them are, but for its rounding. The few nearest are measured by
    difference in float64; where the rounding could hide a nearer one, so are all that may be it. So distances
    are those of a search through all rows, to the last bit.
    """

    def __init__(self, rows: Singles) -> None:
        self._rows = rows
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        self._half_squares = (squares / 2.0).astype(np.float32)
        self._near = min(NEIGHBOURS, len(rows))
        self._divisor = self._near * math.sqrt(rows.shape[1])
        self._candidates = min(CANDIDATES, len(rows))
        self._apart = np.empty((self._candidates, rows.shape[1]))
        # A sum of d products is off by d roundings of what its terms' sizes sum to (Higham 2002, 3.5), and a
        # row is at most as long as the longest remembered one and its distance to one of them.
        longest, terms = math.sqrt(squares.max()), rows.shape[1] + 8
        single, double = terms * SINGLE_ROUNDING, terms * DOUBLE_ROUNDING
        self._doubts = 3.0 * single * longest * longest, 2.0 * single * longest, double

    def measure(self, row: Vector, single: Singles) -> float:
        """Return the mean distance of `row` (d,) to its nearest remembered rows, per root feature.

        `single` (d,) is `row` rounded; all of its values are numbers.
        """
        # |m - z|^2 / 2 less |z|^2 / 2, which is the same for every m.
        rough = self._rows.dot(single)
        np.subtract(self._half_squares, rough, rough)
        picked = rough.argpartition(self._candidates - 1)[: self._candidates]
        apart = self._apart
        apart[...] = self._rows.take(picked, 0)
        np.subtract(apart, row, apart)
        squares = np.vecdot(apart, apart).tolist()
        squares.sort()
        nearest, farthest = squares[self._near - 1], squares[-1]
        constant, per_root, per_square = self._doubts
        doubt = constant + per_root * math.sqrt(farthest) + per_square * farthest
        # What was not picked seems as far as the farthest that was, or farther.
        if farthest - nearest <= 2.0 * doubt and len(squares) < len(rough):
            reach = nearest + doubt - float(row.dot(row))
            # Turned round so that what is beyond a float32 is measured as well.
            squares = self._measure_all(row, np.flatnonzero(~(rough > reach / 2.0)))
        total = 0.0
        for square in squares[: self._near]:
            total += math.sqrt(square)
        return total / self._divisor

    def _measure_all(self, row: Vector, places: NDArray[np.int64]) -> list[float]:
        """Return the squared distances of the rows at `places`, ascending."""
        apart = self._rows.take(places, 0) - row
        squares: list[float] = np.sort(np.vecdot(apart, apart)).tolist()
        return squares
