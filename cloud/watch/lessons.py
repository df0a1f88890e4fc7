"""What there is to learn from: good hours, why others are left out, a grade for each tag. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from cloud.stores import Table
from cloud.watch.holes import HOLE, find_holes, make_hole_frames
from models.anomaly.features import Mask
from models.anomaly.grid import NS_PER_S, GridRows, hold_last, put_on_grid, step_ns
from models.anomaly.provenance import TagGrade, grade_tag, is_constant
from models.telemetry import Gap
from models.words import say_duration

COVERAGE_MIN = 0.6
"""A row in which fewer of the tags have a value teaches nothing: it could not be judged either."""
REASONS_NAMED_MAX = 3


class Lesson(msgspec.Struct, frozen=True):
    """How far learning has come: seconds of good rows, and of those left out by reason."""

    machine: str
    good_s: float
    wanted_s: float
    left_out: dict[str, float] = {}
    grades: dict[str, TagGrade] = {}
    trouble: str = ""
    """Why training failed, although there was enough to learn from."""

    @property
    def is_enough(self) -> bool:
        """Whether the machine can be trained."""
        return self.good_s >= self.wanted_s

    def describe(self) -> str:
        """Say it in one line: `3 h 10 min of 24 h good values; left out: 40 min not acquired`."""
        words = f"{say_duration(self.good_s)} of {say_duration(self.wanted_s)} good values"
        strongest = sorted(self.left_out.items(), key=lambda item: -item[1])[:REASONS_NAMED_MAX]
        if strongest:
            words += "; left out: " + ", ".join(f"{say_duration(s)} {reason}" for reason, s in strongest)
        return f"{words}; {self.trouble}" if self.trouble else words


def mark_holes(table: Table, gaps: Sequence[Gap], grid_ns: int) -> Table:
    """Return the table with a bad reading where each gap begins, so that no value is held across it."""
    frames = make_hole_frames(gaps, list(table.values), grid_ns)
    if not frames or not len(table.timestamps):
        return table
    begins = {frame.timestamps[0] for frame in frames}
    inside = {at for at in begins if table.timestamps[0] < at < table.timestamps[-1]}
    stamps = np.union1d(table.timestamps, np.array(sorted(inside), dtype=np.int64))
    places = np.searchsorted(stamps, table.timestamps)
    values, codes = {}, {}
    for tag, column in table.values.items():
        values[tag] = np.full(len(stamps), np.nan)
        values[tag][places] = column
        codes[tag] = np.zeros(len(stamps), dtype=np.uint32)
        if tag in table.quality:
            codes[tag][places] = table.quality[tag]
    for frame in frames:
        if frame.timestamps[0] in inside:
            place = int(np.searchsorted(stamps, frame.timestamps[0]))
            for tag in frame.values:
                if np.isnan(values[tag][place]):
                    codes[tag][place] = HOLE
    return Table(stamps, values, codes)


def assess(machine: str, table: Table, grid_s: float, wanted_s: float) -> Lesson:
    """Return what the values of a machine are good for; `table` with its holes marked."""
    if not len(table.timestamps):
        return Lesson(machine, 0.0, wanted_s)
    tags = sorted(table.values)
    grid = put_on_grid(table.timestamps, table.values, table.quality, tags, step_ns(grid_s))
    held = hold_last(grid)
    present = np.isfinite(held)
    useful = np.flatnonzero([not is_constant(held[:, column]) for column in range(len(tags))])
    good = present[:, useful].mean(axis=1) >= COVERAGE_MIN if len(useful) else np.zeros(len(held), bool)
    return Lesson(
        machine,
        float(good.sum()) * grid_s,
        wanted_s,
        {reason: rows * grid_s for reason, rows in _count_reasons(grid, good).items()},
        {tag: grade_tag(held[:, column], grid.bad[:, column]) for column, tag in enumerate(tags)},
    )


def _count_reasons(grid: GridRows, good: Mask) -> Mapping[str, int]:
    """Return how many rows are left out, by what most of their tags lack."""
    holes = find_holes(grid).mean(axis=1) > 1.0 - COVERAGE_MIN
    somebody = grid.spoken.any(axis=1)
    rows = {
        "not acquired (recorded gaps)": ~good & holes,
        "without any value": ~good & ~holes & ~somebody,
        "with too few good values": ~good & ~holes & somebody,
    }
    return {reason: int(marks.sum()) for reason, marks in rows.items() if marks.any()}


def span_ns(seconds: float) -> int:
    """Return nanoseconds."""
    return round(seconds * NS_PER_S)
