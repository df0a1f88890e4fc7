"""Scales: values in units of their own spread, so that features of all tags compare."""

import msgspec
import numpy as np

from models.anomaly.detectors import TrainingRejected
from models.anomaly.features import Matrix, Vector, Windows, compute_features

SCALE_SHARE_MIN = 1e-3
SCALE_MIN = 1e-9
SPREAD_FLOOR_SHARE = 0.1
SPREAD_FLOOR_MIN = 0.005
FEATURE_SCALE_MIN = 0.02
"""A mean that hardly moved while learning is not trusted to stay within less (in the tag's deviations)."""


class Scales(msgspec.Struct, frozen=True):
    """Median, standard deviation and least spread of every tag; all (tags,), the last two floored."""

    centre: Vector
    scale: Vector
    spread_floor: Vector

    def compute(self, values: Matrix, windows: Windows) -> Matrix:
        """Return flat rows of features (rows, windows.per_tag * tags) of `values` (rows, tags)."""
        standardised = (values - self.centre) / self.scale
        return compute_features(standardised, windows, self.spread_floor).reshape(len(values), -1)


def learn_scales(values: Matrix, windows: Windows) -> Scales:
    """Return the scales of training rows (rows, tags); raise `TrainingRejected` for a tag without values."""
    if not np.isfinite(values).any(axis=0).all():
        raise TrainingRejected("a tag has no value in the training rows: leave it out")
    centre = np.nanmedian(values, axis=0)
    least = np.maximum(SCALE_SHARE_MIN * np.abs(centre), SCALE_MIN)
    scales = Scales(
        centre, np.maximum(np.nanstd(values, axis=0), least), np.full(values.shape[1], SPREAD_FLOOR_MIN)
    )
    if not windows.spreads:
        return scales
    features = scales.compute(values, windows).reshape(len(values), windows.per_tag, -1)
    typical = np.exp(np.nanmedian(features[:, len(windows.means)], axis=0))
    return Scales(centre, scales.scale, np.maximum(SPREAD_FLOOR_SHARE * typical, SPREAD_FLOOR_MIN))
