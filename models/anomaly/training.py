"""Training: rows of a machine become a bundle."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import FORMAT, Bundle, Card
from models.anomaly.calibration.promise import (
    BEARABLE_PER_MONTH,
    EPISODES_PER_MONTH,
    MONTH_S,
    Promise,
    keep_promise,
)
from models.anomaly.detectors import Detector, TrainingRejected
from models.anomaly.detectors.shelf import make_detector
from models.anomaly.features import Vector, Windows, plan_windows
from models.anomaly.limits import INDEPENDENT_WINDOWS_MIN, Limit, set_limit
from models.anomaly.material import Material, Wishes, gather_material
from models.anomaly.provenance import Origin, count_realised, grade_tags
from models.anomaly.running import Running, set_limits
from models.words import say_duration

PROMISES_WINDOWS = "conditional"
"""Its limit is passed in one of so many windows, not so many times a month."""
NO_ORIGIN = Origin()
LIBRARIES = ("numpy", "scipy", "scikit-learn")


class _Asked(msgspec.Struct, frozen=True):
    """What is asked of a limit."""

    detector: str
    windows: Windows
    grid_s: float
    episodes_per_month: float

    def promise(self, held_out: Vector) -> tuple[Promise | None, Limit]:
        """Return the promise that held-out scores (n,) support, and its limit in the words of every card."""
        if self.detector == PROMISES_WINDOWS:
            return None, set_limit(held_out, self.windows.longest, self.windows.means[0])
        promise = keep_promise(
            held_out,
            self.windows.longest,
            self.grid_s,
            self.episodes_per_month,
            bearable=BEARABLE_PER_MONTH,
        )
        windows_a_month = MONTH_S / self.grid_s / self.windows.longest
        limit = Limit(
            value=promise.limit,
            windows_per_false_alarm=max(1, round(windows_a_month / promise.promised)),
            independent_windows=promise.independent_windows,
            provisional=promise.provisional,
            quantiles=promise.quantiles,
        )
        return promise, limit


def train_bundle(
    machine: str,
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    *,
    grid_s: float,
    trained_ns: int,
    base_rows: int = 5,
    detector: str = "fuse",
    episodes_per_month: float = EPISODES_PER_MONTH,
    wishes: Wishes | None = None,
    origin: Origin = NO_ORIGIN,
) -> Bundle:
    """Return what was learned from samples of normal running; raise `TrainingRejected`.

    `timestamps` (n,) in nanoseconds, ascending; `values[tag]` (n,), NaN where missing; `codes[tag]` (n,) are
    OPC UA status codes. The limit comes from scores held out of learning; every detector but `conditional`
    promises `episodes_per_month` false alarms with it. `origin` is written onto the card as it is.
    """
    asked = _Asked(detector, plan_windows(base_rows), grid_s, episodes_per_month)
    material = gather_material(timestamps, values, codes, grid_s, wishes or Wishes())
    _check_length(machine, len(material.rows) * grid_s, 2 * asked.windows.longest * grid_s)
    fitted = _fit(machine, material, asked)
    promise, limit = asked.promise(fitted.held_out_)
    running = _limit_ways(asked, material, fitted, limit)
    card = Card(
        format=FORMAT,
        machine=machine,
        detector=detector,
        tags=material.tags,
        left_out=material.left_out,
        grid_s=grid_s,
        windows=asked.windows,
        first_ns=int(timestamps[0]),
        last_ns=int(timestamps[-1]),
        trained_ns=trained_ns,
        rows=len(material.rows),
        limit=limit,
        seed=0,
        versions={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        training_sha256=_hash_rows(material.rows),
        promise=promise,
        running=running,
        origin=origin,
        grades=grade_tags(timestamps, values, codes, grid_s),
        realised=count_realised(_ease(material, fitted, running, limit), limit.value, grid_s),
    )
    regimes = None if material.ways is None else material.ways.regimes
    return Bundle(card, fitted, material.health, regimes=regimes)


def _fit(machine: str, material: Material, asked: _Asked) -> Detector:
    try:
        return make_detector(asked.detector, windows=asked.windows).fit(material.rows)
    except TrainingRejected as error:
        raise TrainingRejected(f"{machine}: {error}") from error


def _check_length(machine: str, span_s: float, least_s: float) -> None:
    if span_s < least_s:
        raise TrainingRejected(
            f"{machine}: {say_duration(span_s)} of values is too short to learn from; "
            f"at least {say_duration(least_s)} are needed, half an hour is better"
        )


def _limit_ways(asked: _Asked, material: Material, fitted: Detector, limit: Limit) -> Running | None:
    """Return the ways of running with their limits, None where the machine has one."""
    if material.ways is None:
        return None
    least = INDEPENDENT_WINDOWS_MIN * asked.windows.longest
    return set_limits(
        material.ways, fitted, limit.value, least, lambda scores: asked.promise(scores)[1].value
    )


def _ease(material: Material, fitted: Detector, running: Running | None, limit: Limit) -> Vector:
    """Return the held-out scores, each compared with the limit of its way of running."""
    if running is None or material.ways is None:
        return fitted.held_out_
    return fitted.held_out_ * running.ease(material.ways.regime[fitted.held_out_rows_], limit.value)


def _hash_rows(rows: NDArray[np.float64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
