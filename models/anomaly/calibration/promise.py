"""A promise: the limit that keeps false alarms to so many episodes per machine and month, and its ground."""

import math

import msgspec
import numpy as np

from models.anomaly.calibration.persistence import Persistence, find_alerting, sustain
from models.anomaly.calibration.spans import find_spans
from models.anomaly.calibration.tail import Tail, fit_tail
from models.anomaly.features import Vector

MONTH_S = 30.4375 * 86_400.0
EPISODES_PER_MONTH = 1.0
BEARABLE_PER_MONTH = 30.0
"""One a day: half an hour of learning supports one in 80 minutes, which nobody would go and look at."""
INDEPENDENT_WINDOWS_MIN = 50
STRETCH = 2.0
"""A baseline too short to extrapolate from supports one episode in this many times its own length."""
QUANTILES = (0.5, 0.9, 0.99, 0.999)
THRESHOLDS = (0.98, 0.95, 0.9, 0.8, 0.6)
"""The tail begins at the highest of these quantiles that leaves enough episodes to learn from."""
EPISODES_WANTED = 20
PASSES = 2
CALM_QUANTILE = 0.6
RATIO_MIN = 1e-9


class Promise(msgspec.Struct, frozen=True):
    """A limit and what may be expected of it on a machine that stays as it was.

    Rates are false-alarm episodes per machine and month, after persistence. `promised` is what was asked for,
    or `floor` where the held-out scores support no rarer, or what a crew can bear where even that is more;
    `band` its 5-95 % range. `provisional`: fewer than `INDEPENDENT_WINDOWS_MIN` windows were there to learn
    this from, or the promise is below the floor: it is extrapolated from little.
    """

    limit: float
    asked: float
    promised: float
    floor: float
    band: tuple[float, float]
    independent_windows: int
    provisional: bool
    persistence: Persistence
    quantiles: dict[str, float]


def keep_promise(
    held_out: Vector,
    window_rows: int,
    grid_s: float,
    asked: float = EPISODES_PER_MONTH,
    rule: Persistence | None = None,
    bearable: float = math.inf,
) -> Promise:
    """Return the limit for `asked` episodes a month from held-out scores (n,) in time order.

    `window_rows` is the longest window: rows farther apart are taken as independent. With few windows the
    promise is not stretched far beyond the baseline, with many it is: the floor falls with their square.
    More than `bearable` episodes are never promised, on whatever ground.
    """
    rule = rule or Persistence()
    rows_a_month = MONTH_S / grid_s
    windows = max(1, len(held_out) // window_rows)
    stretch = STRETCH * max(1.0, windows / INDEPENDENT_WINDOWS_MIN) ** 2
    floor = rows_a_month / (len(held_out) * stretch)
    promised = max(asked, min(floor, bearable))
    tail = learn_tail(held_out, rule)
    for _ in range(PASSES):
        limit = math.sqrt(tail.find_level(promised / rows_a_month))
        tail = learn_tail(held_out, rule, limit)
    level = tail.find_level(promised / rows_a_month)
    low, high = tail.band_above(level)
    return Promise(
        limit=math.sqrt(level),
        asked=asked,
        promised=promised,
        floor=floor,
        band=(low * rows_a_month, high * rows_a_month),
        independent_windows=windows,
        provisional=windows < INDEPENDENT_WINDOWS_MIN or promised < floor,
        persistence=ease_end(rule, held_out, math.sqrt(level)),
        quantiles={str(q): float(np.quantile(held_out, q)) for q in QUANTILES},
    )


def ease_end(rule: Persistence, held_out: Vector, limit: float) -> Persistence:
    """Return the rule with an end that healthy running reaches.

    The more features a score averages, the less it moves: that of a machine of 20 tags rests at 0.83 of its
    limit, so that an alert that waits for 0.65 of it would stay on for ever.
    """
    calm = float(np.quantile(held_out, CALM_QUANTILE)) / max(limit, RATIO_MIN)
    return Persistence(rule.on_rows, rule.of_rows, min(max(rule.off_share, calm), 1.0))


def learn_tail(held_out: Vector, rule: Persistence, limit: float = 0.0) -> Tail:
    """Return the tail of the peaks of the episodes that a low limit would have raised.

    Peaks are squares of scores: those of a T2 or of a mean square have a nearly exponential tail. `limit` is
    where the limit will be, as far as known: peaks between which an alert would not end are one.
    """
    sustained = sustain(held_out, rule)
    highest = float(np.max(sustained))
    best = np.array([highest**2]), highest**2
    for quantile in THRESHOLDS:
        threshold = float(np.quantile(np.maximum(sustained[rule.on_rows - 1 :], 0.0), quantile))
        ends = float(np.clip(rule.off_share * limit / max(threshold, RATIO_MIN), rule.off_share, 1.0))
        low = Persistence(rule.on_rows, rule.of_rows, ends)
        spans = find_spans(find_alerting(held_out, threshold, low))
        peaks = np.array([sustained[first:stop].max() ** 2 for first, stop in spans])
        if len(peaks) > len(best[0]):
            best = peaks, threshold**2
        if len(peaks) >= EPISODES_WANTED:
            break
    peaks, threshold = best
    return fit_tail(peaks, threshold, len(held_out))
