"""The conditional detector: what each tag should be given the others, and how far all means have wandered."""

from typing import Self

import msgspec
import numpy as np

from models.anomaly.blocks import split_blocks
from models.anomaly.detectors import Arrays, Judgement, TrainingRejected
from models.anomaly.detectors.blame import group_rows, spread_blame
from models.anomaly.detectors.linear import Layout, Operators, estimate_drift, make_operators
from models.anomaly.features import Mask, Matrix, Vector, Windows, compute_features, plan_windows

FOLDS = 10
FIT_ROWS_MIN = 40
FIT_ROWS_MAX = 60_000
CHUNK_ROWS = 4096
MASKS_MAX = 256
SCALE_SHARE_MIN = 1e-3
SCALE_MIN = 1e-9
FEATURE_SCALE_MIN = 0.02
"""A mean that hardly moved while learning is not trusted to stay within less (in the tag's deviations)."""
SPREAD_FLOOR_SHARE = 0.1
SPREAD_FLOOR_MIN = 0.005
COVERAGE_MIN = 0.6
SHARPNESS = 2.0
"""Of the log-mean-exp that joins the members: the stranger one weighs more."""
TYPICAL_QUANTILE = 0.99
INFLATION_MIN = 0.5
"""Held-out residuals are never much smaller than the fit promises; those of a constant tag are zero."""
RATIO_MIN = 1e-9
CHANGE_VARIANCE_MIN = 1e-6
LEARNED = (
    *("centre_", "scale_", "spread_floor_", "mean_", "feature_scale_", "covariance_", "drift_"),
    *("inflation_", "residual_unit_", "distance_unit_", "held_out_"),
)


class Moments(msgspec.Struct, frozen=True):
    """What one fit learned of rows of features (n, d): all (d,), covariance (d, d), drift (means)."""

    mean: Vector
    scale: Vector
    covariance: Matrix
    drift: Vector


