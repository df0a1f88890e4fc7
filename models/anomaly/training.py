"""Training: rows of a machine become a bundle."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import FORMAT, Bundle, Card
from models.anomaly.calibration.promise import EPISODES_PER_MONTH, MONTH_S, Promise, keep_promise
from models.anomaly.detectors import Detector, TrainingRejected
from models.anomaly.detectors.shelf import make_detector
from models.anomaly.features import Windows, plan_windows
from models.anomaly.grid import GridRows, hold_last, put_on_grid, step_ns
from models.anomaly.health import learn_health
from models.anomaly.limits import Limit, set_limit
from models.words import say_duration

TAG_SHARE_MIN = 0.6
GRID_ROWS_MAX = 20_000_000
PROMISES_WINDOWS = "conditional"
"""Its limit is passed in one of so many windows, not so many times a month."""
LIBRARIES = ("numpy", "scipy", "scikit-learn")


def train_bundle(
    machine: str,
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    *,
    grid_s: float,
    trained_ns: int,
    base_rows: int = 5,
    detector: str = "conditional",
    episodes_per_month: float = EPISODES_PER_MONTH,
) -> Bundle:
    """Return what was learned from samples of normal running; raise `TrainingRejected`.

    `timestamps` (n,) in nanoseconds, ascending; `values[tag]` (n,), NaN where missing; `codes[tag]` (n,) are
    OPC UA status codes. The limit comes from scores held out of learning; every detector but `conditional`
    promises `episodes_per_month` false alarms with it.
    """
    windows = plan_windows(base_rows)
    tags, left_out, grid = _choose_tags(timestamps, values, codes, step_ns(grid_s))
    _check_length(machine, len(grid.values) * grid_s, 2 * windows.longest * grid_s)
    health = learn_health(grid)
    rows = hold_last(grid)
    try:
        fitted = make_detector(detector, windows=windows).fit(rows)
    except TrainingRejected as error:
        raise TrainingRejected(f"{machine}: {error}") from error
    promise, limit = _promise(fitted, windows, grid_s, episodes_per_month)
    if detector == PROMISES_WINDOWS:
        promise, limit = None, set_limit(fitted.held_out_, windows.longest, base_rows)
    card = Card(
        format=FORMAT,
        machine=machine,
        detector=detector,
        tags=tags,
        left_out=left_out,
        grid_s=grid_s,
        windows=windows,
        first_ns=int(timestamps[0]),
        last_ns=int(timestamps[-1]),
        trained_ns=trained_ns,
        rows=len(rows),
        limit=limit,
        seed=0,
        versions={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        training_sha256=_hash_rows(rows),
        promise=promise,
    )
    return Bundle(card, fitted, health)


def _check_length(machine: str, span_s: float, least_s: float) -> None:
    if span_s < least_s:
        raise TrainingRejected(
            f"{machine}: {say_duration(span_s)} of values is too short to learn from; "
            f"at least {say_duration(least_s)} are needed, half an hour is better"
        )


def _promise(
    fitted: Detector, windows: Windows, grid_s: float, episodes_per_month: float
) -> tuple[Promise | None, Limit]:
    """Return the promise, and its limit in the words that every card has."""
    promise = keep_promise(fitted.held_out_, windows.longest, grid_s, episodes_per_month)
    windows_a_month = MONTH_S / grid_s / windows.longest
    limit = Limit(
        value=promise.limit,
        windows_per_false_alarm=max(1, round(windows_a_month / promise.promised)),
        independent_windows=promise.independent_windows,
        provisional=promise.provisional,
        quantiles=promise.quantiles,
    )
    return promise, limit


def _choose_tags(
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    grid_ns: int,
) -> tuple[list[str], dict[str, str], GridRows]:
    """Return the tags that can be judged, why the others cannot, and the grid of the first."""
    if not len(timestamps):
        raise TrainingRejected("there are no values to learn from")
    rows = int((timestamps[-1] - timestamps[0]) // grid_ns) + 1
    if rows > GRID_ROWS_MAX:
        raise TrainingRejected(
            f"{rows} rows on the grid are more than {GRID_ROWS_MAX}: take a shorter span or a wider grid"
        )
    tags = sorted(values)
    grid = put_on_grid(timestamps, values, codes, tags, grid_ns)
    held = hold_last(grid)
    left_out = {
        tag: reason
        for column, tag in enumerate(tags)
        if (reason := _find_obstacle(grid.values[:, column], held[:, column]))
    }
    kept = [column for column, tag in enumerate(tags) if tag not in left_out]
    if not kept:
        reasons = ", ".join(f"{tag}: {reason}" for tag, reason in left_out.items())
        raise TrainingRejected(f"no tag can be learned from ({reasons or 'there are none'})")
    chosen = GridRows(grid.first, grid.values[:, kept], grid.bad[:, kept])
    return [tags[column] for column in kept], left_out, chosen


def _find_obstacle(samples: NDArray[np.float64], held: NDArray[np.float64]) -> str:
    """Return why a tag cannot be learned from, or nothing."""
    said = samples[~np.isnan(samples)]
    if not len(said):
        return "no good value while learning"
    if said.min() == said.max():
        return f"always {said[0]:g} while learning"
    share = 1.0 - float(np.isnan(held).mean())
    return f"a value in only {share:.0%} of the rows" if share < TAG_SHARE_MIN else ""


def _hash_rows(rows: NDArray[np.float64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
