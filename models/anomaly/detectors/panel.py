"""Panels: the newest rows of machines whose `fuse` detectors are alike, judged in few steps."""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from models.anomaly.detectors import Judgement
from models.anomaly.detectors.blame import BLAME_SIGMA
from models.anomaly.detectors.memory import Memory
from models.anomaly.features import Matrix, Vector, Windows

PANEL_MACHINES_MAX = 32
"""What so many machines need at once stays in a processor core's own cache."""
SCORE_MIN = 1e-9
ALL_TAGS = np.ones(1)
ALL_TAGS.flags.writeable = False
"""The coverage of a row without missing tags."""


class Gauge(msgspec.Struct, frozen=True, eq=False):
    """What a fitted detector knows, arranged for rows in whose windows no value of its `tags` is missing.

    Values less `centre` (tags,) give means and variances over the windows, in the tags' units; variances are
    floored by adding `floor` (tags,). `mean` and `per_scale` (per_tag * tags,) standardise the means and the
    variances' logarithms. `whiten` (wide, wide) and `residual` (per_tag, tags, tags) give numbers whose
    squares sum to the share of T2 and of the residuals in the squared score; `weight` is that of the squared
    distance to `memory`, before which comes `ease` (per_tag * tags,). A standardised row times
    `regress` (per_tag * tags, tags) is how far each shortest mean is from what the other tags let expect, in
    sigmas, which are `units` (tags,) of the tag. `explain` takes a standardised row and returns sigmas and
    distances (tags,) for a row in which some tag is strange.
    """

    windows: Windows
    centre: Vector
    floor: Vector
    mean: Vector
    per_scale: Vector
    whiten: Matrix
    residual: Matrix
    weight: float
    ease: Vector
    memory: Memory
    regress: Matrix
    units: Vector
    explain: Callable[[Vector], tuple[Vector, Vector]]

    @property
    def shape(self) -> tuple[int, ...]:
        """What gauges of one panel have in common."""
        return (len(self.centre), len(self.windows.means), *self.windows.means, *self.windows.spreads)


