"""Isolation forests, grown by scikit-learn; imported while fitting only, for it costs 190 MB."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]  # scikit-learn ships no types

from models.anomaly.detectors.windowed import State
from models.anomaly.features import Matrix

EULER = 0.5772156649015329


def grow_forest(rows: Matrix, trees: int, seed: int) -> State:
    """Return the trees as padded arrays (trees, nodes): children, feature, threshold, path length at leaves.

    `typical` is the mean path length of a sample, by which depths are divided.
    """
    forest = IsolationForest(n_estimators=trees, random_state=seed).fit(rows)
    nodes = max(grown.tree_.node_count for grown in forest.estimators_)
    state: State = {
        "left": np.full((trees, nodes), -1, dtype=np.int64),
        "right": np.full((trees, nodes), -1, dtype=np.int64),
        "feature": np.zeros((trees, nodes), dtype=np.int64),
        "threshold": np.zeros((trees, nodes)),
        "length": np.zeros((trees, nodes)),
        "typical": find_path_length(np.array([float(forest.max_samples_)])),
    }
    for number, grown in enumerate(forest.estimators_):
        tree = grown.tree_
        count = tree.node_count
        state["left"][number, :count] = tree.children_left
        state["right"][number, :count] = tree.children_right
        state["feature"][number, :count] = np.maximum(tree.feature, 0)
        state["threshold"][number, :count] = tree.threshold
        leaf_rest = find_path_length(tree.n_node_samples.astype(np.float64))
        state["length"][number, :count] = _find_depths(tree.children_left, tree.children_right) + leaf_rest
    return state


def find_path_length(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean depth of a search tree of so many samples (Liu and others 2008, equation 1)."""
    many = np.maximum(samples, 2.0)
    length = 2.0 * (np.log(many - 1.0) + EULER) - 2.0 * (many - 1.0) / many
    return np.where(samples <= 1, 0.0, np.where(samples <= 2, 1.0, length))


def _find_depths(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    depths = np.zeros(len(left))
    for node in range(len(left)):  # a child's number is higher than its parent's
        if left[node] >= 0:
            depths[left[node]] = depths[right[node]] = depths[node] + 1.0
    return depths
