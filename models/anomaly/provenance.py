"""Where a bundle comes from: its parent, what was left out, and how far each tag was believed."""

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import MONTH_S
from models.anomaly.calibration.spans import find_spans
from models.anomaly.features import Vector
from models.anomaly.grid import hold_last, put_on_grid, step_ns

Grade = Literal["high", "medium", "low"]

HIGH_SHARE, MEDIUM_SHARE = 0.95, 0.6
NOT_ACQUIRED = 0x809D0000
"""Bad_DataLost (OPC 10000-4, 7.39): the status of a tag from where on it was not acquired."""


class TagGrade(msgspec.Struct, frozen=True):
    """How far a tag's values can be believed and learned from, and why."""

    grade: Grade
    reason: str


class Replay(msgspec.Struct, frozen=True):
    """A confirmed event that was replayed with a bundle (event time), and whether it raised an alert."""

    first_ns: int
    last_ns: int
    is_found: bool


class Origin(msgspec.Struct, frozen=True):
    """What who trained a bundle knew beside the values.

    `parent` is the version that was in charge, which this one was refitted from; empty for a first one.
    `exclusions` are spans (first, last; nanoseconds) within the values that taught nothing, as they lay near
    alerts. `replayed` are the confirmed events that it was tried on.
    """

    parent: str = ""
    units: dict[str, str] = {}
    exclusions: list[tuple[int, int]] = []
    replayed: list[Replay] = []


def grade_tag(held: NDArray[np.float64], bad: NDArray[np.uint32]) -> TagGrade:
    """Return a tag's grade from its values on the grid (rows,), NaN missing, and its status codes (rows,)."""
    share = float(np.isfinite(held).mean())
    if share == 0.0:
        return TagGrade("low", "no good value")
    if is_constant(held):
        return TagGrade("low", f"always {held[np.isfinite(held)][0]:g}: nothing can be learned from it")
    marked = float(((bad != 0) & (bad != NOT_ACQUIRED)).mean())
    why = f"a value in {share:.0%} of the rows" + (f", {marked:.0%} marked bad" if marked >= 0.005 else "")
    if share >= HIGH_SHARE:
        return TagGrade("high", why)
    return TagGrade("medium" if share >= MEDIUM_SHARE else "low", why)


def is_constant(held: NDArray[np.float64]) -> bool:
    """Return whether values (any shape), NaN missing, are all the same, or none."""
    said = held[np.isfinite(held)]
    return not len(said) or bool(said.min() == said.max())


def grade_tags(
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    grid_s: float,
) -> dict[str, TagGrade]:
    """Return the grade of each tag in samples (see `train_bundle`)."""
    grid = put_on_grid(timestamps, values, codes, sorted(values), step_ns(grid_s))
    held = hold_last(grid)
    return {tag: grade_tag(held[:, column], grid.bad[:, column]) for column, tag in enumerate(sorted(values))}


def count_realised(held_out: Vector, limit: float, grid_s: float) -> float:
    """Return the false alarms a month that held-out scores (n,) in time order had with this limit."""
    episodes = find_spans(find_alerting(held_out, limit, Persistence()))
    return len(episodes) * MONTH_S / (len(held_out) * grid_s)
