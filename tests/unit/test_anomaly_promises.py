"""The promise of false alarms, end to end: machines that stay as they were, learned from and watched."""

import numpy as np
import pytest

from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import MONTH_S, keep_promise
from models.anomaly.calibration.spans import find_spans
from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.features import Matrix, plan_windows

GRID_S = 600.0
MONTH_ROWS = int(MONTH_S / GRID_S)
MONTHS = 10
TAGS = 4
PAST_ROWS = 60


def simulate_machine(rows: int, seed: int) -> Matrix:
    """Return a stationary machine (rows, tags): mixed first-order noises of a memory of its own."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(TAGS, TAGS)) * 0.6 + np.eye(TAGS)
    memory = rng.uniform(0.3, 0.9)
    noise = rng.normal(size=(rows + PAST_ROWS, TAGS))
    steps = np.zeros((rows, TAGS))
    for lag in range(PAST_ROWS):
        steps += memory**lag * noise[PAST_ROWS - lag : len(noise) - lag]
    return 20.0 + steps @ mixing


def count_false(seed: int) -> tuple[float, int]:
    """Return how many false alarms were promised and realised in ten months after a month of learning."""
    windows = plan_windows(5)
    rows = simulate_machine(MONTH_ROWS * (1 + MONTHS), seed)
    detector = FuseDetector(windows=windows).fit(rows[:MONTH_ROWS])
    promise = keep_promise(detector.held_out_, windows.longest, GRID_S)
    score = detector.judge(rows[MONTH_ROWS:]).score
    episodes = len(find_spans(find_alerting(score, promise.limit, promise.persistence)))
    return promise.promised * MONTHS, episodes


def compare(machines: int) -> float:
    """Return realised over promised false alarms, and print both."""
    promised, realised = np.sum([count_false(seed) for seed in range(machines)], axis=0)
    print(f"{machines * MONTHS} machine-months: promised {promised:.0f}, realised {realised:.0f}")
    return float(realised / promised)


def test_a_few_machines_keep_the_promise_roughly() -> None:
    """60 machine-months, within a factor of 2: so few machines leave that much to chance."""
    assert 0.5 < compare(6) < 2.0


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_thousand_machine_months_keep_the_promise() -> None:
    """A hundred machines for ten months each: what is realised is within a factor of 1.5."""
    assert 1 / 1.5 < compare(100) < 1.5
