"""The list of detectors, by the name that a bundle's card gives."""

from collections.abc import Callable
from typing import Any

import msgspec

from models.anomaly.detectors import Arrays, Detector
from models.anomaly.detectors.components import PcaDetector
from models.anomaly.detectors.conditional import ConditionalDetector
from models.anomaly.detectors.forest import IsolationForestDetector
from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.neighbours import KnnDetector
from models.anomaly.detectors.zscore import RobustZscoreDetector


class DetectorKind(msgspec.Struct, frozen=True):
    """How to make a detector for given windows, and how to restore it from its arrays.

    A detector that `saturates` tells strange rows from normal ones, but not how strange they are.
    """

    make: Callable[..., Detector]
    restore: Callable[[Arrays], Detector]
    saturates: bool = False


DETECTORS: dict[str, DetectorKind] = {
    "conditional": DetectorKind(ConditionalDetector, ConditionalDetector.restore),
    "fuse": DetectorKind(FuseDetector, FuseDetector.restore),
    "isolation_forest": DetectorKind(
        IsolationForestDetector, IsolationForestDetector.restore, saturates=True
    ),
    "knn": DetectorKind(KnnDetector, KnnDetector.restore),
    "pca": DetectorKind(PcaDetector, PcaDetector.restore),
    "robust_zscore": DetectorKind(RobustZscoreDetector, RobustZscoreDetector.restore),
}


def make_detector(name: str, **keywords: Any) -> Detector:
    """Return a new detector of the kind `name`."""
    return DETECTORS[name].make(**keywords)


def restore_detector(name: str, arrays: Arrays) -> Detector:
    """Return the detector of the kind `name` whose `arrays()` these are; KeyError for an unknown kind."""
    return DETECTORS[name].restore(arrays)
