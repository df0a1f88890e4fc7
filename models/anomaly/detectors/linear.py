"""Linear algebra of the conditional detector: every tag's regression on the others, and drift-inflated T2."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix, Vector

RIDGE = 1e-3
DRIFT_BLOCKS = 8
DRIFT_HORIZON = 2
"""Drift is extrapolated to this many times the length of the training."""


class Layout(msgspec.Struct, frozen=True):
    """How a flat row of features is laid out: feature f of tag j stands at f * tags + j.

    The first `means` features of a tag are means; `targets` are the features that are regressed.
    """

    tags: int
    means: int
    per_tag: int
    targets: list[int]

    @property
    def shorter_spread(self) -> slice:
        """The columns of the first spread of every tag."""
        return slice(self.means * self.tags, (self.means + 1) * self.tags)

    def columns(self, kept: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the columns of the features of the tags `kept`."""
        return (np.arange(self.per_tag)[:, None] * self.tags + kept).ravel()


class Operators(msgspec.Struct, frozen=True):
    """What turns a flat row of standardised features of the tags `kept` into residuals and T2.

    `columns` picks the row's features; `residual` (columns, targets * kept) gives the conditional
    residuals, target by target, whose standard deviations by the covariance are `spread`; `whiten` (means'
    columns, same) gives rows whose squares sum to T2.
    """

    kept: NDArray[np.int64]
    columns: NDArray[np.int64]
    residual: Matrix
    spread: Vector
    whiten: Matrix


def make_operators(covariance: Matrix, drift: Vector, layout: Layout, usable: Mask) -> Operators:
    """Return the operators for the tags marked in `usable` (tags,), marginalised over all others.

    A residual is z - b z_others with b the regression on every feature of the *other* tags, so that a tag
    that drifts slowly is not explained by its own past; without other tags it is z itself.
    T2 is the Mahalanobis distance on the means, the diagonal inflated by `drift` (means * tags,).
    """
    kept = np.flatnonzero(usable)
    columns = layout.columns(kept)
    inner = covariance[np.ix_(columns, columns)]
    owner = np.tile(np.arange(len(kept)), layout.per_tag)
    residual = np.zeros((len(columns), len(layout.targets) * len(kept)))
    for tag in range(len(kept)):
        others = np.flatnonzero(owner != tag)
        goals = np.array(layout.targets) * len(kept) + tag
        places = np.arange(len(layout.targets)) * len(kept) + tag
        residual[goals, places] = 1.0
        if len(others):
            among = inner[np.ix_(others, others)] + RIDGE * np.eye(len(others))
            residual[np.ix_(others, places)] = -np.linalg.solve(among, inner[np.ix_(others, goals)])
    wide = len(kept) * layout.means
    inflated = inner[:wide, :wide] + np.diag(drift[columns[:wide]] + RIDGE)
    whiten = np.linalg.inv(np.linalg.cholesky(inflated)).T
    variance = np.einsum("ij,ij->j", residual, inner @ residual)
    return Operators(kept, columns, residual, np.sqrt(np.maximum(variance, RIDGE)), whiten)


def estimate_drift(means: Matrix) -> Vector:
    """Return how far each column of standardised `means` (rows, columns) may have drifted, as a variance.

    The structure function of the blocks' means (mean squared difference at each lag) is fitted by a straight
    line through zero, as of a random walk, and extrapolated.
    """
    blocks = np.stack([block.mean(axis=0) for block in np.array_split(means, DRIFT_BLOCKS)])
    lags = np.arange(1, DRIFT_BLOCKS // 2 + 1)
    structure = np.stack([((blocks[lag:] - blocks[:-lag]) ** 2).mean(axis=0) for lag in lags])
    slope = (structure * lags[:, None]).sum(axis=0) / (lags**2).sum()
    drift: Vector = slope * DRIFT_HORIZON * DRIFT_BLOCKS
    return drift
