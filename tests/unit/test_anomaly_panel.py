"""Single rows of `fuse`: fast for one machine and for many, with the same bits, and nothing estimated."""

import math
from functools import cache

import numpy as np
import pytest

from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.memory import Memory
from models.anomaly.detectors.panel import Panel
from models.anomaly.detectors.windowed import WindowedDetector
from models.anomaly.features import Matrix, Windows, plan_windows

MACHINES = 37
WINDOWS = plan_windows(3)


def make_rows(rows: int = 500, tags: int = 4, seed: int = 0) -> Matrix:
    """Return a machine whose tags follow a slow load, with noise."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 40), np.ones(40) / 6.0, mode="valid")[:rows]
    return 20.0 + np.outer(load, np.arange(1, tags + 1)) + 0.3 * rng.normal(size=(rows, tags))


@cache
def learn(seed: int, tags: int = 4) -> FuseDetector:
    """Return a detector of a machine of its own."""
    return FuseDetector(windows=WINDOWS).fit(make_rows(tags=tags, seed=seed))


def make_windows(strange: tuple[int, ...] = ()) -> list[Matrix]:
    """Return a window of fresh rows for each machine, those of some strange."""
    windows = []
    for seed in range(MACHINES):
        rows = make_rows(rows=90, seed=100 + seed)
        if seed in strange:
            rows[60:, 1] += 6.0
        windows.append(rows[50 : 50 + WINDOWS.longest])
    return windows


@pytest.mark.parametrize("size", [1, 2, 3, 8, 31, MACHINES])
def test_a_row_has_the_same_bits_whoever_else_is_on_the_panel(size: int) -> None:
    """Score, expectations and causes, of strange machines too; some machines have nothing to judge."""
    windows = make_windows(strange=(3, 8, 30))
    for begin in range(0, MACHINES, size):
        places = range(begin, min(begin + size, MACHINES))
        panel = Panel([learn(seed).gauge for seed in places])
        absent = [place % 5 == 4 for place in places]
        for _ in range(2):  # what was there before changes nothing
            given = [None if away else windows[place] for place, away in zip(places, absent, strict=True)]
            for place, away, judged in zip(places, absent, panel.judge(given), strict=True):
                alone = learn(place).judge(windows[place], last=1)
                assert (judged is None) is away
                for field in alone.__struct_fields__ if judged else ():
                    assert getattr(judged, field).tobytes() == getattr(alone, field).tobytes()
            absent = [False] * len(absent)


@pytest.mark.parametrize("tags", [1, 2, 4, 11])
def test_the_fast_way_finds_what_the_thorough_way_finds(tags: int) -> None:
    """A row at a time and all rows at once: the same to 1e-9, also where blame has to be spread."""
    detector, fresh = learn(0, tags), make_rows(rows=200, tags=tags, seed=1)
    fresh[100:, 0] += 5.0
    if tags > 4:
        # Several at once, near-equals among them, so that what lately changed decides.
        fresh[120:, 3] -= 9.0
        fresh[130:150, 4] += 4.0
        fresh[150:, 7] += 7.0
        fresh[170:, [1, 9]] *= 1.4
    whole = WindowedDetector.judge(detector, fresh)
    for row in range(WINDOWS.longest - 1, len(fresh)):
        single = detector.judge(fresh[: row + 1], last=1)
        for field in whole.__struct_fields__:
            expected = getattr(whole, field)[row : row + 1]
            np.testing.assert_allclose(getattr(single, field), expected, rtol=1e-9, atol=1e-9)
    assert np.nanmax(np.abs(whole.sigma)) > 4.0


def test_windows_without_spreads_are_judged() -> None:
    """Means alone are a shape of their own."""
    detector = FuseDetector(windows=Windows(means=[2, 5], spreads=[])).fit(make_rows())
    fresh = make_rows(seed=1)
    expected = WindowedDetector.judge(detector, fresh).score[-1]
    assert detector.score_row(fresh[-5:]) == pytest.approx(expected, rel=1e-9)


def test_a_score_is_the_same_with_and_without_causes_and_wherever_the_rows_lie() -> None:
    """Neither their place in memory nor what was judged before changes a bit."""
    detector, fresh = learn(0), make_rows(seed=1)
    padded = np.zeros((len(fresh), 9))
    padded[:, 3:7] = fresh
    for row in (80, 81, 140, 300):
        window = fresh[row + 1 - WINDOWS.longest : row + 1]
        score = detector.score_row(window)
        assert score == detector.score_row(padded[row + 1 - WINDOWS.longest : row + 1, 3:7])
        assert score == detector.judge(fresh[: row + 1], last=1).score[0]


def test_a_missing_or_monstrous_value_is_left_to_the_thorough_way() -> None:
    """The fast way says nothing; `judge` leaves the tag out, as it does of many rows."""
    detector, fresh = learn(0), make_rows(seed=1)
    fresh[200:, 2] = np.nan
    assert math.isnan(detector.score_row(fresh[180 : 180 + WINDOWS.longest]))
    assert detector.judge(fresh[:300], last=1).coverage[0] == 0.75
    with np.errstate(over="ignore", invalid="ignore"):
        fresh[400, 1] = 1e200
        assert math.isnan(detector.score_row(fresh[401 - WINDOWS.longest : 401]))


def find_nearest(memory: Matrix, row: np.ndarray) -> float:
    """Return the mean distance to the five nearest rows, all of them measured."""
    apart = memory - row
    total = 0.0
    for square in np.sort(np.vecdot(apart, apart))[:5].tolist():
        total += math.sqrt(square)
    return total / (5 * math.sqrt(len(row)))


@pytest.mark.parametrize("kind", ["spread out", "in a clump", "doubled", "on a grid", "few"])
def test_the_nearest_rows_are_those_of_a_search_through_all(kind: str) -> None:
    """To the last bit, where a float32 cannot tell who is nearer, too; near to and far from what is known."""
    rng = np.random.default_rng(0)
    memory = rng.normal(size=(300, 24))
    if kind == "in a clump":
        memory = 40.0 + 1e-5 * memory
    if kind == "doubled":
        memory[20:] = memory[:20].repeat(14, axis=0)
    if kind == "on a grid":
        memory = np.rint(memory)
    if kind == "few":
        memory = memory[:6]
    singles = memory.astype(np.float32)
    known = Memory(singles)
    memory = singles.astype(np.float64)
    for trial in range(300):
        row = memory[trial % len(memory)] + rng.normal(size=24) * 10.0 ** rng.integers(-7, 6)
        assert known.measure(row, row.astype(np.float32)) == find_nearest(memory, row)
