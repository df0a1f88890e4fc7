"""The limit above which a score counts, from scores of rows that were held out of learning."""

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.anomaly.features import Vector

WINDOWS_PER_FALSE_ALARM = 1_000
INDEPENDENT_WINDOWS_MIN = 50
QUANTILES = (0.5, 0.9, 0.99, 0.999)
EULER = 0.5772156649015329
SCORE_MIN = 1e-9


class Limit(msgspec.Struct, frozen=True):
    """A limit and what it rests on.

    `value` is meant to be passed in one of `windows_per_false_alarm` longest windows of normal running.
    `provisional`: fewer than `INDEPENDENT_WINDOWS_MIN` windows were there to learn this from, so the promise
    is an extrapolation from little. `quantiles` are those of the held-out scores.
    """

    value: float
    windows_per_false_alarm: int
    independent_windows: int
    provisional: bool
    quantiles: dict[str, float]


def set_limit(
    held_out: Vector,
    window_rows: int,
    sustained_rows: int,
    windows_per_false_alarm: int = WINDOWS_PER_FALSE_ALARM,
) -> Limit:
    """Return the limit for held-out scores in time order.

    Only what is sustained over `sustained_rows` rows counts, for an alert's on-delay asks for that much. The
    peaks of the log-scores over windows of `window_rows` rows are taken as Gumbel distributed (Gumbel
    1958, by the method of moments); the limit is their quantile 1 - 1 / windows_per_false_alarm, and never
    below the highest score seen.
    """
    sustained = sliding_window_view(held_out, min(sustained_rows, len(held_out))).min(axis=-1)
    logs = np.log(np.maximum(sustained, SCORE_MIN))
    windows = max(1, len(logs) // window_rows)
    peaks = np.array([window.max() for window in np.array_split(logs, windows)])
    scale = float(peaks.std(ddof=1)) * np.sqrt(6.0) / np.pi if windows > 1 else float(logs.std())
    extrapolated = float(peaks.mean()) + scale * (float(np.log(windows_per_false_alarm)) - EULER)
    return Limit(
        value=float(np.exp(max(extrapolated, float(peaks.max())))),
        windows_per_false_alarm=windows_per_false_alarm,
        independent_windows=windows,
        provisional=windows < INDEPENDENT_WINDOWS_MIN,
        quantiles={str(q): float(np.quantile(held_out, q)) for q in QUANTILES},
    )
