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
from tests.bench.watched_machines import LEARNED, TAGS, make_rows, train

pytestmark = pytest.mark.bench


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
        f"\nfuse learns from 100,000 x {TAGS} in {ours_s:.1f} s of CPU (floor 5), held-out scores included; "
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
    for detector in ("conditional", "fuse"):
        folder = save_bundle(tmp_path / detector, train(detector=detector))
        took_ms = []
        for _ in range(10):
            began_s = time.process_time()
            for _ in range(10):
                load_current(tmp_path / detector, LEARNED)
            took_ms.append((time.process_time() - began_s) / 10 * 1e3)
        size_kb = sum(file.stat().st_size for file in folder.iterdir()) / 1e3
        print(
            f"\na bundle of {detector}: {size_kb:.0f} kB, loaded and checked in {min(took_ms):.1f} ms "
            "(floor 5)"
        )
