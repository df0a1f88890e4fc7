"""Small networks for remaining life, trained by scikit-learn; imported while fitting only."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]  # ships no types
from sklearn.neural_network import MLPRegressor  # type: ignore[import-untyped]  # ships no types

from models.anomaly.features import Matrix, Vector

LAYERS = (64, 32)
ROUNDS = 12
WEIGHT_DECAY = 1.0
BATCH_ROWS = 128


def train_network(
    rows: Matrix, goals: Vector, seed: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return weights and offsets by layer: standardised rows (n, d) to goals (n,), about 0 to 1."""
    regressor = MLPRegressor(
        hidden_layer_sizes=LAYERS,
        alpha=WEIGHT_DECAY,
        batch_size=BATCH_ROWS,
        max_iter=ROUNDS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the rounds are few on purpose
        regressor.fit(rows, goals)
    return list(zip(regressor.coefs_, regressor.intercepts_, strict=True))
