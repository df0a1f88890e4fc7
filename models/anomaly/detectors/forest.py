"""The baseline `isolation_forest`: scikit-learn grows the trees, numpy walks them."""

import numpy as np

from models.anomaly.detectors.windowed import State, WindowedDetector
from models.anomaly.features import Mask, Matrix

TREES = 100
LEAF = -1


class IsolationForestDetector(WindowedDetector):
    """Liu, Ting and Zhou (2008). Its score saturates: it tells strange from normal, not how strange.

    A missing tag counts as its mean.
    """

    def _learn(self, rows: Matrix) -> State:
        from models.anomaly.detectors.isolation import grow_forest  # scoring lives without scikit-learn

        return grow_forest(rows, TREES, self.seed)

    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:
        del mask  # the mean stands in for a missing tag
        single = rows.astype(np.float32)
        depth = np.zeros(len(rows))
        numbers = np.arange(len(rows))
        for left, right, feature, threshold, length in zip(
            state["left"], state["right"], state["feature"], state["threshold"], state["length"], strict=True
        ):
            node = np.zeros(len(rows), dtype=np.int64)
            while True:
                inner = left[node] != LEAF
                if not inner.any():
                    break
                goes_left = single[numbers, feature[node]] <= threshold[node]
                node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
            depth += length[node]
        return np.asarray(2.0 ** (-depth / len(state["left"]) / state["typical"]))[:, None]
