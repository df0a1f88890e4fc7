"""The baseline `robust_zscore`: the feature farthest from its median."""

import numpy as np

from models.anomaly.detectors.windowed import State, WindowedDetector
from models.anomaly.features import Mask, Matrix

MAD_TO_DEVIATION = 1.4826
DEVIATION_MIN = 0.05
"""In standard deviations: where more than half of the rows are alike the median deviation is 0."""


class RobustZscoreDetector(WindowedDetector):
    """The largest |x - median| / (1.4826 MAD) of all features (Iglewicz and Hoaglin 1993)."""

    def _learn(self, rows: Matrix) -> State:
        median = np.median(rows, axis=0)
        deviation = MAD_TO_DEVIATION * np.median(np.abs(rows - median), axis=0)
        return {"median": median, "deviation": np.maximum(deviation, DEVIATION_MIN)}

    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:
        wanted = np.tile(mask, self.windows.per_tag)
        distances = np.abs(rows - state["median"]) / state["deviation"]
        return np.asarray(distances[:, wanted].max(axis=1, keepdims=True))
