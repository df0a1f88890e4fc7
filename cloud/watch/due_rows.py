"""Rows of a machine that fall due, made ready for its detector: what is new where all is calm, else all."""

from collections.abc import Sequence

import msgspec

from cloud.watch.holes import respect_holes
from cloud.watch.rings import GridRing
from models.anomaly.bundle import Bundle
from models.anomaly.calm import CalmRows
from models.anomaly.grid import GridRows, step_ns
from models.anomaly.judging import Prepared, Verdict, count_reach, prepare_rows
from models.telemetry import Gap

FOLLOW_AGAIN_ROWS = 20
"""Values that keep coming late must not have the same rows followed anew for each of them."""


class DueRow(msgspec.Struct, frozen=True, gc=False):
    """A row before the detector has judged it; `grid` is what it was made of, None where all is calm."""

    bundle: Bundle
    prepared: Prepared
    grid: GridRows | None

    def complete(self, verdict: Verdict, gaps: Sequence[Gap]) -> Verdict:
        """Return the verdict without what looks at holes."""
        if self.grid is None:
            return verdict
        return respect_holes(verdict, self.grid, self.bundle.card.windows, gaps)


class DueRows:
    """Makes rows of a ring ready for a bundle, each as if it alone were asked for.

    A row depends on `count_reach` rows before it. As long as all of those are calm they are followed one by
    one; the result is that of looking at all of them, to the last bit. Ways of running are always looked at.
    """

    def __init__(self, bundle: Bundle, ring: GridRing) -> None:
        self._bundle = bundle
        self._ring = ring
        self._grid_ns = step_ns(bundle.card.grid_s)
        self._reach = count_reach(bundle)
        self._followed_again = 0
        self._calm = None
        if bundle.regimes is None:
            self._calm = CalmRows(bundle.health, bundle.detector.reach_rows, self._reach)

    def note_put(self, first_ns: int) -> None:
        """Know that the ring was given something from `first_ns` on."""
        calm = self._calm
        if calm is not None and calm.next_row is not None and first_ns < calm.next_row * self._grid_ns:
            calm.forget()

    def prepare(self, row: int) -> DueRow:
        """Return the row; good until the next is prepared. The ring has begun."""
        if self._calm is not None and self._is_calm(self._calm, row):
            return DueRow(self._bundle, Prepared(self._calm.window, row + 1, {}, ""), None)
        grid = self._ring.read(row, self._reach + 1)
        return DueRow(self._bundle, prepare_rows(self._bundle, grid), grid)

    def _is_calm(self, calm: CalmRows, row: int) -> bool:
        if calm.next_row == row:
            calm.follow(*self._ring.take(row))
        elif row >= self._followed_again:
            self._followed_again = row + FOLLOW_AGAIN_ROWS
            grid = self._ring.read(row, self._reach + 2)  # the first has nothing before it, and is not calm
            calm.begin(grid.first)
            for values, bad in zip(grid.values, grid.bad, strict=True):
                calm.follow(values, bad, grid.quiet)
        else:
            calm.forget()
        return calm.is_calm
