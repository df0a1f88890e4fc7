"""Regression of each tag's shortest mean on all that the other tags show: what it should be given them."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix, Vector

RIDGE = 1e-3
"""Of a feature's variance; less than the scores are given, as held-out rows say how far to believe this."""


class Regression(msgspec.Struct, frozen=True):
    """`weights` (columns, kept) turn standardised features in `columns` into residuals of the tags `kept`.

    `spread` (kept,) are their standard deviations by the covariance.
    """

    kept: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: Matrix
    spread: Vector


def invert_covariance(covariance: Matrix) -> Matrix:
    """Return the precision matrix of all features (d, d)."""
    return np.asarray(np.linalg.inv(covariance + RIDGE * np.eye(len(covariance))), dtype=np.float64)


def make_regression(precision: Matrix, per_tag: int, mask: Mask) -> Regression:
    """Return the regression among the tags of `mask` (tags,), those not in it marginalised.

    Of tag j's features O given all features of the other tags: the residuals are inv(P_OO) (P z)_O with
    covariance inv(P_OO), for the precision P (Lauritzen 1996, 5.1.3); the first is the shortest mean's. A
    tag's own features are not among the others: one that drifts is not explained by its own past.
    """
    kept = np.flatnonzero(mask)
    columns = (np.arange(per_tag)[:, None] * len(mask) + kept).ravel()
    inner = precision[np.ix_(columns, columns)]
    gone = np.setdiff1d(np.arange(len(precision)), columns, assume_unique=True)
    if len(gone):
        # The precision of what is left is a Schur complement: no covariance is inverted anew.
        across = precision[np.ix_(columns, gone)]
        inner = inner - across @ np.linalg.solve(precision[np.ix_(gone, gone)], across.T)
    by_tag = inner.reshape(per_tag, len(kept), per_tag, len(kept))
    own = np.linalg.inv(np.einsum("atbt->tab", by_tag))
    weights = np.einsum("dbt,tb->dt", inner.reshape(len(columns), per_tag, len(kept)), own[:, :, 0])
    return Regression(kept, columns, np.ascontiguousarray(weights), np.sqrt(own[:, 0, 0]))