class Panel:
    """Gauges of one shape. What is said of a machine has the same bits whoever else is on the panel.

    Each product is a BLAS call of its own for each machine, of one size for one machine and for many; all
    else goes element by element. Arrays and views of them are made once. Not for two threads at once.
    """

    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = list(gauges)
        self.machines = len(gauges)
        windows, tags, many = gauges[0].windows, len(gauges[0].centre), len(gauges)
        self._over_windows = _weigh_rows(windows)
        # A centre for each row of the window: one long subtraction is faster than many short ones.
        self._centre = np.stack([np.tile(one.centre, (windows.longest, 1)) for one in gauges])
        self._floor = np.stack([np.tile(one.floor, (len(windows.spreads), 1)) for one in gauges])
        self._mean, self._per_scale, self._ease, self._regress, self._units = (
            np.stack([getattr(one, name) for one in gauges])
            for name in ("mean", "per_scale", "ease", "regress", "units")
        )
        self._whiten = np.stack([one.whiten for one in gauges])
        self._residual = np.stack([one.residual for one in gauges])
        self._powers = np.full((2, many, windows.longest, tags), np.nan)
        self._averages = np.full((2, many, windows.per_tag, tags), np.nan)
        self._rows = np.full((many, windows.per_tag * tags), np.nan)
        self._members = np.full((many, self._whiten.shape[-1] + self._rows.shape[1]), np.nan)
        self._single = np.full(self._rows.shape, np.nan, dtype=np.float32)
        self._make_views(len(windows.means))

    def _make_views(self, means: int) -> None:
        """Making a view costs as much as adding ten numbers: it is done once."""
        (many, width), wide = self._rows.shape, self._whiten.shape[-1]
        self._centred, self._squared = self._powers
        self._features = self._averages[0].reshape(many, width)
        self._spreads, self._variances = self._averages[:, :, means:]
        self._wide_rows, self._whitened = self._rows[:, None, :wide], self._members[:, None, :wide]
        by_window = (many, len(self._residual[0]), 1, self._residual.shape[-1])
        self._rows_by_window = self._rows.reshape(by_window)
        self._residuals = self._members[:, wide:].reshape(by_window)
        self._stacked_rows = self._rows[:, None]
        self._shortest, self._offset = self._averages[0, :, 0], self._centre[:, 0]
        # A tag that is alone has no residuals among the members.
        self._counted = self._members if by_window[-1] > 1 else self._members[:, :wide]
        self._eased = np.empty_like(self._rows) if (self._ease != 1.0).any() else self._rows
        self._inputs = list(zip(self._centre, self._centred, strict=True))
        parts = zip(self._gauges, self._eased, self._single, strict=True)
        self._searches = [(one.memory.measure, row, single, one.weight) for one, row, single in parts]

    def score(self, windows: Sequence[Matrix | None]) -> list[float]:
        """Return the score of the newest row of each machine's window (longest, tags), oldest row first.

        NaN where there is no window, a value is missing in it, or one is too large for numbers.
        """
        scores = []
        squares = self.rate(windows)
        parts = zip(windows, squares, self._searches, strict=True)
        for window, square, (measure, row, single, weight) in parts:
            if window is None or not square < math.inf:
                scores.append(math.nan)
                continue
            distance = measure(row, single)
            scores.append(math.sqrt(square + distance * distance * weight) or SCORE_MIN)
        return scores

    def judge(self, windows: Sequence[Matrix | None]) -> list[Judgement | None]:
        """Return the same with causes, None where the score is NaN."""
        scores = self.score(windows)
        sigma = np.matmul(self._stacked_rows, self._regress)[:, 0]
        seen = self._shortest + self._offset
        expected = seen - sigma * self._units
        farthest = np.maximum.reduce(np.abs(sigma), axis=1).tolist()
        found: list[Judgement | None] = []
        for place, (score, far) in enumerate(zip(scores, farthest, strict=True)):
            if not score < math.inf:
                found.append(None)
                continue
            if far > BLAME_SIGMA:
                sigma[place], apart = self._gauges[place].explain(self._rows[place])
                expected[place] = seen[place] - apart
            one = slice(place, place + 1)
            found.append(Judgement(np.array([score]), ALL_TAGS, seen[one], expected[one], sigma[one]))
        return found

    def rate(self, windows: Sequence[Matrix | None]) -> list[float]:
        """Return the share of T2 and residuals in every squared score; `score` adds that of the distance.

        NaN where a value is missing; what was there before where no window is given.
        """
        for window, (centre, centred) in zip(windows, self._inputs, strict=True):
            if window is not None:
                np.subtract(window, centre, centred)
        np.multiply(self._centred, self._centred, self._squared)
        np.matmul(self._over_windows, self._powers, self._averages)
        spreads, variances, floor, rows = self._spreads, self._variances, self._floor, self._rows
        np.subtract(variances, spreads * spreads, variances)
        np.add(variances, floor, variances)
        # By rounding a variance can be below zero.
        np.maximum(variances, floor, out=variances)
        np.log(variances, spreads)
        np.subtract(self._features, self._mean, rows)
        np.multiply(rows, self._per_scale, rows)
        np.matmul(self._wide_rows, self._whiten, self._whitened)
        np.matmul(self._rows_by_window, self._residual, self._residuals)
        if self._eased is not rows:
            np.multiply(rows, self._ease, self._eased)
        np.copyto(self._single, self._eased, casting="same_kind")
        shares: list[float] = np.vecdot(self._counted, self._counted).tolist()
        return shares


def _weigh_rows(windows: Windows) -> Matrix:
    """Return the weights (per_tag, longest) by which rows, oldest first, become means over the windows."""
    weights = np.zeros((windows.per_tag, windows.longest))
    for place, length in enumerate([*windows.means, *windows.spreads]):
        weights[place, windows.longest - length :] = 1.0 / length
    return weights
