"""Blame in a single row: what `spread_blame` finds in many, without the cost of many a row."""

import math
from collections.abc import Callable

import numpy as np

from models.anomaly.detectors.blame import BLAME_SIGMA, BLAMED_MAX, CANDIDATES, NEARLY_EQUAL, TAGS_LEFT_MIN
from models.anomaly.detectors.regression import Regression
from models.anomaly.features import Mask, Vector

FindRegression = Callable[[Mask], Regression]


class RowBlame:
    """Explains a standardised row of features (per_tag * tags,) of which all tags have values.

    `find_regression` gives the regression among the tags of a mask; its residuals' deviations are those of
    fresh rows when multiplied by `inflation` (tags,).
    """

    def __init__(self, row: Vector, inflation: Vector, find_regression: FindRegression) -> None:
        self._row = row
        self._inflation = inflation
        self._find_regression = find_regression

    def explain(self, changes: Callable[[], Vector]) -> tuple[Vector, Vector]:
        """Return sigmas and distances (tags,), these in units of the standardised features.

        `changes` gives by how many sigmas each tag (tags,) has lately changed more than the others explain.
        """
        blamed = self._find_culprits(changes)
        sigma, distance = self._regress(blamed)
        for tag in blamed:
            others = [other for other in blamed if other != tag]
            own = self._regress(others)
            sigma[tag], distance[tag] = own[0][tag], own[1][tag]
        return sigma, distance

    def _find_culprits(self, changes: Callable[[], Vector]) -> list[int]:
        """Return the tags to blame, as `spread_blame` takes them out one by one."""
        blamed: list[int] = []
        sigma: list[float] = self._regress(blamed)[0].tolist()
        weights: list[float] = []
        for _ in range(min(BLAMED_MAX, len(sigma) - TAGS_LEFT_MIN)):
            strange = sorted(range(len(sigma)), key=lambda tag: -abs(sigma[tag]))[:CANDIDATES]
            strange = [tag for tag in strange if abs(sigma[tag]) > BLAME_SIGMA]
            if not strange:
                break
            weights = weights or np.maximum(np.abs(changes()), 1.0).tolist()
            rests = {tag: self._regress([*blamed, tag])[0].tolist() for tag in strange}
            left = {tag: math.fsum(one * one for one in rest) for tag, rest in rests.items()}
            most = min(left.values()) * NEARLY_EQUAL
            fitting = [tag for tag in strange if left[tag] <= most]
            picked = max(fitting, key=lambda tag: abs(sigma[tag]) * weights[tag])
            blamed.append(picked)
            sigma = rests[picked]
        return blamed

    def _regress(self, left_out: list[int]) -> tuple[Vector, Vector]:
        """Return sigmas and distances (tags,) without the tags `left_out`, which have 0."""
        mask = np.ones(len(self._inflation), dtype=bool)
        mask[left_out] = False
        found = self._find_regression(mask)
        residuals = self._row[found.columns] @ found.weights
        sigma, distance = np.zeros((2, len(mask)))
        distance[found.kept] = residuals
        sigma[found.kept] = residuals / (found.spread * self._inflation[found.kept])
        return sigma, distance
