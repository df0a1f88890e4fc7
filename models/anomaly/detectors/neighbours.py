"""The baseline `knn`: mean distance to the nearest remembered rows."""

import numpy as np

from models.anomaly.detectors.members import choose_memory, measure_distance
from models.anomaly.detectors.windowed import State, WindowedDetector
from models.anomaly.features import Mask, Matrix


class KnnDetector(WindowedDetector):
    """Distance in standardised features (Ramaswamy and others 2000). A missing tag counts as its mean."""

    def _learn(self, rows: Matrix, tags: int) -> State:  # noqa: ARG002  # the tags play no part
        return {"memory": choose_memory(rows)}

    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:  # noqa: ARG002  # the mean stands in
        return np.asarray(measure_distance(rows, state["memory"])[:, None])
