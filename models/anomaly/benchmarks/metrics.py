"""Metrics of detectors, pure: what a row, an event and an hour of false alarms count."""

from collections.abc import Sequence

import msgspec
import numpy as np

from models.anomaly.calibration.spans import find_spans
from models.anomaly.features import Mask, Vector

VUS_BUFFER_ROWS_MAX = 100
"""The largest buffer around an event, as the authors' library has it by default."""
VUS_BUFFER_STEP = 5
VUS_LIMITS = 250


class Confusion(msgspec.Struct, frozen=True):
    """Rows judged strange or not against rows labelled as trouble or not."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing was found."""
        found = 2 * self.true_positive
        return found / max(found + self.false_positive + self.false_negative, 1)

    @property
    def far(self) -> float:
        """Share of the healthy rows that were judged strange."""
        return self.false_positive / max(self.false_positive + self.true_negative, 1)

    @property
    def mar(self) -> float:
        """Share of the rows of trouble that were missed."""
        return self.false_negative / max(self.false_negative + self.true_positive, 1)


def count_confusion(labels: Mask, strange: Mask) -> Confusion:
    """Return the counts over rows (n,)."""
    return Confusion(
        int((labels & strange).sum()),
        int((~labels & strange).sum()),
        int((labels & ~strange).sum()),
        int((~labels & ~strange).sum()),
    )


def find_delays(labels: Mask, alerting: Mask) -> list[int | None]:
    """Return for each event how many rows after its begin an alert was on, None where none was."""
    delays: list[int | None] = []
    for first, stop in find_spans(labels):
        rows = np.flatnonzero(alerting[first:stop])
        delays.append(int(rows[0]) if len(rows) else None)
    return delays


def count_episodes(alerting: Mask) -> int:
    """Return how many times an alert was raised; one that is on in the first row counts."""
    return len(find_spans(alerting))


def measure_auc(labels: Mask, scores: Vector) -> float:
    """Return the area under the ROC curve: the chance that trouble scores above health (ties half)."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right")
    ranks = np.empty(len(scores))
    ranks[order] = (first + last + 1) / 2.0
    sick = int(labels.sum())
    healthy = len(labels) - sick
    if not sick or not healthy:
        return float("nan")
    return float((ranks[labels].sum() - sick * (sick + 1) / 2.0) / (sick * healthy))


def measure_vus_pr(
    series: Sequence[tuple[Mask, Vector]], buffer_rows_max: int = VUS_BUFFER_ROWS_MAX
) -> float:
    """Return the volume under the surface of precision and recall of (labels, scores) pooled over series.

    Paparrizos and others (VLDB 2022): labels get a slope of up to half a buffer on both sides of an event,
    recall counts only for events that were touched, and the area under precision over recall is averaged over
    buffers of 0 to `buffer_rows_max` rows. A slope never leaves its series. The area is taken by trapezoids,
    as the authors' library does: a score that is the same everywhere gets more than it earns, see its row.
    NaN where there is no event.
    """
    if not any(labels.any() for labels, _ in series):
        return float("nan")
    scores = np.concatenate([score for _, score in series])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    limits = ranked[np.linspace(0, len(ranked) - 1, VUS_LIMITS).astype(np.int64)]
    counts = np.searchsorted(-ranked, -limits, side="right")
    areas = []
    for buffer_rows in range(0, buffer_rows_max + 1, VUS_BUFFER_STEP):
        soft = [_slope_labels(labels, buffer_rows) for labels, _ in series]
        joined = np.concatenate(soft)
        peaks = [
            float(score[first:stop].max())
            for slopes, (_, score) in zip(soft, series, strict=True)
            for first, stop in find_spans(slopes > 0)
        ]
        caught = np.cumsum(joined[order])[counts - 1]
        positives = (sum(int(labels.sum()) for labels, _ in series) + joined.sum()) / 2.0
        touched = (np.array(peaks)[None, :] >= limits[:, None]).mean(axis=1)
        recall = np.concatenate(([0.0], np.minimum(caught / positives, 1.0) * touched))
        precision = np.concatenate(([1.0], caught / counts))
        areas.append(float(np.diff(recall) @ ((precision[1:] + precision[:-1]) / 2.0)))
    return float(np.mean(areas))


def _slope_labels(labels: Mask, buffer_rows: int) -> Vector:
    soft = labels.astype(np.float64)
    for first, stop in find_spans(labels) if buffer_rows else []:
        half = buffer_rows // 2
        after = np.arange(stop, min(stop + half, len(soft)))
        soft[after] += np.sqrt(1.0 - (after - stop + 1) / buffer_rows)
        before = np.arange(max(first - half, 0), first)
        soft[before] += np.sqrt(1.0 - (first - before) / buffer_rows)
    return np.minimum(soft, 1.0)
