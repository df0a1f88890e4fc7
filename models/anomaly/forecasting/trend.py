"""Trends: whether values rise steadily at all, before anybody asks where they lead."""

import math

import msgspec
import numpy as np

from models.anomaly.features import Vector

CORRELATION_MAX = 0.95
"""Of neighbouring residuals: above it a series is a walk, and nothing can be told from its trend."""
CHANCE_MAX = 0.01
"""A rise that would come by chance more often than this is none."""
STEEP_TAU = 0.8
STEEP_HEIGHT = 12.0
ROUNDING = 1e-9


class Trend(msgspec.Struct, frozen=True):
    """`tau`: 1 where every value is above all before it, -1 where below. `chance`: that this is no rise.

    `height`: from the first third to the last, in deviations of what lies beside a smooth curve.
    """

    tau: float
    chance: float
    height: float

    @property
    def is_rise(self) -> bool:
        """Whether it rises beyond doubt: by the test, or as high and steep as no correlation explains.

        Values that share a window resemble each other so much that the test could never be sure of them.
        """
        return self.chance <= CHANCE_MAX or (self.tau >= STEEP_TAU and self.height >= STEEP_HEIGHT)


def find_trend(values: Vector) -> Trend:
    """Return the Mann-Kendall trend of values (n,) at even distances, for a rise (one-sided).

    S = sum of sign(x_j - x_i) over i < j, with variance n (n - 1) (2 n + 5) / 18 (Mann 1945, Kendall 1975).
    Neighbours that resemble each other say less: the variance grows by the ratio of values to independent
    ones, (1 + r) / (1 - r) for the correlation r of neighbouring residuals (Bayley and Hammersley 1946).
    """
    n = len(values)
    later, earlier = np.triu_indices(n, k=1)[::-1]
    total = float(np.sign(values[later] - values[earlier]).sum())
    places = np.linspace(-1.0, 1.0, n)
    # A cubic, so that a trend that bends does not pass for neighbours that resemble each other.
    rest = values - np.polyval(np.polyfit(places, values, 3), places)
    # Of a straight line only the roundings are left, which resemble each other.
    is_exact = float(np.abs(rest).max()) <= ROUNDING * float(np.ptp(values))
    correlation = 0.0 if is_exact else correlate_neighbours(rest)
    variance = n * (n - 1) * (2 * n + 5) / 18.0 * (1.0 + correlation) / (1.0 - correlation)
    z = (total - math.copysign(1.0, total)) / math.sqrt(variance) if total else 0.0
    third = max(n // 3, 1)
    climbed = float(np.mean(values[-third:]) - np.mean(values[:third]))
    deviation = max(float(np.sqrt(rest @ rest / n)), ROUNDING * float(np.ptp(values)))
    height = climbed / deviation if deviation else 0.0
    return Trend(total / (n * (n - 1) / 2.0), 0.5 * math.erfc(z / math.sqrt(2.0)), height)


def correlate_neighbours(rest: Vector) -> float:
    """Return the correlation of neighbouring residuals (n,), 0 at least, what few hide of it given back.

    The estimate of few values is too low by about (1 + 3 r) / n (Kendall 1954).
    """
    power = float(rest @ rest)
    if power <= 0.0:
        return 0.0
    raw = float(rest[1:] @ rest[:-1]) / power
    return min(max(raw + (1.0 + 3.0 * raw) / len(rest), 0.0), CORRELATION_MAX)
