"""The tail of episodes' peaks: generalised Pareto, with what few peaks leave open taken into account."""

import msgspec
import numpy as np

from models.anomaly.features import Vector

SHAPE_MIN, SHAPE_MAX = -0.3, 0.3
SHAPE_DOUBT = 30.0
"""The shape counts as if this many further peaks had been seen with an exponential tail (shape 0)."""
RESAMPLES = 300
SCALE_MIN = 1e-6
BAND = (0.05, 0.95)


class Tail(msgspec.Struct, frozen=True):
    """How often an episode passes a level, by resampled fits (each array (resamples,)).

    An episode begins `rate` times a row above `threshold`; its excess over it has the survival function
    (1 + shape x / scale) ** (-1 / shape). Levels are logarithms of scores.
    """

    threshold: float
    rate: Vector
    shape: Vector
    scale: Vector

    def rate_above(self, level: float) -> Vector:
        """Return the episodes a row above `level`, one per resample."""
        excess = max(level - self.threshold, 0.0) / self.scale
        grown = np.maximum(1.0 + self.shape * excess, 0.0)
        with np.errstate(divide="ignore"):
            survival = np.where(
                np.abs(self.shape) < 1e-6,
                np.exp(-excess),
                grown ** (-1.0 / np.where(self.shape, self.shape, 1.0)),
            )
        rates: Vector = self.rate * survival
        return rates

    def find_level(self, rate: float) -> float:
        """Return the level that is passed `rate` times a row, on average over the resamples."""
        low, high = self.threshold, self.threshold + float(self.scale.mean())
        if self.rate_above(low).mean() <= rate:
            return low
        while self.rate_above(high).mean() > rate:
            high += high - self.threshold
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.rate_above(middle).mean() > rate else (low, middle)
        return high

    def band_above(self, level: float) -> tuple[float, float]:
        """Return the 5 % and 95 % quantiles of the episodes a row above `level`."""
        low, high = np.quantile(self.rate_above(level), BAND)
        return float(low), float(high)


def fit_tail(peaks: Vector, threshold: float, rows: int, seed: int = 0) -> Tail:
    """Return the tail of episodes' `peaks` (n,), all above `threshold`, seen in `rows` rows.

    Probability-weighted moments (Hosking and Wallis 1987, eq. 10): b0 = mean, b1 = mean of x (1 - F(x)),
    shape = 2 - b0 / (b0 - 2 b1), scale = 2 b0 b1 / (b0 - 2 b1); the shape is drawn towards 0.
    """
    rng = np.random.default_rng(seed)
    excesses = np.sort(rng.choice(peaks - threshold, size=(RESAMPLES, len(peaks))), axis=1)
    weights = (len(peaks) - np.arange(len(peaks)) - 0.65) / len(peaks)
    b0, b1 = excesses.mean(axis=1), (excesses * weights).mean(axis=1)
    spread = np.maximum(b0 - 2.0 * b1, SCALE_MIN)
    believed = len(peaks) / (len(peaks) + SHAPE_DOUBT)
    shape = np.clip((2.0 - b0 / spread) * believed, SHAPE_MIN, SHAPE_MAX)
    # The mean of a generalised Pareto is scale / (1 - shape): keep it when the shape was drawn to 0.
    scale = np.maximum(b0 * (1.0 - shape), SCALE_MIN)
    return Tail(threshold, rng.poisson(len(peaks), RESAMPLES) / rows, shape, scale)
