"""The baseline `pca`: distance within the main components (T2) and away from them (SPE)."""

import numpy as np

from models.anomaly.detectors.members import RIDGE, root_mean_square
from models.anomaly.detectors.windowed import State, WindowedDetector
from models.anomaly.features import Mask, Matrix

VARIANCE_SHARE = 0.9
"""The main components are those that carry this much of the variance."""


class PcaDetector(WindowedDetector):
    """Hotelling's T2 on the main components and the squared prediction error beside them (Jackson 1991, 1.4).

    A missing tag counts as its mean.
    """

    def _learn(self, rows: Matrix) -> State:
        variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))
        variances, directions = variances[::-1], directions[:, ::-1]
        shares = np.cumsum(variances) / variances.sum()
        kept = int(np.searchsorted(shares, VARIANCE_SHARE)) + 1
        return {
            "main": directions[:, :kept] / np.sqrt(variances[:kept] + RIDGE),
            "rest": directions[:, kept:],
        }

    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:
        del mask  # the mean stands in for a missing tag
        return np.column_stack(
            [root_mean_square(rows @ state["main"]), root_mean_square(rows @ state["rest"])]
        )
