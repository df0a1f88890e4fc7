"""Health of tags: a sensor that stands still, is bad or is silent is its own fault, not the machine's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix, Vector
from models.anomaly.grid import GridRows, count_still_rows, find_gaps, hold_last
from models.anomaly.ranges import (
    SPIKE_ROWS_MAX,
    SPIKE_SPAN_ROWS,
    SPIKES_MIN,
    TagRanges,
    count_spikes,
    find_impossible,
    find_spikes,
    learn_ranges,
    restore_ranges,
    say_impossible,
)
from models.telemetry import quality
from models.words import say_duration

STILL_FACTOR = 3
STILL_MARGIN_ROWS = 4
STILL_ROWS_MAX = 10_000
STILL_SHARE_MAX = 0.25
"""A tag that stood still for a larger share of the training (a setpoint) may stand still for ever."""
FAULTY_SHARE_MAX = 0.4
"""When a larger share of the tags is faulty at once, it is the connection or the controller, not sensors."""

STILL_ROWS = "health.still_rows"

NEVER = np.iinfo(np.int64).max // 4


class TagHealth(msgspec.Struct, frozen=True):
    """What a healthy tag was seen to do while learning; arrays of shape (tags,), in rows.

    `still_rows`: the longest time without a change, `NEVER` for tags that may stand still for ever. A server
    that sends changes only is silent about a tag that stands still: no news counts as no change. `ranges` are
    missing in bundles from before they were learned.
    """

    still_rows: NDArray[np.int64]
    ranges: TagRanges | None = None

    @property
    def still_rows_max(self) -> NDArray[np.int64]:
        """From where on a tag without a change is faulty; before, beyond `still_rows`, it is in doubt."""
        longest = np.maximum(STILL_FACTOR * self.still_rows, self.still_rows + STILL_MARGIN_ROWS)
        return np.where(self.still_rows >= NEVER, NEVER, longest)

    def allow(self, quiet: NDArray[np.int64] | None) -> "TagHealth":
        """Return the habits of tags that a deadband may keep quiet for so many rows (tags,)."""
        return self if quiet is None else TagHealth(np.maximum(self.still_rows, quiet), self.ranges)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a bundle keeps: `restore_health` takes it back."""
        return {STILL_ROWS: self.still_rows} | (self.ranges.arrays() if self.ranges else {})

    @property
    def reach_rows(self) -> int:
        """Rows to look back over so as to see every fault."""
        still = int(self.still_rows_max[self.still_rows < NEVER].max(initial=0)) + 2
        return still if self.ranges is None else max(still, SPIKE_SPAN_ROWS + SPIKE_ROWS_MAX)


class Checkup(msgspec.Struct, frozen=True):
    """`values` (rows, tags) to be scored, NaN where missing or in doubt; `faults` of the last row.

    `faults` maps the tag's column to the reason in words; `standstill` says why no tag was blamed when too
    many looked faulty at once, else "".
    """

    values: Matrix
    faults: dict[int, str]
    standstill: str


def learn_health(grid: GridRows, bounds: Matrix | None = None) -> TagHealth:
    """Return what the training rows say of each tag's habits; `bounds` (2, tags): what sensors can read."""
    held = hold_last(grid)
    still = np.where(np.isnan(held), 0, count_still_rows(held)).max(axis=0, initial=0)
    rooted = (still > STILL_SHARE_MAX * len(held)) | (still > STILL_ROWS_MAX)
    return TagHealth(np.where(rooted, NEVER, still), learn_ranges(held, bounds))


def restore_health(arrays: Mapping[str, NDArray[Any]]) -> TagHealth:
    """Return the health among a bundle's arrays; raise `KeyError` where there is none."""
    return TagHealth(arrays[STILL_ROWS], restore_ranges(arrays))


def check_tags(grid: GridRows, health: TagHealth, grid_s: float) -> Checkup:
    """Return the values without what cannot be believed, and which tags are faulty in the last row.

    A value that has stood still for longer than ever while learning is left out at once, so that a stuck
    sensor cannot look like a strange machine; it is called faulty only when it stood still for much longer.
    What no machine can have made is left out, too: see `ranges`.
    """
    health = health.allow(grid.quiet)
    held = hold_last(grid)
    still = np.where(np.isnan(held), 0, count_still_rows(held))
    believed = np.where(still > np.maximum(health.still_rows, 1), np.nan, held)
    faults = _find_faults(grid, health, still[-1], grid_s)
    if health.ranges is not None:
        wrong, doubt = find_impossible(held, health.ranges), find_spikes(held, health.ranges)
        if wrong.any() or doubt.any():
            believed[wrong | doubt] = np.nan
            faults |= _find_wrong(held[-1], wrong[-1], doubt, health.ranges, grid_s)
    if len(faults) > FAULTY_SHARE_MAX * grid.values.shape[1]:
        return Checkup(believed, {}, _say_standstill(faults))
    return Checkup(believed, faults, "")


def _find_wrong(held: Vector, wrong: Mask, doubt: Mask, ranges: TagRanges, grid_s: float) -> dict[int, str]:
    spikes = count_spikes(doubt)
    faults = {
        column: (
            f"jumped {spikes[column]} times within {say_duration(SPIKE_SPAN_ROWS * grid_s)}, more than "
            "10 times as far as ever while learning, while no other tag moved"
        )
        for column in np.flatnonzero(spikes >= SPIKES_MIN).tolist()
    }
    for column in np.flatnonzero(wrong).tolist():
        low, high = float(ranges.low[column]), float(ranges.high[column])
        faults[column] = say_impossible(float(held[column]), low, high)
    return faults


def _find_faults(
    grid: GridRows, health: TagHealth, still: NDArray[np.int64], grid_s: float
) -> dict[int, str]:
    absent = find_gaps(grid.spoken)[-1]
    stuck = still > health.still_rows_max
    latest = len(grid.bad) - 1 - np.minimum(absent, len(grid.bad) - 1)
    codes = np.take_along_axis(grid.bad, latest[None], axis=0)[0]
    faults: dict[int, str] = {}
    for column in np.flatnonzero(stuck | (codes != 0)).tolist():
        if codes[column]:
            faults[column] = f"the machine marks it bad: {quality.describe(int(codes[column]))}"
        else:
            usual = max(int(health.still_rows[column]), 1)
            # A standstill that fills all rows at hand began before them.
            since = "more than " if still[column] >= len(grid.values) - 1 else ""
            faults[column] = (
                f"unchanged for {since}{say_duration(int(still[column]) * grid_s)} "
                f"(it never stood still longer than {say_duration(usual * grid_s)} while learning)"
            )
    return faults


def _say_standstill(faults: dict[int, str]) -> str:
    reasons = list(faults.values())
    kinds = Counter(reason.split(" for ", maxsplit=1)[0] for reason in reasons)
    return f"{len(reasons)} tags at once: {kinds.most_common(1)[0][0]}"


def name_faults(faults: dict[int, str], tags: Sequence[str]) -> dict[str, str]:
    """Return the faults by the tags' names."""
    return {tags[column]: reason for column, reason in faults.items()}
