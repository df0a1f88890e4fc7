"""Calm rows: where health has nothing to object to, a row costs what is new in it."""

import math

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Matrix, Vector
from models.anomaly.grid import SILENCE_ROWS
from models.anomaly.health import TagHealth
from models.anomaly.ranges import SENTINEL_MARGIN, SPIKE_FACTOR, SPIKE_TAGS_MIN, TagRanges


class CalmRows:
    """Follows a machine's rows one by one, and knows whether all of the latest are calm.

    In a calm row every tag has a value, said or held, that moved no farther and stood still no longer than
    health lets pass, within what is usual; the machine speaks. When so many rows in a row are calm as a
    verdict depends on, `check_tags` would find no fault and return the held values as they are: they are
    `window`. A row that is not calm, though nothing need be wrong with it, only means that it has to be
    called.
    """

    def __init__(self, health: TagHealth, window_rows: int, reach_rows: int) -> None:
        tags = len(health.still_rows)
        self._still_rows = np.maximum(health.still_rows, 1)
        self._low, self._high, self._step = _find_usual(health.ranges, tags)
        self._window_rows = window_rows
        self._reach_rows = reach_rows
        self._held = np.full((2 * window_rows, tags), np.nan)
        self._still: NDArray[np.int64] = np.zeros(tags, dtype=np.int64)
        self._passes = np.zeros((4, tags), dtype=bool)
        self._stop = 1
        self._silent_rows = 0
        self._calm_rows = 0
        self.next_row: int | None = None
        """The row to be followed next; None when they have to be followed anew."""

    @property
    def is_calm(self) -> bool:
        """Whether all rows that a verdict on the last one depends on are calm."""
        return self.next_row is not None and self._calm_rows > self._reach_rows

    @property
    def window(self) -> Matrix:
        """The latest rows (window_rows, tags) with gaps filled, until the next is followed."""
        return self._held[self._stop - self._window_rows : self._stop]

    def forget(self) -> None:
        """Have the rows followed anew: something older came late."""
        self.next_row = None

    def begin(self, row: int) -> None:
        """Begin with `row`, of whose past nothing is known."""
        self._held[:] = np.nan
        self._still[:] = 0
        self._stop = self._window_rows
        self._silent_rows = self._calm_rows = 0
        self.next_row = row

    def follow(self, values: Vector, bad: NDArray[np.uint32], quiet: NDArray[np.int64] | None = None) -> None:
        """Follow the next row: good samples and status codes (tags,), as `GridRows` has them."""
        assert self.next_row is not None  # it has begun
        self.next_row += 1
        before, held = self._hold(values)
        if math.isnan(values.dot(values)):
            unsaid = np.isnan(values)
            np.copyto(held, before, where=unsaid)
            held[bad != 0] = np.nan
            self._silent_rows = self._silent_rows + 1 if unsaid.all() and not bad.any() else 0
        else:
            self._silent_rows = 0
        still, passes = self._still, self._passes
        np.add(still, 1, still)
        np.multiply(still, held == before, still)
        # A value that is none compares as false.
        np.greater_equal(held, self._low, passes[0])
        np.less_equal(held, self._high, passes[1])
        np.less_equal(np.abs(held - before), self._step, passes[2])
        still_rows = self._still_rows if quiet is None else np.maximum(self._still_rows, quiet)
        np.less_equal(still, still_rows, passes[3])
        is_calm = self._silent_rows < SILENCE_ROWS and passes.all()
        self._calm_rows = self._calm_rows + 1 if is_calm else 0

    def _hold(self, values: Vector) -> tuple[Vector, Vector]:
        """Return the row before and the new one, which holds `values`."""
        stop, rows = self._stop, self._window_rows
        if stop == len(self._held):
            self._held[:rows] = self._held[rows:]
            stop = rows
        self._held[stop] = values
        self._stop = stop + 1
        return self._held[stop - 1], self._held[stop]


def _find_usual(ranges: TagRanges | None, tags: int) -> tuple[Vector, Vector, Vector]:
    """Return the least and the greatest value and the widest step that need no closer look; all (tags,)."""
    if ranges is None:
        return np.full(tags, -np.inf), np.full(tags, np.inf), np.full(tags, np.inf)
    margin = SENTINEL_MARGIN * np.maximum(ranges.usual_high - ranges.usual_low, 0.0)
    step = SPIKE_FACTOR * ranges.step if tags >= SPIKE_TAGS_MIN else np.full(tags, np.inf)
    return (
        np.maximum(ranges.low, ranges.usual_low - margin),
        np.minimum(ranges.high, ranges.usual_high + margin),
        step,
    )
