"""What detectors over multi-window features share: units, held-out scores, missing tags, restoring."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.anomaly.blocks import split_blocks
from models.anomaly.detectors import Arrays, Judgement, TrainingRejected
from models.anomaly.detectors.blame import group_rows
from models.anomaly.detectors.scales import FEATURE_SCALE_MIN, Scales, learn_scales
from models.anomaly.features import Mask, Matrix, Vector, Windows, plan_windows

FOLDS = 8
FIT_ROWS_MIN = 40
FIT_ROWS_MAX = 20_000
"""More rows than this teach a covariance nothing; they are all used to find the limit."""
CHUNK_ROWS = 4096
COVERAGE_MIN = 0.6
SHARPNESS = 2.0
"""Of the log-mean-exp that joins members: the stranger one weighs more."""
TYPICAL_QUANTILE = 0.99
RATIO_MIN = 1e-9

KEPT_AS = {"memory": np.dtype(np.float32)}
"""The largest array takes half the room, in a bundle and at work; `choose_memory` has rounded it already."""

State = dict[str, NDArray[Any]]
"""What one fit learned of standardised rows of features, by name."""


class WindowedDetector(ABC):
    """Standardised causal multi-window features, rated by members; subclasses say how.

    Each member's rating is divided by its blocked out-of-fold 99 % quantile, the honest size of a fresh
    healthy row, and the members' logarithms are joined by a log-mean-exp. The quantile is the geometric mean
    of the blocks' own: one odd day among the normal ones must not make every fault look small.
    """

    def __init__(
        self, *, windows: Windows | None = None, seed: int = 0, fit_rows_min: int = FIT_ROWS_MIN
    ) -> None:
        self.windows = windows or plan_windows()
        self.seed = seed
        self.fit_rows_min = fit_rows_min
        self.reach_rows = self.windows.longest

    @abstractmethod
    def _learn(self, rows: Matrix) -> State:
        """Return what standardised rows of features (n, per_tag * tags) teach."""

    @abstractmethod
    def _rate(self, rows: Matrix, state: State, mask: Mask) -> Matrix:
        """Return ratings (n, members), higher is stranger, of standardised rows.

        `mask` (tags,) marks the tags in use; the features of the others are 0, their mean.
        """

    def fit(self, values: Matrix) -> Self:
        """Learn; needs `fit_rows_min` rows with filled windows, and as many beside every held-out block."""
        self.scales_ = learn_scales(values, self.windows)
        features = self.scales_.compute(values, self.windows)
        usable: Mask = ~np.asarray(np.isnan(features).any(axis=1))
        held_out = self._hold_out(features, usable)
        self.units_ = find_units(held_out)
        self._take_over(self._finish(self._learn_rows(features[usable])))
        self.held_out_ = self._join(held_out)
        self.held_out_rows_ = np.flatnonzero(usable)
        return self

    def judge(self, values: Matrix, last: int | None = None) -> Judgement:
        """Return the judgement of the last rows; older rows only fill their windows."""
        first = 0 if last is None else max(0, len(values) - last)
        parts = [self._judge_chunk(values, start) for start in range(first, len(values), CHUNK_ROWS)]
        return Judgement(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def arrays(self) -> Arrays:
        """Return what was learned, and the constructor's keywords."""
        return {f"state.{name}": array for name, array in self.state_.items()} | {
            "centre": self.scales_.centre,
            "scale": self.scales_.scale,
            "spread_floor": self.scales_.spread_floor,
            "units": self.units_,
            "means": np.array(self.windows.means, dtype=np.int64),
            "spreads": np.array(self.windows.spreads, dtype=np.int64),
            "seed": np.array(self.seed),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """Return the detector whose `arrays()` these are."""
        windows = Windows(arrays["means"].tolist(), arrays["spreads"].tolist())
        detector = cls(windows=windows, seed=int(arrays["seed"]))
        detector.scales_ = Scales(arrays["centre"], arrays["scale"], arrays["spread_floor"])
        detector.units_ = arrays["units"]
        state = {
            name.removeprefix("state."): array for name, array in arrays.items() if name.startswith("state.")
        }
        kept = {name: array.astype(KEPT_AS.get(name, array.dtype)) for name, array in state.items()}
        detector._take_over(kept)
        return detector

    def _take_over(self, state: State) -> None:
        self.state_ = state

    def _finish(self, state: State) -> State:
        """Return the state of the whole fit with what the held-out rows taught."""
        return state

    def _learn_rows(self, features: Matrix) -> State:
        if len(features) < self.fit_rows_min:
            raise TrainingRejected(
                f"only {len(features)} rows have values of all tags over the longest window "
                f"({self.windows.longest} rows) beside a held-out block; {self.fit_rows_min} are needed: "
                "take a longer span or shorter windows"
            )
        rows = features[:: -(-len(features) // FIT_ROWS_MAX)]
        mean = rows.mean(axis=0)
        scale = np.maximum(rows.std(axis=0), FEATURE_SCALE_MIN)
        learned = self._learn((rows - mean) / scale)
        return learned | {"mean": mean, "scale": scale}

    def _hold_out(self, features: Matrix, usable: Mask) -> Matrix:
        """Return ratings of the usable rows, each by a fit that did not see its block."""
        parts = [
            self._rate_held_out(features[held_out], self._learn_rows(features[learned]))
            for learned, held_out in split_blocks(usable, FOLDS, self.windows.longest)
        ]
        if not parts:
            self._learn_rows(features[usable])  # raises: no row is usable
        return np.concatenate(parts)

    def _rate_held_out(self, features: Matrix, state: State) -> Matrix:
        return self._rate_rows(features, state, np.ones(len(self.scales_.centre), dtype=bool))

    def _rate_rows(self, features: Matrix, state: State, mask: Mask) -> Matrix:
        """Return the ratings of flat rows of features, of any number, with the tags of `mask`."""
        wanted = np.tile(mask, self.windows.per_tag)
        parts = []
        for chunk in _cut(features):
            rows = np.where(wanted, (chunk - state["mean"]) / state["scale"], 0.0)
            parts.append(self._rate(rows, state, mask))
        return np.concatenate(parts)

    def _join(self, ratings: Matrix) -> Vector:
        """Return the joint score of ratings (rows, members)."""
        powers = np.maximum(ratings / self.units_, RATIO_MIN) ** SHARPNESS
        joint: Vector = powers.mean(axis=1) ** (1.0 / SHARPNESS)
        return joint

    def _judge_chunk(self, values: Matrix, start: int) -> tuple[Vector, Vector, Matrix, Matrix, Matrix]:
        stop = min(start + CHUNK_ROWS, len(values))
        features = self.scales_.compute(values[max(0, start - self.reach_rows + 1) : stop], self.windows)
        features = features[start - stop :]
        tags = len(self.scales_.centre)
        usable: Mask = ~np.asarray(np.isnan(features.reshape(len(features), -1, tags)).any(axis=1))
        score = np.full(len(features), np.nan)
        sigma = np.full((len(features), tags), np.nan)
        distance = np.full((len(features), tags), np.nan)
        for mask, rows in group_rows(usable):
            if mask.mean() >= COVERAGE_MIN:
                score[rows] = self._join(self._rate_rows(features[rows], self.state_, mask))
                sigma[rows], distance[rows] = self._explain(features[rows], mask)
        seen = features[:, :tags] * self.scales_.scale + self.scales_.centre
        return score, usable.mean(axis=1), seen, seen - distance * self.scales_.scale, sigma

    def _explain(self, features: Matrix, mask: Mask) -> tuple[Matrix, Matrix]:
        """Return how far each tag's shortest mean is from its usual place: sigmas, and in features' units."""
        tags = len(mask)
        distance = np.where(mask, features[:, :tags] - self.state_["mean"][:tags], np.nan)
        return distance / self.state_["scale"][:tags], distance


def find_units(held_out: Matrix) -> Vector:
    """Return the geometric mean over held-out blocks of the members' 99 % quantiles (members,)."""
    blocks = [block for block in np.array_split(held_out, FOLDS) if len(block)]
    quantiles = np.array([np.quantile(block, TYPICAL_QUANTILE, axis=0) for block in blocks])
    units: Vector = np.exp(np.log(np.maximum(quantiles, RATIO_MIN)).mean(axis=0))
    return units


def _cut(features: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(features), CHUNK_ROWS):
        yield features[start : start + CHUNK_ROWS]
