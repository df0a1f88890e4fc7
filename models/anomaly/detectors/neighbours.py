"""The baseline `knn`: mean distance to the nearest remembered rows."""

import numpy as np

from models.anomaly.detectors.members import choose_memory, measure_distance
from models.anomaly.detectors.windowed import State, WindowedDetector
from models.anomaly.features import Mask, Matrix


class KnnDetector(WindowedDetector):
    """Distance in standardised features (Ramaswamy and others 2000). Missing tags are left out."""

    def _learn(self, rows: Matrix) -> State:
        return {"memory": choose_memory(rows)}

    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:
        wanted = np.tile(mask, self.windows.per_tag)
        return np.asarray(measure_distance(rows[:, wanted], state["memory"][:, wanted])[:, None])
