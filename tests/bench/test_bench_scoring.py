"""Scoring: a row when it comes, a thousand machines a tick, and what that takes of memory."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from cloud.watch.rounds import judge_due
from models.anomaly.bundle import Bundle, save_bundle
from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.panel import Panel
from models.anomaly.detectors.windowed import WindowedDetector
from models.anomaly.features import Matrix
from models.anomaly.together import Seating
from tests.bench.watched_machines import ROWS, TAGS, copy_bundle, make_frames, make_rows, train, watch

pytestmark = pytest.mark.bench

MACHINES = 1_000
TICKS = 8
STRUCK = np.where(np.arange(TAGS) == 3, 6.0, 0.0)
"""What is added to the values of a strange machine."""
ROUNDS = 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """All ways on one thread, as the service and training set it."""
    with threadpool_limits(1):
        yield


@cache
def learn() -> Bundle:
    """Return what an hour of a machine of 10 tags taught."""
    return train()


def measure_us(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the least CPU microseconds of one call over some rounds of `repeats`."""
    rounds = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - began_s) / repeats)
    return min(rounds) * 1e6


def make_bare_calls(detector: FuseDetector, window: Matrix) -> Callable[[], object]:
    """Return the products and the search of one row alone, without all that makes them mean something."""
    rng, state = np.random.default_rng(0), detector.state_
    weights, whiten = rng.normal(size=(6, len(window))), rng.normal(size=(4 * TAGS, 4 * TAGS))
    residual, row = rng.normal(size=(6 * TAGS, 6 * TAGS)), rng.normal(size=6 * TAGS)
    powers, single = np.stack([window, window * window]), row.astype(np.float32)
    memory: Matrix = state["memory"]

    def call() -> None:
        np.matmul(weights, powers)
        whiten.dot(row[: 4 * TAGS])
        residual.dot(row)
        memory.dot(single).argpartition(7)

    return call


def test_one_machine_row_by_row() -> None:
    """`fuse` on 10 tags x 4 windows, a row at a time, with and without causes; the floor is 40,000 rows/s."""
    detector = learn().detector
    assert isinstance(detector, FuseDetector)
    fresh, reach = make_rows(ROWS, seed=1), detector.reach_rows
    windows = [fresh[row - reach : row] for row in range(reach, ROWS)]
    ours = measure_us(lambda: [detector.score_row(window) for window in windows]) / len(windows)
    causes = measure_us(lambda: [detector.judge(window, 1) for window in windows]) / len(windows)
    thorough = measure_us(lambda: WindowedDetector.judge(detector, windows[0], 1), 200)
    bare = measure_us(make_bare_calls(detector, windows[0]), 2_000)
    features = np.tile(fresh, (1, 6))
    covariance, memory = LedoitWolf().fit(features), NearestNeighbors(n_neighbors=5).fit(features[:1_000])
    obvious = measure_us(
        lambda: (covariance.mahalanobis(features[-1:]), memory.kneighbors(features[-1:])), 50
    )
    forest = IsolationForest(random_state=0).fit(features)
    trees = measure_us(lambda: forest.score_samples(features[-1:]), 10)
    print(
        f"\none row of {TAGS} tags with its windows: {ours:.1f} us ({1e6 / ours:,.0f} rows/s; floor 40,000), "
        f"with causes {causes:.1f} us ({1e6 / causes:,.0f} rows/s); its products and its search alone take "
        f"{bare:.1f} us (ratio {ours / bare:.1f}); the way of many rows {thorough:.0f} us "
        f"(ratio {thorough / causes:.1f}); scikit-learn's LedoitWolf and NearestNeighbors without windows or "
        f"causes {obvious:.0f} us (ratio {obvious / ours:.1f}), IsolationForest {trees:.0f} us "
        f"(ratio {trees / ours:.1f})"
    )


