"""Runs of rows that are marked alike."""

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask

Spans = NDArray[np.int64]
"""First row and row after the last of each run (runs, 2)."""


def find_spans(marks: Mask) -> Spans:
    """Return the runs of True in `marks` (n,)."""
    edges = np.diff(np.concatenate(([0], marks.astype(np.int8), [0])))
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])
