"""Regimes: ways of running that are each normal in their own way (off, part load, full load)."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.conditions import SIGNS, Sign
from models.anomaly.features import Mask, Matrix

UNKNOWN = -1
ROWS_MIN = 120
"""A regime with fewer rows while learning is not known: nothing is judged in it, nothing learned."""
SCALE_SHARE_MIN = 0.05
"""Of a tag's deviation over all regimes: a tag that stood still in one of them may move so much there."""
SCALE_MIN = 1e-6
PREFIX = "regimes."

Numbers = NDArray[np.int64]


class Condition(msgspec.Struct, frozen=True):
    """A running condition by its column: the value against the bound."""

    column: int
    bound: float
    sign: Sign = ">"


class Regimes(msgspec.Struct, frozen=True):
    """What is usual in each known regime: `numbers` (k,), `centre` and `scale` (k, tags)."""

    numbers: Numbers
    centre: Matrix
    scale: Matrix

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a bundle keeps: `restore_regimes` takes it back."""
        return {f"{PREFIX}{name}": getattr(self, name) for name in self.__struct_fields__}

    def take_tags(self, kept: Mask) -> "Regimes":
        """Return the regimes of the tags in the columns `kept` (tags,)."""
        return Regimes(self.numbers, self.centre[:, kept], self.scale[:, kept])

    def knows(self, regime: Numbers) -> Mask:
        """Return where the regime (rows,) is a known one."""
        known: Mask = np.isin(regime, self.numbers)
        return known

    def standardise(self, values: Matrix, regime: Numbers, settle_rows: int = 0) -> Matrix:
        """Return `values` (rows, tags) in their regime's units.

        Missing where the regime (rows,) is unknown, and in the first `settle_rows` rows after a switch.
        """
        places = np.searchsorted(self.numbers, regime).clip(0, len(self.numbers) - 1)
        known: Mask = (self.numbers[places] == regime) & ~find_settling(regime, settle_rows)
        units = (values - self.centre[places]) / self.scale[places]
        return np.where(known[:, None], units, np.nan)

    def restore(self, units: Matrix, regime: Numbers) -> Matrix:
        """Return what `standardise` was given, for known regimes."""
        places = np.searchsorted(self.numbers, regime).clip(0, len(self.numbers) - 1)
        return np.asarray(units * self.scale[places] + self.centre[places])


def identify_regimes(values: Matrix, conditions: Sequence[Condition]) -> Numbers:
    """Return the regime (rows,) of `values` (rows, tags): one for each combination of declared conditions.

    Unknown where a column of a condition has no value.
    """
    regime = np.zeros(len(values), dtype=np.int64)
    for place, condition in enumerate(conditions):
        column = values[:, condition.column]
        regime += np.asarray(SIGNS[condition.sign](column, condition.bound)).astype(np.int64) << place
        regime[np.isnan(column)] = UNKNOWN - (1 << len(conditions))
    return np.maximum(regime, UNKNOWN)


def learn_regimes(values: Matrix, regime: Numbers) -> Regimes:
    """Return what is usual in each regime that has `ROWS_MIN` rows; the median and deviation of its rows."""
    numbers, counts = np.unique(regime[regime != UNKNOWN], return_counts=True)
    numbers = numbers[counts >= min(ROWS_MIN, counts.max(initial=0))]
    centre, scale = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a tag without a value in a regime is missing there
        least = np.maximum(SCALE_SHARE_MIN * np.nanstd(values, axis=0), SCALE_MIN)
        for number in numbers:
            rows = values[regime == number]
            centre.append(np.nanmedian(rows, axis=0))
            scale.append(np.maximum(np.nanstd(rows, axis=0), least))
    return Regimes(numbers.astype(np.int64), np.array(centre), np.array(scale))


def restore_regimes(arrays: Mapping[str, NDArray[Any]]) -> Regimes | None:
    """Return the regimes among a bundle's arrays, None where it has none."""
    names = Regimes.__struct_fields__
    if f"{PREFIX}{names[0]}" not in arrays:
        return None
    return Regimes(*(arrays[f"{PREFIX}{name}"] for name in names))


def find_settling(regime: Numbers, settle_rows: int) -> Mask:
    """Return the rows (rows,) fewer than `settle_rows` after a switch; the first row is no switch."""
    switched = np.diff(regime, prepend=regime[:1]) != 0
    rows = np.arange(len(regime))
    last = np.maximum.accumulate(np.where(switched, rows, -settle_rows - 1))
    settling: Mask = rows - last < settle_rows
    return settling


def find_last_switch(regime: Numbers) -> int:
    """Return how many rows ago the last row's regime began; all of them where it never changed."""
    other = np.flatnonzero(regime != regime[-1])
    return len(regime) - 1 - int(other[-1]) if len(other) else len(regime)
