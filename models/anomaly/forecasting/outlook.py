"""Outlooks: when rising values will reach a level, as a band of time, or why that cannot be said."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Matrix, Vector
from models.anomaly.forecasting.trend import correlate_neighbours, find_trend

POINTS_MAX = 60
POINTS_MIN = 12
BAND = (0.1, 0.9)
RESAMPLES = 400
AHEAD_MAX = 3.0
"""Times the span in which the rise was seen: nobody knows whether it goes on for longer."""
RATIO_MAX = 20.0
"""Of the band's ends: a wider one is no forecast."""
SOON_SHARE = 0.02
"""Of the span of the rise: a band that begins nearer begins now."""
BENDS = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Below 0: ends faster than any exponential, which is 0; 0.5: grows with the square of time; 1: evenly;
2: ever more slowly."""
SHARE_MIN, SHARE_MAX = 0.01, 100.0
"""Of the level: what is less or more counts as this much."""
LEARNED_SHARE = 0.7
PARAMETERS = 3
"""Intercept, slope and bend."""
TINY = 1e-12
REACHED = "the level is reached already"


class Outlook(msgspec.Struct, frozen=True):
    """Seconds from the last value until the level is reached, with a chance of 80 % within these.

    `reason` says why there is no reliable forecast, else "": then there are no numbers either.
    """

    earliest_s: float | None = None
    latest_s: float | None = None
    reason: str = ""


def foresee(times_s: Vector, values: Vector, level: float, seed: int = 0) -> Outlook:
    """Return when values (n,) at ascending times (n,) will reach `level`, above them.

    A line is fitted to the means of even blocks, bent (Box and Cox 1964) as makes them straightest: so it may
    grow evenly, exponentially, or in between. What its residuals leave open makes `RESAMPLES` other pasts
    that could have been seen as well (parametric bootstrap with first-order autoregressive errors; Efron
    and Tibshirani 1993, ch. 8); each is bent and fitted anew. The 10 and 90 % quantiles of where they
    reach the level are the band, widened by what the same forecast of a while ago would have missed.
    """
    known = np.isfinite(values)
    if known.sum() < POINTS_MIN:
        return Outlook(reason=f"only {int(known.sum())} values since it began, {POINTS_MIN} are needed")
    times, means = _average(times_s[known], values[known])
    if len(means) < POINTS_MIN:
        return Outlook(reason="the values since it began are too few and far between")
    if float(np.median(means[-3:])) >= level:
        return Outlook(reason=REACHED)
    if not find_trend(means).is_rise:
        return Outlook(reason="it does not rise steadily")
    low, high = _find_band(times, means, level, seed)
    early, late = _look_back(times, means, seed)
    low, high = low * early, high * late
    span = float(times[-1] - times[0])
    if high <= 0.0:
        return Outlook(reason=REACHED)
    if not np.isfinite(high) or high > AHEAD_MAX * span:
        return Outlook(reason="at this pace it is farther ahead than can be told from so short a rise")
    if high > RATIO_MAX * max(low, SOON_SHARE * span):
        return Outlook(reason="the rise is too uneven to tell from it when")
    return Outlook(low, high)


def _find_band(times: Vector, values: Vector, level: float, seed: int) -> tuple[float, float]:
    """Return the seconds from the last of `times` between which the level is reached in 80 %."""
    left = _reach(times - times[-1], values, level, seed)
    low, high = np.quantile(left, BAND, method="lower")
    return float(low), float(high)


def _look_back(times: Vector, values: Vector, seed: int) -> tuple[float, float]:
    """Return the factors (at most 1, at least 1) by which the band's ends missed what has happened since.

    The same forecast is made from the first `LEARNED_SHARE` of the values, for the level they have now.
    """
    learned = int(len(values) * LEARNED_SHARE)
    scale = float(values.max())
    shares = np.maximum(values / scale, SHARE_MIN)[None]
    bend = float(_choose_bend(times, shares)[0])
    line = _fit(times, _bend(shares, bend))
    now = scale * float(_unbend(line[:, 0] + line[:, 1] * times[-1], bend)[0])
    low, high = _find_band(times[:learned], values[:learned], now, seed)
    passed = max(float(times[-1] - times[learned - 1]), TINY)
    early = min(1.0, passed / max(low, TINY)) if np.isfinite(low) else 1.0
    return early, max(1.0, passed / max(high, TINY))


def _average(times: Vector, values: Vector) -> tuple[Vector, Vector]:
    """Return the means of values in at most `POINTS_MAX` even blocks of time; empty blocks are left out."""
    blocks = min(POINTS_MAX, len(values))
    span = max(float(times[-1] - times[0]), TINY)
    places = np.minimum(((times - times[0]) / span * blocks).astype(np.int64), blocks - 1)
    counts = np.bincount(places, minlength=blocks)
    filled = counts > 0
    means = np.bincount(places, values, blocks)[filled] / counts[filled]
    return np.bincount(places, times, blocks)[filled] / counts[filled], means


def _reach(times: Vector, values: Vector, level: float, seed: int) -> Vector:
    """Return the seconds left (resamples,), times (n,) ending at 0; inf where the level is never met."""
    rng = np.random.default_rng(seed)
    shares = np.maximum(values / level, SHARE_MIN)
    own = float(_choose_bend(times, shares[None])[0])
    seen = _bend(shares, own)
    line = _fit(times, seen[None])
    trend = (line[:, :1] + line[:, 1:] * times)[0]
    pasts = _unbend(trend + _make_errors(seen - trend, rng), own)
    bends = _choose_bend(times, pasts)
    left = np.full(len(pasts), np.inf)
    for bend in BENDS:
        alike = bends == bend
        if alike.any():
            left[alike] = _cross(times, _bend(pasts[alike], bend), float(_bend(np.ones(1), bend)[0]))
    return left


def _bend(shares: Matrix, bend: float) -> Matrix:
    """Return Box and Cox's transform (1964) of positive values."""
    bent: Matrix = np.log(shares) if bend == 0.0 else (shares**bend - 1.0) / bend
    return bent


