"""The list of detectors, by the name that a bundle's card gives."""

from collections.abc import Callable
from typing import Any

import msgspec

from models.anomaly.detectors import Arrays, Detector
from models.anomaly.detectors.conditional import ConditionalDetector


class DetectorKind(msgspec.Struct, frozen=True):
    """How to make a detector for given windows, and how to restore it from its arrays."""

    make: Callable[..., Detector]
    restore: Callable[[Arrays], Detector]


DETECTORS: dict[str, DetectorKind] = {
    "conditional": DetectorKind(ConditionalDetector, ConditionalDetector.restore),
}


def make_detector(name: str, **keywords: Any) -> Detector:
    """Return a new detector of the kind `name`."""
    return DETECTORS[name].make(**keywords)


def restore_detector(name: str, arrays: Arrays) -> Detector:
    """Return the detector of the kind `name` whose `arrays()` these are; KeyError for an unknown kind."""
    return DETECTORS[name].restore(arrays)
