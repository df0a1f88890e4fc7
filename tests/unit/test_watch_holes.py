"""Holes: where a gap lies on the grid, which windows it blinds, and what it does not touch."""

import numpy as np
import pytest

from cloud.watch.holes import HOLE, find_blind, find_holes, make_hole_frames
from cloud.watch.rings import GridRing
from models.anomaly.features import Windows
from models.telemetry import Frame, Gap

TAGS = ["a", "b"]
STEP_NS = 1_000


def make_ring(rows: list[int], *gaps: Gap) -> GridRing:
    """Return a ring in which both tags spoke in the middle of the rows named."""
    ring = GridRing(TAGS, STEP_NS, 50)
    ring.begin(0)
    for row in rows:
        ring.put(Frame([row * STEP_NS + 500], {"a": [1.0], "b": [2.0]}))
    for frame in make_hole_frames(gaps, TAGS, STEP_NS):
        ring.put(frame)
    return ring


def test_a_hole_ends_with_the_first_value_after_it() -> None:
    """Rows between the last value before and the first after are a hole; those two rows keep their values."""
    ring = make_ring([0, 1, 2, 6, 7], Gap(2_500, 6_500, "connection_lost"))
    grid = ring.read(7, 8)
    assert np.flatnonzero(find_holes(grid)[:, 0]).tolist() == [3, 4, 5]
    assert np.isfinite(grid.values[[2, 6], 0]).all()


def test_a_gap_of_one_tag_is_no_hole_of_another() -> None:
    """Only the tags that a gap names are in it."""
    ring = make_ring([0, 1], Gap(1_500, 9_500, "notifications_lost", ["b"]))
    assert find_holes(ring.read(5, 6)).tolist() == [[False, False]] * 2 + [[False, True]] * 4


@pytest.mark.parametrize(
    ("gap", "frames"),
    [
        (Gap(2_100, 2_900, "cycles_missed"), 0),
        (Gap(2_500, 6_500, "connection_lost", values=8, filled=8), 0),
        (Gap(2_500, 6_500, "connection_lost", values=8, filled=7), 1),
        (Gap(2_500, 6_500, "connection_lost", filled=7), 0),
        (Gap(2_500, 6_500, "connection_lost", ["z"]), 0),
    ],
)
def test_what_leaves_no_row_empty_is_no_hole(gap: Gap, frames: int) -> None:
    """A gap inside a row, one that history filled, and one of tags that nobody watches."""
    made = make_hole_frames([gap], TAGS, STEP_NS)
    assert len(made) == frames
    assert all(frame.quality == {"a": {0: HOLE}, "b": {0: HOLE}} for frame in made)


def test_a_window_is_blind_while_more_than_two_fifths_of_it_lie_in_holes() -> None:
    """Three of five rows are too many, two are not; the longer window decides later and longer."""
    holes = np.zeros((30, 2), dtype=bool)
    holes[10:13] = True
    assert np.flatnonzero(find_blind(holes, Windows([5], []))).tolist() == [12, 13, 14]
    holes[10:20] = True
    assert np.flatnonzero(find_blind(holes, Windows([20], []))).tolist() == list(range(18, 30))
    holes[:, 1] = False
    holes[:, 0] = True
    assert find_blind(holes, Windows([5], []))[2:].all()
    assert not find_blind(holes[:, [0, 1, 1]], Windows([5], [])).any()
