"""Blocked out-of-fold splits: disjoint blocks of time with a gap between what is learned and held out."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask

Places = NDArray[np.int64]


def split_blocks(usable: Mask, folds: int, gap: int) -> Iterator[tuple[Places, Places]]:
    """Yield (learned rows, held-out rows) for `folds` blocks of the usable rows.

    The rows nearer than `gap` to a held-out row are in neither: their windows share values with it.
    """
    places = np.flatnonzero(usable)
    for block in np.array_split(places, folds):
        if not len(block):
            continue
        away = (places < block[0] - gap) | (places > block[-1] + gap)
        yield places[away], block
