"""Blame: which tags are strange themselves, and what they should be given the tags that are not."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix

BLAME_SIGMA = 4.0
BLAMED_MAX = 3
CANDIDATES = 3
NEARLY_EQUAL = 2.0
TAGS_LEFT_MIN = 2

Regress = Callable[[Matrix, Mask], tuple[Matrix, Matrix]]
"""Takes rows of features and the tags in use (tags,); returns residuals in sigmas and in the features' units,
both (rows, tags): every tag regressed on the others in use, NaN for the tags that are not."""
FindChanges = Callable[[Matrix, Mask], Matrix]
"""Takes the same; returns by how many sigmas each tag has lately changed more than the others explain."""


def spread_blame(
    features: Matrix, usable: Mask, regress: Regress, find_changes: FindChanges
) -> tuple[Matrix, Matrix]:
    """Return residuals (sigmas, units) in which a strange tag does not make healthy ones look strange.

    A tag that has gone astray spoils what is expected of every tag that it normally explains. So the tags to
    blame are taken out one by one: of the most distant ones that without which the rest fits best. Where two
    explain each other's distance (a warm bearing and a cold hall), the one that lately changed is to blame.
    Then every tag, blamed or not, is regressed on the tags that are not blamed.
    """
    sigma, units = regress(features, usable)
    blamed = np.zeros(sigma.shape, dtype=bool)
    rows = np.flatnonzero(_find_strange(sigma))
    inside = np.nan_to_num(sigma[rows])
    weights = np.zeros(sigma.shape)
    if len(rows):
        weights[rows] = np.maximum(np.nan_to_num(np.abs(find_changes(features[rows], usable))), 1.0)
    for _ in range(min(BLAMED_MAX, int(usable.sum()) - TAGS_LEFT_MIN)):
        if not len(rows):
            break
        picked = _pick_culprits(features[rows], usable, blamed[rows], (inside, weights[rows]), regress)
        blamed[rows, picked] = True
        rest = _regress_without(features[rows], usable, blamed[rows], regress)[0]
        strange = _find_strange(rest)
        rows, inside = rows[strange], np.nan_to_num(rest[strange])
    _refit(features, usable, blamed, sigma, units, regress)
    return sigma, units


def group_rows(marks: Mask) -> list[tuple[Mask, NDArray[np.int64]]]:
    """Return each distinct row of `marks` (rows, tags) with the numbers of the rows that are like it."""
    if not len(marks):
        return []
    if bool((marks == marks[0]).all()):
        return [(marks[0], np.arange(len(marks)))]
    masks, places = np.unique(marks, axis=0, return_inverse=True)
    return [(mask, np.flatnonzero(places.ravel() == number)) for number, mask in enumerate(masks)]


def _find_strange(sigma: Matrix) -> Mask:
    strange: Mask = np.asarray((np.abs(np.nan_to_num(sigma)) > BLAME_SIGMA).any(axis=1))
    return strange


def _pick_culprits(
    features: Matrix, usable: Mask, blamed: Mask, distances: tuple[Matrix, Matrix], regress: Regress
) -> NDArray[np.int64]:
    """Return, for every row, the tag to blame among the most distant: those without which the rest fits.

    `distances` are sigmas and the weights of the tags' changes: among near-equals their product decides.
    """
    sigma, weights = distances
    order = np.argsort(-np.abs(sigma), axis=1, kind="stable")[:, :CANDIDATES]
    left = np.full(order.shape, np.inf)
    rows = np.arange(len(features))
    for rank in range(order.shape[1]):
        trial = blamed.copy()
        trial[rows, order[:, rank]] = True
        possible = np.abs(sigma[rows, order[:, rank]]) > BLAME_SIGMA
        rest = np.nan_to_num(_regress_without(features, usable, trial, regress)[0])
        left[:, rank] = np.where(possible, np.einsum("ij,ij->i", rest, rest), np.inf)
    fits = left <= np.min(left, axis=1, keepdims=True) * NEARLY_EQUAL
    suspicion = np.abs(sigma) * weights
    best = np.where(fits, np.take_along_axis(suspicion, order, axis=1), -1.0).argmax(axis=1)
    picked: NDArray[np.int64] = order[rows, best]
    return picked


def _regress_without(features: Matrix, usable: Mask, blamed: Mask, regress: Regress) -> tuple[Matrix, Matrix]:
    sigma = np.full(blamed.shape, np.nan)
    units = np.full(blamed.shape, np.nan)
    for mask, rows in group_rows(blamed):
        sigma[rows], units[rows] = regress(features[rows], usable & ~mask)
    return sigma, units


def _refit(
    features: Matrix, usable: Mask, blamed: Mask, sigma: Matrix, units: Matrix, regress: Regress
) -> None:
    """Regress every tag of the rows with blame on the tags that are not blamed, in place."""
    rows = np.flatnonzero(blamed.any(axis=1))
    if not len(rows):
        return
    sigma[rows], units[rows] = _regress_without(features[rows], usable, blamed[rows], regress)
    for tag in np.flatnonzero(blamed.any(axis=0)):
        own = np.flatnonzero(blamed[:, tag])
        others = blamed[own].copy()
        others[:, tag] = False
        again = _regress_without(features[own], usable, others, regress)
        sigma[own, tag], units[own, tag] = again[0][:, tag], again[1][:, tag]
