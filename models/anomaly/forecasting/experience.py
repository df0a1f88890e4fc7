"""Experience: how long machines that failed had left when their score looked like this one's."""

from collections.abc import Sequence

import numpy as np

from models.anomaly.features import Vector, Windows
from models.anomaly.forecasting.outlook import Outlook
from models.anomaly.forecasting.remaining_life import FAILURES_MIN
from models.anomaly.forecasting.similarity import SimilarLives

ROWS_A_RUN = 60
"""Of the longest stored run; shorter ones have fewer of the same step."""
WINDOWS = Windows(means=[1, 4], spreads=[])
ROWS_MIN = 4
RATIO_MIN = 0.05
"""Of the limit: all that is lower is equally calm."""


def recall(runs: Sequence[tuple[Vector, Vector]], times_s: Vector, ratios: Vector) -> Outlook:
    """Return what is left by the likeness to past runs, each up to its failure.

    A run is times (n,) in seconds and scores in limits (n,); the run of now ends at its last value. All are
    averaged over the same step. Never asked is how long a run has lasted.
    """
    if len(runs) < FAILURES_MIN:
        return Outlook(reason=f"{len(runs)} failures are recorded, {FAILURES_MIN} are needed")
    step_s = max(float(times[-1] - times[0]) for times, _ in runs) / ROWS_A_RUN
    past = [_average(times, values, step_s) for times, values in runs]
    now = _average(times_s, ratios, step_s)
    if len(now) < ROWS_MIN:
        return Outlook(reason="it began too lately to be like any failure of the past")
    remaining = SimilarLives(windows=WINDOWS).fit([run[:, None] for run in past]).predict(now[:, None])
    return Outlook(float(remaining.low[-1]) * step_s, float(remaining.high[-1] + 1.0) * step_s)


def _average(times: Vector, values: Vector, step_s: float) -> Vector:
    """Return means of logarithms over steps that end at the last value; a gap holds what was before it.

    What lies farther back than the longest run counts by its last value: an alert may be open for months.
    """
    known = np.isfinite(values)
    steps = (times[-1] - times[known]) / max(step_s, 1e-9)
    begin = max(int((steps > ROWS_A_RUN).sum()) - 1, 0)
    ago = np.minimum(steps[begin:], ROWS_A_RUN + 1).astype(np.int64)
    places = ago.max(initial=0) - ago
    counts = np.bincount(places)
    sums = np.bincount(places, np.log(np.maximum(values[known][begin:], RATIO_MIN)))
    latest = np.maximum.accumulate(np.where(counts > 0, np.arange(len(counts)), 0))
    means: Vector = sums[latest] / counts[latest]
    return means
