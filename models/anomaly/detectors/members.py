"""The three members of `fuse`: conditional residuals, drift-inflated T2, distance to remembered rows."""

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Matrix, Vector

RIDGE = 1e-2
NEIGHBOURS = 5
MEMORY_ROWS_MAX = 1_000
"""Of 10 tags: 240 kB."""

Singles = NDArray[np.float32]


def make_residuals(covariance: Matrix, per_tag: int) -> Matrix:
    """Return R (d, d) such that z @ R are the conditional residuals of rows z (n, d) in sigmas.

    From the precision matrix P of all tags' features of one window: r_j = (P z)_j / sqrt(P_jj), which is the
    residual of tag j's regression on all other tags over its standard deviation (Lauritzen 1996, 5.1.3).
    Each window has a matrix of its own, so that a tag that drifts is not explained by its own past.
    """
    tags = len(covariance) // per_tag
    residuals = np.zeros_like(covariance)
    for window in range(per_tag):
        own = slice(window * tags, (window + 1) * tags)
        precision = np.linalg.inv(covariance[own, own] + RIDGE * np.eye(tags))
        residuals[own, own] = precision / np.sqrt(np.diag(precision))
    return residuals


def make_whitening(covariance: Matrix, drift: Vector) -> Matrix:
    """Return W such that the squares of z @ W sum to Hotelling's T2, the diagonal inflated by `drift`."""
    inflated = covariance + np.diag(drift + RIDGE)
    whitening: Matrix = np.linalg.inv(np.linalg.cholesky(inflated)).T
    return whitening


def choose_memory(rows: Matrix) -> Singles:
    """Return at most `MEMORY_ROWS_MAX` rows, evenly spread over the time of learning, rounded."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), MEMORY_ROWS_MAX)).astype(np.int64)
    return rows[places].astype(np.float32)


def measure_distance(rows: Matrix, remembered: Singles) -> Vector:
    """Return the mean Euclidean distance of every row to its nearest remembered rows, per root feature."""
    memory = remembered.astype(np.float64)
    near = min(NEIGHBOURS, len(memory))
    squares = np.einsum("ij,ij->i", memory, memory) - 2.0 * (rows @ memory.T)
    nearest = np.argpartition(squares, near - 1, axis=1)[:, :near]
    total = np.zeros(len(rows))
    for place in nearest.T:
        # By difference: the product finds who is near, but its last digits are noise beside a small distance.
        apart = rows - memory[place]
        total += np.sqrt(np.einsum("ij,ij->i", apart, apart) / rows.shape[1])
    return total / near


def root_mean_square(columns: Matrix) -> Vector:
    """Return the root of the mean square of every row."""
    mean: Vector = np.sqrt(np.einsum("ij,ij->i", columns, columns) / max(columns.shape[1], 1))
    return mean
