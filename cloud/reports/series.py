"""The past of a machine's scores in a bounded number of steps, read piece by piece."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.stores import StoreReader
from models.anomaly.features import Vector
from models.telemetry import MachinePath

STEPS_MAX = 240
STRENGTH_QUANTILE = 0.9
"""Of a tag's deviations within a step this one counts: a spell of a tenth of the step is enough to show."""
EMPTY_SHARE_MAX = 0.2
"""With more of the steps before the first score empty, the span is cut to where scores begin."""


class Series(msgspec.Struct, frozen=True):
    """Scores in steps between `edges_ns` (n + 1,). NaN where nothing was judged.

    `peak` and `mean` (n,) are score / limit; `strength[tag]` (n,) sigmas; `rows` counts judged rows,
    `above` those above the limit.
    """

    edges_ns: NDArray[np.int64]
    peak: Vector
    mean: Vector
    strength: dict[str, Vector]
    rows: int
    above: int

    @property
    def has_scores(self) -> bool:
        """Whether anything was judged."""
        return self.rows > 0


class SeriesMaker:
    """Sums rows up as they come, whole steps at a time."""

    def __init__(self, begin_ns: int, end_ns: int, grid_ns: int, tags: Sequence[str]) -> None:
        steps = max(1, min(STEPS_MAX, (end_ns - begin_ns) // max(1, grid_ns)))
        self.edges_ns = np.linspace(begin_ns, end_ns, steps + 1).astype(np.int64)
        self._peak, self._mean = np.full(steps, np.nan), np.full(steps, np.nan)
        self._strength = {tag: np.full(steps, np.nan) for tag in tags}
        self._rows = self._above = 0

    def put_scores(self, timestamps: NDArray[np.int64], ratio: Vector) -> None:
        """Take scores (rows,) over their limit."""
        judged = np.isfinite(ratio)
        self._rows += int(judged.sum())
        self._above += int((ratio[judged] > 1.0).sum())
        for step, inside in self._cut(timestamps[judged]):
            self._peak[step] = ratio[judged][inside].max()
            self._mean[step] = ratio[judged][inside].mean()

    def put_sigmas(self, timestamps: NDArray[np.int64], sigmas: Mapping[str, Vector]) -> None:
        """Take signed deviations (rows,) by tag."""
        for tag in sigmas.keys() & self._strength.keys():
            known = np.isfinite(sigmas[tag])
            for step, inside in self._cut(timestamps[known]):
                sizes = np.abs(sigmas[tag][known][inside])
                self._strength[tag][step] = np.quantile(sizes, STRENGTH_QUANTILE)

    def _cut(self, timestamps: NDArray[np.int64]) -> list[tuple[int, slice]]:
        places = np.searchsorted(timestamps, self.edges_ns)
        return [
            (step, slice(first, last)) for step, (first, last) in enumerate(pairwise(places)) if first < last
        ]

    def make(self) -> Series:
        """Return all of it."""
        return Series(self.edges_ns, self._peak, self._mean, self._strength, self._rows, self._above)


def read_series(
    reader: StoreReader, machine: MachinePath, span: tuple[int, int], grid_ns: int, tags: Sequence[str]
) -> Series:
    """Return a machine's stored scores and deviations in the span, cut to where they begin.

    One step is in memory at a time. Raises what the reader raises.
    """
    series = _read_span(reader, machine, span, grid_ns, tags)
    judged = np.flatnonzero(np.isfinite(series.peak))
    if len(judged) and judged[0] > EMPTY_SHARE_MAX * len(series.peak):
        return _read_span(reader, machine, (int(series.edges_ns[judged[0]]), span[1]), grid_ns, tags)
    return series


def _read_span(
    reader: StoreReader, machine: MachinePath, span: tuple[int, int], grid_ns: int, tags: Sequence[str]
) -> Series:
    maker = SeriesMaker(*span, grid_ns, tags)
    for first, last in pairwise(maker.edges_ns.tolist()):
        scores = reader.read("score", machine, first, last, ["score", "limit"])
        if not len(scores.timestamps) or {"score", "limit"} - scores.values.keys():
            continue
        maker.put_scores(scores.timestamps, scores.values["score"] / scores.values["limit"])
        sigmas = reader.read("contribution", machine, first, last, tags)
        maker.put_sigmas(sigmas.timestamps, sigmas.values)
    return maker.make()
