"""Scoring: rows per second of our numpy path against scikit-learn called row by row."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cloud.watch.progress import Progress
from cloud.watch.watched import WatchedMachine
from models.anomaly.detectors.conditional import ConditionalDetector
from models.anomaly.features import Matrix, plan_windows
from models.anomaly.training import train_bundle
from models.telemetry import Frame, MachinePath

pytestmark = pytest.mark.bench

TAGS = 10
ROWS = 3_600
MACHINES = 200
STEP_NS = 1_000_000_000
START_NS = 1_795_337_912_000_000_000


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Both ways on one thread, as the training command sets it."""
    with threadpool_limits(1):
        yield


def make_rows(rows: int, seed: int = 0) -> Matrix:
    """Return a machine's rows: tags that follow a load, with noise."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 60), np.ones(60) / 8.0, mode="valid")[:rows]
    return 20.0 + np.outer(load, np.arange(1, TAGS + 1)) + 0.3 * rng.normal(size=(rows, TAGS))


def measure_s(work: Callable[[], object], repeats: int) -> float:
    """Return the best seconds of one call over three rounds of `repeats`."""
    rounds = []
    for _ in range(3):
        began_s = time.perf_counter()
        for _ in range(repeats):
            work()
        rounds.append((time.perf_counter() - began_s) / repeats)
    return min(rounds)


def test_one_machine_row_by_row() -> None:
    """One row of 10 tags x 6 features, as it falls due: ours, and scikit-learn's estimators on one row."""
    values = make_rows(ROWS)
    detector = ConditionalDetector().fit(values)
    recent = values[-detector.reach_rows :]
    ours_s = measure_s(lambda: detector.judge(recent, last=1), 300)
    batch_s = measure_s(lambda: detector.judge(values), 3) / ROWS
    features = np.tile(values, (1, plan_windows().per_tag))
    envelope = make_pipeline(StandardScaler(), EllipticEnvelope(support_fraction=1.0)).fit(values)
    forest = make_pipeline(StandardScaler(), IsolationForest(random_state=0)).fit(features)
    envelope_s = measure_s(lambda: envelope.score_samples(values[-1:]), 100)
    forest_s = measure_s(lambda: forest.score_samples(features[-1:]), 20)
    print(
        f"\none row of {TAGS} tags: ours {ours_s * 1e6:.0f} us with windows and causes "
        f"({1 / ours_s:,.0f} rows/s; in one call {1 / batch_s:,.0f} rows/s), "
        f"EllipticEnvelope without windows {envelope_s * 1e6:.0f} us (ratio {envelope_s / ours_s:.1f}), "
        f"IsolationForest {forest_s * 1e6:.0f} us (ratio {forest_s / ours_s:.1f})"
    )


def test_many_machines_a_tick() -> None:
    """A second of a plant: frames into rings, health, scores, causes, blocks for the store."""
    stamps = START_NS + np.arange(ROWS, dtype=np.int64) * STEP_NS
    values = make_rows(ROWS)
    columns = {f"tag-{column}": values[:, column] for column in range(TAGS)}
    bundle = train_bundle("a/b/c/d", stamps, columns, {}, grid_s=1.0, trained_ns=START_NS)
    past = Frame(stamps.tolist(), {tag: column.tolist() for tag, column in columns.items()})
    machines = [WatchedMachine(MachinePath("a", "b", "c", f"m-{n}"), 0) for n in range(MACHINES)]
    for machine in machines:
        # The past fills the windows and is not judged, as after a restart.
        machine.resume(Progress(START_NS + ROWS * STEP_NS), START_NS + ROWS * STEP_NS)
        machine.take_charge(bundle)
        machine.put([past])
    fresh = make_rows(60, seed=1)
    began_s = time.perf_counter()
    observed = 0
    for row in range(60):
        stamp = START_NS + (ROWS + row) * STEP_NS
        frame = Frame([stamp], {f"tag-{n}": [float(fresh[row, n])] for n in range(TAGS)})
        for machine in machines:
            machine.put([frame])
            observed += len(machine.observe()[0])
    took_s = time.perf_counter() - began_s
    assert observed == 59 * MACHINES
    forest = IsolationForest(random_state=0).fit(values)
    forest_s = measure_s(lambda: forest.score_samples(values[-1:]), 20)
    print(
        f"\n{MACHINES} machines a tick: {observed / took_s:,.0f} machine rows/s from frame to blocks "
        f"({took_s / observed * 1e6:.0f} us each); IsolationForest.score_samples alone, per machine: "
        f"{forest_s * 1e6:.0f} us (ratio {forest_s * observed / took_s:.1f})"
    )


def test_training_of_three_machines() -> None:
    """What an operator waits for: 3 machines x 3,600 rows x 10 tags, ten held-out fits each."""
    stamps = START_NS + np.arange(ROWS, dtype=np.int64) * STEP_NS
    began_s = time.perf_counter()
    for seed in range(3):
        values = make_rows(ROWS, seed)
        columns = {f"tag-{column}": values[:, column] for column in range(TAGS)}
        train_bundle("a/b/c/d", stamps, columns, {}, grid_s=1.0, trained_ns=START_NS)
    print(f"\ntraining 3 machines x {ROWS} rows x {TAGS} tags: {time.perf_counter() - began_s:.2f} s")