def test_a_thousand_machines_a_tick() -> None:
    """Each with a model of its own: T2 and residuals (a, b), then distances as well (c), then causes."""
    bundles = [copy_bundle(learn()) for _ in range(MACHINES)]
    detectors = [one.detector for one in bundles if isinstance(one.detector, FuseDetector)]
    reach = detectors[0].reach_rows
    fresh = make_rows(MACHINES + reach, seed=1)
    windows = [fresh[row : row + reach].copy() for row in range(MACHINES)]
    parts = [slice(begin, begin + 32) for begin in range(0, MACHINES, 32)]
    panels = [(Panel([one.gauge for one in detectors[part]]), windows[part]) for part in parts]
    asked = list(zip(detectors, windows, strict=True))
    seating = Seating(detectors)
    rated = measure_us(lambda: [panel.rate(given) for panel, given in panels])
    scored = measure_us(lambda: [panel.score(given) for panel, given in panels])
    judged = measure_us(lambda: seating.judge(asked))
    struck = [(detector, window + STRUCK) for detector, window in asked]
    blamed = measure_us(lambda: seating.judge(struck))
    alone = measure_us(lambda: [one.judge(window, 1) for one, window in asked[:100]]) * MACHINES / 100
    print(
        f"\n{MACHINES} machines of {TAGS} tags a tick: (a) + (b) {rated / 1e3:.1f} ms (floor 10), with (c) "
        f"{scored / 1e3:.1f} ms (floor 100), with causes {judged / 1e3:.1f} ms; each by itself "
        f"{alone / 1e3:.1f} ms (ratio {alone / judged:.2f}); all of them struck at once {blamed / 1e3:.0f} ms"
    )


def test_a_tick_of_the_watcher() -> None:
    """A second of a plant: frames into rings, health, scores, causes, observations, blocks for the store."""
    machines = watch([copy_bundle(learn()) for _ in range(MACHINES // 5)])
    seating = Seating([one.bundle.detector for one in machines if one.bundle is not None])
    frames = make_frames(make_rows(ROWS + TICKS)[ROWS:], ROWS)
    took_s, observed = [], 0
    for frame in frames:
        began_s = time.process_time()
        for machine in machines:
            machine.put([frame])
        observed += sum(len(seen) for _, seen, _ in judge_due(machines, seating))
        took_s.append(time.process_time() - began_s)
    assert observed == (TICKS - 1) * len(machines)
    ours = min(took_s[2:]) / len(machines) * 1e6
    forest = IsolationForest(random_state=0).fit(make_rows(ROWS))
    trees = measure_us(lambda: forest.score_samples(make_rows(1)), 10)
    print(
        f"\n{len(machines)} machines a tick of the watcher: {ours:.0f} us a machine's row from its frame to "
        f"blocks ({1e6 / ours:,.0f} rows/s); IsolationForest.score_samples alone, a machine: {trees:.0f} us "
        f"(ratio {trees / ours:.1f})"
    )


def test_memory_of_watched_machines(tmp_path: Path) -> None:
    """Programs that watch 1 and 200 machines: the slope is what a machine takes; the floor is 1 MB."""
    save_bundle(tmp_path, learn())
    kilobytes = []
    for machines in (1, 201):
        command = [sys.executable, "-m", "tests.bench.watched_machines", str(tmp_path), str(machines)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # our own program
        kilobytes.append(int(done.stdout))
    each = (kilobytes[1] - kilobytes[0]) / 200 / 1e3
    print(
        f"\na watched machine of {TAGS} tags takes {each:.2f} MB (floor 1): model, ring of rows, place on a "
        f"panel; the program itself {kilobytes[0] / 1e3:.0f} MB"
    )


def test_training_of_three_machines() -> None:
    """What an operator waits for: 3 machines x 3,600 rows x 10 tags, nine fits each."""
    began_s = time.process_time()
    for seed in range(3):
        train(seed=seed)
    print(f"\ntraining 3 machines x {ROWS} rows x {TAGS} tags: {time.process_time() - began_s:.2f} s of CPU")