def _unbend(bent: Matrix, bend: float) -> Matrix:
    if bend == 0.0:
        shares = np.exp(np.minimum(bent, np.log(SHARE_MAX)))
    else:
        shares = np.maximum(1.0 + bend * bent, TINY) ** (1.0 / bend)
    return np.asarray(np.clip(shares, SHARE_MIN, SHARE_MAX))


def _choose_bend(times: Vector, rows: Matrix) -> Vector:
    """Return the bend (rows,) that makes each row straightest: its quadratic term the fewest sigmas."""
    basis = np.linalg.qr(np.column_stack([np.ones_like(times), times, times * times]))[0]
    curvature = []
    for bend in BENDS:
        bent = _bend(rows, bend)
        parts = bent @ basis
        rest = bent - parts @ basis.T
        curvature.append(np.abs(parts[:, 2]) / np.sqrt(np.einsum("ij,ij->i", rest, rest) + TINY))
    chosen: Vector = np.array(BENDS)[np.argmin(curvature, axis=0)]
    return chosen


def _fit(times: Vector, rows: Matrix) -> Matrix:
    """Return intercept and slope (rows, 2) of each row (rows, n) over times (n,), by least squares."""
    centred = times - times.mean()
    slope = rows @ centred / (centred @ centred)
    return np.column_stack([rows.mean(axis=1) - slope * times.mean(), slope])


def _make_errors(rest: Vector, rng: np.random.Generator) -> Matrix:
    """Return errors (resamples, n) as correlated and as wide as the residuals (n,) of a fitted line."""
    correlation = correlate_neighbours(rest)
    independent = len(rest) * (1.0 - correlation) / (1.0 + correlation)
    # A line with a bend through so few independent values takes a part of their spread along.
    lost = independent / max(independent - PARAMETERS, 1.0)
    deviation = float(np.sqrt(rest @ rest / len(rest) * lost))
    fresh = rng.standard_normal((RESAMPLES, len(rest)))
    errors: NDArray[np.float64] = np.empty_like(fresh)
    errors[:, 0] = fresh[:, 0]
    share = float(np.sqrt(1.0 - correlation * correlation))
    for place in range(1, len(rest)):
        errors[:, place] = correlation * errors[:, place - 1] + share * fresh[:, place]
    return deviation * errors


def _cross(times: Vector, rows: Matrix, level: float) -> Vector:
    """Return when each row's line passes the level, 0 where it has already, inf where it never will."""
    line = _fit(times, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (level - line[:, 0]) / line[:, 1]
    return np.where(line[:, 1] > 0.0, np.maximum(left, 0.0), np.inf)
