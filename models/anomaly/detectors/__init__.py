"""The shelf of detectors: what every detector promises."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Matrix, Vector
from models.errors import ForewarnError

Arrays = Mapping[str, NDArray[Any]]


class TrainingRejected(ForewarnError):
    """These rows cannot teach a model: give more or other rows. The message says what is short."""


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What a detector says of some consecutive rows.

    `score` (rows,): higher is stranger, above 0, about 1 where the strangest hundredth of normal begins; NaN
    where it cannot judge. `coverage` (rows,): the share of tags in use. `seen`, `expected` (rows, tags): each
    tag's mean over the shortest window and what the other tags let expect, in the tag's unit.
    `sigma` (rows, tags): their signed distance in standard deviations of rows not learned from. NaN where
    there is none.
    """

    score: Vector
    coverage: Vector
    seen: Matrix
    expected: Matrix
    sigma: Matrix


class Detector(Protocol):
    """Learns what normal looks like. Rows stand on an even grid, oldest first, one column a tag, NaN missing.

    The constructor only stores its keyword arguments; what is learned ends in `_`. Row t of a judgement
    depends on rows <= t, and on none older than `reach_rows` rows.
    """

    reach_rows: int
    held_out_: Vector
    """Scores of the training rows, in order, each by a fit that did not see the rows around it."""
    held_out_rows_: NDArray[np.int64]
    """The numbers of those rows."""

    def fit(self, values: Matrix) -> Self:
        """Learn from `values` (rows, tags); raise `TrainingRejected`. The same rows always teach the same."""

    def judge(self, values: Matrix, last: int | None = None) -> Judgement:
        """Return the judgement of the last `last` rows of `values` (None: all of them)."""

    def arrays(self) -> Arrays:
        """Return what was learned and the constructor's keywords: `restore` of the shelf takes them back."""
