"""Holes: what gateways know they did not acquire. Nothing is held across them or judged on them. Pure."""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from models.anomaly.features import Mask, Windows
from models.anomaly.grid import GridRows, find_gaps
from models.anomaly.judging import Verdict
from models.anomaly.provenance import NOT_ACQUIRED
from models.telemetry import Frame, Gap
from models.words import say_instant

HOLE = NOT_ACQUIRED
HOLE_SHARE_MAX = 0.4
"""A row with more of its tags in holes is blind, a window with more of its rows blind cannot be judged."""


def is_filled(gap: Gap) -> bool:
    """Return whether the machine's own history gave back what is known to be missing."""
    return gap.filled > 0 and (gap.values is None or gap.filled >= gap.values)


def make_hole_frames(gaps: Iterable[Gap], tags: Sequence[str], grid_ns: int) -> list[Frame]:
    """Return one bad reading of each tag at the first row of every gap: what ends the holding of its value.

    A gap that lies within one row of the grid leaves no row empty and makes no hole.
    """
    frames = []
    for gap in gaps:
        begin = (gap.first // grid_ns + 1) * grid_ns
        names = [tag for tag in tags if not gap.tags or tag in gap.tags]
        if begin < gap.last and names and not is_filled(gap):
            frames.append(Frame([begin], {tag: [None] for tag in names}, {tag: {0: HOLE} for tag in names}))
    return frames


def find_holes(grid: GridRows) -> Mask:
    """Return where (rows, tags) the last that was said of a tag is that it was not acquired."""
    ago = find_gaps(grid.spoken)
    source = np.maximum(np.arange(len(grid.values))[:, None] - ago, 0)
    holes: Mask = (np.take_along_axis(grid.bad, source, axis=0) == HOLE) & (ago < len(grid.values))
    return holes


def find_blind(holes: Mask, windows: Windows) -> Mask:
    """Return the rows (rows,) for which some window lies in holes by more than `HOLE_SHARE_MAX`."""
    blind = holes.mean(axis=1) > HOLE_SHARE_MAX
    totals = np.concatenate(([0], np.cumsum(blind)))
    rows = np.arange(len(blind))
    found = np.zeros(len(blind), dtype=bool)
    for length in windows.means:
        inside = totals[rows + 1] - totals[np.maximum(rows + 1 - length, 0)]
        found |= inside > HOLE_SHARE_MAX * length
    return found


def respect_holes(verdict: Verdict, grid: GridRows, windows: Windows, gaps: Sequence[Gap]) -> Verdict:
    """Return the verdict without scores of rows that look at holes, and without blame on tags in one."""
    holes = find_holes(grid.take_columns(len(verdict.tags)))
    if not holes.any():
        return verdict
    blind = find_blind(holes, windows)[-len(verdict.timestamps) :]
    score = np.where(blind, np.nan, verdict.judgement.score)
    missed = {tag for tag, in_hole in zip(verdict.tags, holes[-1], strict=True) if in_hole}
    return msgspec.structs.replace(
        verdict,
        judgement=msgspec.structs.replace(verdict.judgement, score=score),
        faulty_tags={tag: why for tag, why in verdict.faulty_tags.items() if tag not in missed},
        reason=say_hole(gaps, int(verdict.timestamps[-1])) if blind[-1] else verdict.reason,
    )


def say_hole(gaps: Sequence[Gap], at_ns: int) -> str:
    """Say which gap lies before `at_ns`, the latest of them."""
    before = [gap for gap in gaps if gap.first < at_ns]
    if not before:
        return "not everything was acquired in the windows looked at"
    gap = max(before, key=lambda one: one.last)
    tags = f" of {', '.join(gap.tags)}" if gap.tags else ""
    words = gap.reason.replace("_", " ")
    return f"{words}: nothing{tags} acquired from {say_instant(gap.first)} to {say_instant(gap.last)}"
