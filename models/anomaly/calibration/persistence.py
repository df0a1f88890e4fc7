"""Persistence: when scores become an alert, and when the alert ends."""

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.anomaly.features import Mask, Vector


class Persistence(msgspec.Struct, frozen=True):
    """An alert begins when `on_rows` of the last `of_rows` rows are above the limit.

    It ends when as many are below `off_share` of the limit. What cannot be judged (NaN) is neither.
    """

    on_rows: int = 8
    of_rows: int = 10
    off_share: float = 0.65


def sustain(scores: Vector, rule: Persistence) -> Vector:
    """Return, at every row (n,), the highest limit at which an alert would begin; -inf where none would."""
    return _rank_recent(np.where(np.isnan(scores), -np.inf, scores), rule.of_rows, rule.on_rows, -np.inf)


def find_alerting(scores: Vector, limit: float, rule: Persistence) -> Mask:
    """Return where an alert is on (n,): begun and not yet ended."""
    begins = sustain(scores, rule) > limit
    # As many as `on_rows` of the recent rows are below a level when the `on_rows`-lowest of them is.
    calm = -_rank_recent(np.where(np.isnan(scores), -np.inf, -scores), rule.of_rows, rule.on_rows, -np.inf)
    ends = calm < rule.off_share * limit
    decided = begins | ends
    latest = np.maximum.accumulate(np.where(decided, np.arange(len(scores)), -1))
    alerting: Mask = (latest >= 0) & begins[np.maximum(latest, 0)]
    return alerting


def _rank_recent(scores: Vector, of_rows: int, rank: int, before: float) -> Vector:
    """Return the `rank`-highest of the last `of_rows` scores at every row; `before` fills the beginning."""
    padded = np.concatenate((np.full(of_rows - 1, before), scores))
    recent = np.partition(sliding_window_view(padded, of_rows), of_rows - rank, axis=1)
    ranked: Vector = recent[:, of_rows - rank]
    return ranked