class ConditionalDetector:
    """Two members over causal multi-window features, from one Ledoit-Wolf covariance.

    The first: rms of every tag's conditional residual, each in units of its out-of-fold deviation. The
    second: Mahalanobis distance of the means with a diagonal inflated by drift. Each is divided by the
    geometric mean of its in-sample and out-of-fold 99 % quantile; their logarithms are joined by a
    log-mean-exp. With a single tag the second stands alone. Missing tags are marginalised.
    """

    def __init__(self, *, windows: Windows | None = None) -> None:
        self.windows = windows or plan_windows()
        self.reach_rows = self.windows.longest
        self._operators: dict[bytes, Operators] = {}

    def fit(self, values: Matrix) -> Self:
        """Learn; needs `FIT_ROWS_MIN` rows with filled windows, and as many beside every held-out block."""
        self._operators = {}
        self._learn_units(values)
        stride = -(-len(values) // FIT_ROWS_MAX)
        features = self._compute(values)[::stride]
        usable: Mask = ~np.asarray(np.isnan(features).any(axis=1))
        residuals, distances = self._hold_out(features, usable, -(-self.windows.longest // stride))
        self._store(self._learn(features[usable]))
        own_residuals, own_distances = _apply(features[usable], self._moments(), self._operators_for(None))
        self.inflation_ = np.maximum(np.sqrt((residuals**2).mean(axis=0)), INFLATION_MIN)
        held_out_rms = _rms(residuals / self.inflation_)
        self.residual_unit_ = _unit(_rms(own_residuals / self.inflation_), held_out_rms)
        self.distance_unit_ = _unit(own_distances, distances)
        self.held_out_ = self._join(held_out_rms, distances)
        self.held_out_rows_ = np.flatnonzero(usable) * stride
        return self

    def judge(self, values: Matrix, last: int | None = None) -> Judgement:
        """Return the judgement of the last rows; older rows only fill their windows."""
        first = 0 if last is None else max(0, len(values) - last)
        parts = [self._judge_chunk(values, start) for start in range(first, len(values), CHUNK_ROWS)]
        return Judgement(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def arrays(self) -> Arrays:
        """Return what was learned, and the windows."""
        learned = {name: np.asarray(getattr(self, name)) for name in LEARNED}
        return learned | {"means": np.array(self.windows.means), "spreads": np.array(self.windows.spreads)}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """Return the detector whose `arrays()` these are."""
        detector = cls(windows=Windows(arrays["means"].tolist(), arrays["spreads"].tolist()))
        for name in LEARNED:
            setattr(detector, name, arrays[name])
        return detector

    def _layout(self) -> Layout:
        """The shortest mean shows jumps, the longest small shifts, the shorter spread new noise."""
        means = len(self.windows.means)
        return Layout(len(self.centre_), means, self.windows.per_tag, [0, means - 1, means])

    def _learn_units(self, values: Matrix) -> None:
        if not np.isfinite(values).any(axis=0).all():
            raise TrainingRejected("a tag has no value in the training rows: leave it out")
        self.centre_ = np.nanmedian(values, axis=0)
        least = np.maximum(SCALE_SHARE_MIN * np.abs(self.centre_), SCALE_MIN)
        self.scale_ = np.maximum(np.nanstd(values, axis=0), least)
        self.spread_floor_ = np.full(values.shape[1], SPREAD_FLOOR_MIN)
        typical = np.exp(np.nanmedian(self._compute(values)[:, self._layout().shorter_spread], axis=0))
        self.spread_floor_ = np.maximum(SPREAD_FLOOR_SHARE * typical, SPREAD_FLOOR_MIN)

    def _compute(self, values: Matrix) -> Matrix:
        """Return flat rows of features (rows, per_tag * tags)."""
        standardised = (values - self.centre_) / self.scale_
        return compute_features(standardised, self.windows, self.spread_floor_).reshape(len(values), -1)

    def _learn(self, features: Matrix) -> Moments:
        from models.anomaly.covariance import shrink_covariance  # scoring lives without it

        if len(features) < FIT_ROWS_MIN:
            raise TrainingRejected(
                f"only {len(features)} rows have values of all tags over the longest window "
                f"({self.windows.longest} rows) beside a held-out block; {FIT_ROWS_MIN} are needed: "
                "take a longer span or shorter windows"
            )
        mean = features.mean(axis=0)
        scale = np.maximum(features.std(axis=0), FEATURE_SCALE_MIN)
        standardised = (features - mean) / scale
        means = self._layout().means * len(self.centre_)
        return Moments(mean, scale, shrink_covariance(standardised), estimate_drift(standardised[:, :means]))

    def _hold_out(self, features: Matrix, usable: Mask, gap: int) -> tuple[Matrix, Vector]:
        """Return residuals and distances of the usable rows, each by a fit that did not see its block."""
        parts = []
        for learned, held_out in split_blocks(usable, FOLDS, gap):
            moments = self._learn(features[learned])
            operators = _make_operators(moments, self._layout(), None)
            parts.append(_apply(features[held_out], moments, operators))
        if not parts:
            self._learn(features[usable])  # raises: no row is usable
        residuals, distances = zip(*parts, strict=True)
        return np.concatenate(residuals), np.concatenate(distances)

    def _store(self, moments: Moments) -> None:
        self.mean_, self.feature_scale_ = moments.mean, moments.scale
        self.covariance_, self.drift_ = moments.covariance, moments.drift

    def _moments(self) -> Moments:
        return Moments(self.mean_, self.feature_scale_, self.covariance_, self.drift_)

    def _operators_for(self, usable: Mask | None) -> Operators:
        key = b"" if usable is None or usable.all() else usable.tobytes()
        if key not in self._operators:
            if len(self._operators) >= MASKS_MAX:
                self._operators.clear()
            self._operators[key] = _make_operators(self._moments(), self._layout(), usable if key else None)
        return self._operators[key]

    def _judge_chunk(self, values: Matrix, start: int) -> tuple[Vector, Vector, Matrix, Matrix, Matrix]:
        stop = min(start + CHUNK_ROWS, len(values))
        features = self._compute(values[max(0, start - self.reach_rows + 1) : stop])[start - stop :]
        tags = len(self.centre_)
        usable: Mask = ~np.asarray(np.isnan(features.reshape(len(features), -1, tags)).any(axis=1))
        score = np.full(len(features), np.nan)
        sigma = np.full((len(features), tags), np.nan)
        distance = np.full((len(features), tags), np.nan)
        for mask, rows in group_rows(usable):
            if mask.mean() >= COVERAGE_MIN:
                score[rows] = self._score_alike(features[rows], mask)
                sigma[rows], distance[rows] = spread_blame(
                    features[rows], mask, self._regress, self._find_changes
                )
        seen = features[:, :tags] * self.scale_ + self.centre_
        expected = seen - distance * self.feature_scale_[:tags] * self.scale_
        return score, usable.mean(axis=1), seen, expected, sigma

    def _score_alike(self, features: Matrix, mask: Mask) -> Vector:
        """Return the scores of rows that have the same usable tags."""
        residuals, distances = _apply(features, self._moments(), self._operators_for(mask))
        return self._join(
            _rms(residuals / self.inflation_.reshape(-1, len(mask))[:, mask].ravel()), distances
        )

    def _regress(self, features: Matrix, mask: Mask) -> tuple[Matrix, Matrix]:
        """Return the shortest mean's residuals in sigmas and in features' units, NaN outside `mask`."""
        operators = self._operators_for(mask)
        kept = len(operators.kept)
        residuals = np.full((2, len(features), len(mask)), np.nan)
        shortest, _ = _apply(features, self._moments(), operators)
        residuals[0][:, mask] = shortest[:, :kept] / self.inflation_[: len(mask)][mask]
        residuals[1][:, mask] = shortest[:, :kept] * operators.spread[:kept]
        return residuals[0], residuals[1]

    def _find_changes(self, features: Matrix, mask: Mask) -> Matrix:
        """Return how the shortest mean differs from the longest, regressed on the other tags' differences."""
        tags, kept = len(mask), np.flatnonzero(mask)
        long = kept + (len(self.windows.means) - 1) * tags
        lift = np.zeros((len(kept), features.shape[1]))
        lift[np.arange(len(kept)), kept] = self.feature_scale_[kept]
        lift[np.arange(len(kept)), long] = -self.feature_scale_[long]
        covariance = lift @ self.covariance_ @ lift.T
        precision = np.linalg.inv(covariance + CHANGE_VARIANCE_MIN * np.eye(len(kept)))
        standardised = (features - self.mean_) / self.feature_scale_
        changes = np.full((len(features), tags), np.nan)
        changes[:, mask] = standardised @ lift.T @ precision / np.sqrt(np.diag(precision))
        return changes

    def _join(self, residual: Vector, distance: Vector) -> Vector:
        """Return the members' joint score: log-mean-exp of their logarithms, turned back."""
        members = [distance / self.distance_unit_]
        if len(self.centre_) > 1:
            members.append(residual / self.residual_unit_)
        powers = np.maximum(np.stack(members), RATIO_MIN) ** SHARPNESS
        joint: Vector = powers.mean(axis=0) ** (1.0 / SHARPNESS)
        return joint


def _make_operators(moments: Moments, layout: Layout, usable: Mask | None) -> Operators:
    mask = np.ones(layout.tags, dtype=bool) if usable is None else usable
    return make_operators(moments.covariance, moments.drift, layout, mask)


def _apply(features: Matrix, moments: Moments, operators: Operators) -> tuple[Matrix, Vector]:
    """Return conditional residuals (rows, targets * kept) in model sigmas, and distances (rows,)."""
    kept = operators.columns
    rows = (features[:, kept] - moments.mean[kept]) / moments.scale[kept]
    residuals = rows @ operators.residual / operators.spread
    return residuals, _rms(rows[:, : len(operators.whiten)] @ operators.whiten)


def _rms(columns: Matrix) -> Vector:
    mean: Vector = np.sqrt(np.einsum("ij,ij->i", columns, columns) / columns.shape[1])
    return mean


def _unit(in_sample: Vector, held_out: Vector) -> float:
    """Return the geometric mean of both 99 % quantiles: the first is too small, the second too large."""
    quantiles = np.quantile(in_sample, TYPICAL_QUANTILE) * np.quantile(held_out, TYPICAL_QUANTILE)
    return max(float(np.sqrt(quantiles)), RATIO_MIN)
