"""How bad an alert is: how far above the limit, for how long, how fast it rises. Pure."""

import math

import numpy as np

from cloud.alerts import Severity, SeverityGrade
from cloud.alerts.words import say_number
from models.anomaly.features import Vector
from models.words import say_duration

RECENT = 10
RATIO_MIN = 0.05
AHEAD_MAX = 2.0
AHEAD_WEIGHT = 0.5
"""What the score will have risen by when it has lasted as long again counts half: it may not come."""
LASTING_WEIGHT = 0.25
"""Of a doubling, for every tenfold of `LASTING_FROM_S`."""
LASTING_FROM_S = 600.0
RISING_MIN = 0.1
"""Doublings within the alert's own length: less is no rise."""
GRADES: tuple[tuple[float, SeverityGrade], ...] = ((1.0, "slight"), (2.0, "distinct"), (3.5, "severe"))


def grade_severity(times_s: Vector, ratios: Vector, lasted_s: float) -> Severity:
    """Return the grade of scores in limits (n,) at ascending times; the alert is the last `lasted_s` of them.

    Points are doublings above the limit, half of those that lie ahead if the rise goes on for as long again,
    and a quarter for every tenfold of ten minutes. Below 1 it is slight, then distinct, severe, critical.
    """
    doublings = np.log2(np.maximum(ratios, RATIO_MIN))
    now = float(np.median(doublings[-RECENT:]))
    slope = find_slope(times_s, doublings)
    ahead = min(max(slope * lasted_s, 0.0), AHEAD_MAX)
    lasting = max(math.log10(max(lasted_s, 1.0) / LASTING_FROM_S), 0.0)
    points = max(now, 0.0) + AHEAD_WEIGHT * ahead + LASTING_WEIGHT * lasting
    grade: SeverityGrade = next((grade for least, grade in GRADES if points < least), "critical")
    words = f"{grade}, {say_number(2.0**now)} times the limit, for {say_duration(lasted_s)}"
    if ahead >= RISING_MIN:
        words += f", rising: at this pace twice as high in {say_duration(1.0 / slope)}"
    elif slope * lasted_s <= -RISING_MIN:
        words += ", falling"
    return Severity(grade, words)


def find_slope(times_s: Vector, values: Vector) -> float:
    """Return the slope of values (n,) a second: of the medians of the last and the first third."""
    third = len(values) // 3
    if not third:
        return 0.0
    apart = float(np.median(times_s[-third:]) - np.median(times_s[:third]))
    return float(np.median(values[-third:]) - np.median(values[:third])) / apart if apart > 0.0 else 0.0
