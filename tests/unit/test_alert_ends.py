"""Alerts end: what a model says is usual of a machine of many tags is what its alert clears at."""

import numpy as np

from cloud.alerts.settings import AlertSettings
from cloud.alerts.states import Progress, advance
from cloud.watch.sayings import describe_verdict
from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import keep_promise
from models.anomaly.grid import NS_PER_S, put_on_grid
from models.anomaly.judging import judge_rows
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

TAGS = [f"tag_{place}" for place in range(20)]
ROWS, FAULT = 2_400, slice(600, 700)


def simulate(rows: int, seed: int) -> np.ndarray:
    """Return a machine of 20 tags that follow three loads and stays as it is."""
    mixing = np.random.default_rng(1).normal(size=(3, 20))
    rng = np.random.default_rng(seed)
    return 50.0 + rng.normal(size=(rows, 3)) @ mixing + rng.normal(size=(rows, 20))


def test_an_alert_of_twenty_tags_clears_once_the_fault_is_gone() -> None:
    """Healthy, its score rests above 0.65 of the limit: the alert clears all the same, and only then."""
    times = np.arange(ROWS) * NS_PER_S + 1_795_400_000 * NS_PER_S
    past = simulate(ROWS, 2)
    bundle = train_bundle(
        *("s/a/l/press", times, dict(zip(TAGS, past.T, strict=True)), {}), grid_s=1.0, trained_ns=0
    )
    fresh = simulate(ROWS, 3)
    fresh[FAULT, 4] += 12.0
    grid = put_on_grid(times, dict(zip(TAGS, fresh.T, strict=True)), {}, bundle.card.columns, NS_PER_S)
    verdict = judge_rows(bundle, grid, ROWS)
    healthy = verdict.judgement.score[1_000:]
    assert np.median(healthy) > 0.65 * verdict.limit
    assert 0.8 < np.mean(healthy < verdict.calm) < 0.97
    progress, told = Progress(), []
    for row, seen in enumerate(describe_verdict(MachinePath("s", "a", "l", "press"), verdict, "")):
        progress, change = advance(progress, seen, AlertSettings())
        told += [(change.step, row)] if change is not None else []
    (first, raised), (second, cleared) = told[:2]
    assert (first, second) == ("raised", "cleared")
    assert FAULT.start < raised < FAULT.start + 20
    assert FAULT.stop < cleared < FAULT.stop + 300


def test_the_rule_that_counts_promises_ends_at_what_is_usual_too() -> None:
    """A rest of 0.85 of the limit is no alert that stays on; of few tags the rule is as it was."""
    rng = np.random.default_rng(4)
    many, few = rng.normal(0.85, 0.04, 3_000), rng.exponential(0.15, 3_000)
    promise = keep_promise(many, 60, 1.0)
    scores = np.concatenate([many[:500], np.full(50, 3.0), many[500:]])
    alerting = find_alerting(scores, promise.limit, promise.persistence)
    assert alerting[510:550].all()
    assert not alerting[600:].any()
    assert keep_promise(few, 60, 1.0).persistence.off_share == 0.65
