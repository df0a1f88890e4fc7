"""Models: learning, loading and scoring with `fuse` against scikit-learn's own calls, on one core."""

import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from models.anomaly.bundle import load_current, save_bundle
from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.features import Matrix
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

pytestmark = pytest.mark.bench

TAGS = 10
START_NS = 1_795_337_912_000_000_000


def make_rows(rows: int, seed: int = 0) -> Matrix:
    """Return a machine's rows: tags that follow a load, with noise."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 60), np.ones(60) / 8.0, mode="valid")[:rows]
    return 20.0 + np.outer(load, np.arange(1, TAGS + 1)) + 0.3 * rng.normal(size=(rows, TAGS))


def test_learning_from_a_long_baseline() -> None:
    """100,000 rows of 10 tags: nine fits and the held-out scores of every row, against one forest."""
    values = make_rows(100_000)
    with threadpool_limits(1):
        began_s = time.process_time()
        FuseDetector().fit(values)
        ours_s = time.process_time() - began_s
        began_s = time.process_time()
        IsolationForest(random_state=0).fit(values).score_samples(values)
        forest_s = time.process_time() - began_s
    print(
        f"\nfuse learns from 100,000 x {TAGS} in {ours_s:.1f} s of CPU with held-out scores of all rows; "
        f"IsolationForest without them, on raw rows: {forest_s:.1f} s (ratio {forest_s / ours_s:.2f})"
    )


def test_scoring_rows_in_thousands() -> None:
    """A batch of 20,000 rows with windows and causes, against neighbours alone."""
    values = make_rows(20_000)
    with threadpool_limits(1):
        detector = FuseDetector().fit(values[:5_000])
        began_s = time.process_time()
        detector.judge(values)
        ours_s = time.process_time() - began_s
        memory = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(np.tile(values[:1_000], 6))
        began_s = time.process_time()
        memory.kneighbors(np.tile(values, 6))
        neighbours_s = time.process_time() - began_s
    print(
        f"\nfuse judges {len(values) / ours_s:,.0f} rows/s of {TAGS} tags x 6 features, causes included; "
        f"scikit-learn's brute-force neighbours alone: {len(values) / neighbours_s:,.0f} rows/s "
        f"(ratio {neighbours_s / ours_s:.2f})"
    )


def test_loading_a_bundle(tmp_path: Path) -> None:
    """Arrays, card and checksums of a machine of 10 tags."""
    values = make_rows(3_600)
    stamps = START_NS + np.arange(len(values), dtype=np.int64) * 1_000_000_000
    columns = {f"tag-{column}": values[:, column] for column in range(TAGS)}
    machine = MachinePath("a", "b", "c", "d")
    for detector in ("conditional", "fuse"):
        bundle = train_bundle(
            str(machine), stamps, columns, {}, grid_s=1.0, trained_ns=START_NS, detector=detector
        )
        folder = save_bundle(tmp_path / detector, bundle)
        began_s = time.process_time()
        for _ in range(50):
            load_current(tmp_path / detector, machine)
        took_ms = (time.process_time() - began_s) / 50 * 1e3
        size_kb = sum(file.stat().st_size for file in folder.iterdir()) / 1e3
        print(f"\na bundle of {detector}: {size_kb:.0f} kB, loaded and checked in {took_ms:.1f} ms")
