"""Rows followed one by one are what a look at all of them gives, to the last bit, or are not called calm."""

from functools import cache

import numpy as np
import pytest

from cloud.watch.due_rows import DueRows
from cloud.watch.holes import HOLE, find_holes
from cloud.watch.rings import GridRing
from models.anomaly.bundle import Bundle
from models.anomaly.features import Matrix
from models.anomaly.judging import count_reach, prepare_rows
from models.anomaly.material import Wishes
from models.anomaly.training import train_bundle
from models.telemetry import Frame, quality

SECOND = 1_000_000_000
PAST_ROWS = 900
TAGS = ["flow", "level", "power", "pressure"]


def make_values(rows: int, seed: int, alike: int = 1) -> Matrix:
    """Return a machine whose flow swings slowly, whose level is read in coarse steps.

    It measures anew every `alike` rows.
    """
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 40), np.ones(40) / 6.0, mode="valid")[:rows]
    values = 20.0 + np.outer(load, [0.1, 2.0, 3.0, 4.0]) + 0.3 * rng.normal(size=(rows, 4))
    values[:, 0] += 30.0 * np.sin(np.arange(rows) / 60.0)
    values[:, 1] = np.rint(values[:, 1])
    return values[np.arange(rows) // alike * alike]


@cache
def learn(alike: int = 1) -> Bundle:
    """Return what the first rows taught."""
    values = make_values(PAST_ROWS, 0, alike)
    stamps = np.arange(PAST_ROWS, dtype=np.int64) * SECOND
    columns = dict(zip(TAGS, values.T, strict=True))
    wishes = Wishes(ranges={"power": (-100.0, float(values[:, 2].max()) + 1.0)})
    return train_bundle("a/b/c/d", stamps, columns, {}, grid_s=1.0, trained_ns=0, base_rows=2, wishes=wishes)


def make_frames(rows: int, seed: int, alike: int) -> list[Frame]:
    """Return rows with every trouble there is, each for a while, and long calm stretches between them."""
    rng = np.random.default_rng(seed)
    values = make_values(rows, seed, alike)
    codes = np.zeros(values.shape, dtype=int)
    silent = np.zeros(rows, dtype=bool)
    for number, begin in enumerate(range(120, rows, 110 if alike == 1 else 190)):
        tag, length = int(rng.integers(4)), int(rng.integers(1, 30))
        span = slice(begin, begin + length)
        match number % 9:
            case 0:
                values[span, tag] = np.nan
            case 1:
                codes[span, tag] = quality.BAD_SENSOR_FAILURE
            case 2:
                values[span, tag] = values[begin, tag]
            case 3:
                after = begin // 9 * 9 + 1  # a new reading, so that nothing seems stuck
                silent[after : after + 3 + seed] = True
            case 4:
                values[begin, 0] = 75.0
            case 5:
                codes[begin, :3] = HOLE
                silent[begin + 1 : begin + length] = True
            case 6:
                values[span, tag] = 32767.0
            case 7:
                values[span, 0] = values[begin, 0]
                values[span.start : span.stop : 3, 1] = np.nan
            case 8:
                values[begin : begin + 60, 2] += np.minimum(np.arange(60), 30)
    frames = []
    for row in np.flatnonzero(~silent).tolist():
        kept = {tag: [float(values[row, n])] for n, tag in enumerate(TAGS) if not np.isnan(values[row, n])}
        bad = {tag: {0: int(codes[row, n])} for n, tag in enumerate(TAGS) if tag in kept and codes[row, n]}
        if kept:
            frames.append(Frame([row * SECOND + 1], kept, bad))
    return frames


@pytest.mark.parametrize("alike", [1, 9])
@pytest.mark.parametrize("seed", range(1, 6))
def test_calm_rows_are_what_a_look_at_all_rows_gives(seed: int, alike: int) -> None:
    """Missing, bad, stuck, silent, jumping, lost and senseless readings, late ones, heartbeats' repeats."""
    bundle = learn(alike)
    frames = make_frames(1_300 if alike == 1 else 2_000, seed, alike)
    ring = GridRing(TAGS, SECOND, 300)
    due = DueRows(bundle, ring)
    reach = count_reach(bundle)
    calm = judged = 0
    late: list[Frame] = []
    for number, usual in enumerate(frames):
        frame = usual
        if number % 173 == 80:
            late.append(frame)
            continue
        if number % 173 == 100:
            frame = Frame(late.pop().timestamps, usual.values)
        if number % 211 == 90:
            frame = Frame(usual.timestamps, usual.values, {}, {"level": [0]})
        ring.put(frame)
        due.note_put(frame.timestamps[0])
        row = frame.timestamps[0] // SECOND
        if row < 250 or number % 173 == 100:
            continue
        ready, grid = due.prepare(row), ring.read(row, reach + 1)
        expected = prepare_rows(bundle, grid)
        judged += 1
        calm += ready.grid is None
        windows = bundle.detector.reach_rows
        assert ready.prepared.values[-windows:].tobytes() == expected.values[-windows:].tobytes()
        assert (ready.prepared.end, ready.prepared.faults) == (expected.end, expected.faults)
        assert ready.prepared.obstacle == expected.obstacle
        assert ready.grid is not None or not find_holes(grid).any()
    assert 0.05 < calm / judged < 0.95


def test_values_that_keep_coming_late_do_not_have_all_rows_followed_anew_each_time() -> None:
    """The first late value does; after more of them rows are looked at one by one for a moment."""
    ring, values = GridRing(TAGS, SECOND, 300), make_values(PAST_ROWS, 0)
    due = DueRows(learn(), ring)
    calm = []
    for row in range(400):
        ring.put(Frame([row * SECOND + 1], {tag: [float(values[row, n])] for n, tag in enumerate(TAGS)}))
        if row in range(301, 311):
            due.note_put((row - 10) * SECOND)
        if row >= 200:
            calm.append(due.prepare(row).grid is None)
    assert [200 + place for place, is_calm in enumerate(calm) if not is_calm] == list(range(302, 321))
