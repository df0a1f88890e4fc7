"""Running conditions: how a machine runs, as somebody declares it (`speed > 50`) or as its load shows it."""

import math
import operator
import re
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Vector
from models.errors import ForewarnError

Sign = Literal[">", ">=", "<", "<=", "==", "!="]

SIGNS: dict[str, Callable[[Vector, float], object]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
PATTERN = re.compile(r"\s*(?P<tag>[^<>=!]*[^<>=!\s])\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<bound>[^<>=!\s]+)\s*")
EXAMPLE = "write it like `speed > 50`: a tag, one of > >= < <= == !=, and a number"

SAMPLES_MIN = 200
SIDE_SHARE_MIN = 0.02
"""A way of running that is rarer than this while learning is no way of running yet."""
VALLEY_SHARE_MAX = 0.02
"""Of the rows, in the middle half between the two ways: with more they are not two, but one wide one."""
APART_MIN = 3.0
"""Ashman's D (1994): 2 parts two bell curves just so; what switches all judging must be surer."""
SPLIT_BINS = 256


class ConditionRejected(ForewarnError):
    """This is no running condition, or none of this machine; the message says why, and the mend."""


class RunningCondition(msgspec.Struct, frozen=True):
    """A tag's value against a bound; of missing values nothing is known."""

    tag: str
    sign: Sign
    bound: float

    def holds(self, values: Vector) -> Mask:
        """Return where it holds (rows,); False for missing values."""
        held: Mask = np.asarray(SIGNS[self.sign](values, self.bound)) & ~np.isnan(values)
        return held

    def __str__(self) -> str:
        return f"{self.tag} {self.sign} {self.bound:g}"


def parse_condition(text: str) -> RunningCondition:
    """Return the condition that `text` says; raise `ConditionRejected`."""
    found = PATTERN.fullmatch(text)
    if found is None:
        raise ConditionRejected(f"{text!r} is no running condition: {EXAMPLE}")
    try:
        bound = float(found["bound"])
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ConditionRejected(f"{text!r}: {found['bound']!r} is no number: {EXAMPLE}")
    return msgspec.convert({"tag": found["tag"], "sign": found["sign"], "bound": bound}, RunningCondition)


def find_condition(tag: str, values: Vector) -> RunningCondition | None:
    """Return `tag > bound` where the values (rows,) are of two ways of running, else None.

    The bound is Otsu's (1979): the split with the largest variance between both sides. It counts only when
    both sides are far apart and hardly a row lies between them, so that no machine hovers at the bound.
    """
    known = values[np.isfinite(values)]
    if len(known) < SAMPLES_MIN or known.min() == known.max():
        return None
    bound = _split(known)
    low, high = known[known <= bound], known[known > bound]
    if min(len(low), len(high)) < SIDE_SHARE_MIN * len(known):
        return None
    middles = float(np.median(low)), float(np.median(high))
    apart = middles[1] - middles[0]
    spread = math.sqrt((float(low.var()) + float(high.var())) / 2.0)
    bound = (middles[0] + middles[1]) / 2.0
    between = float((np.abs(known - bound) < apart / 4.0).mean())
    if apart < APART_MIN * spread or between > VALLEY_SHARE_MAX:
        return None
    return RunningCondition(tag, ">", bound)


def _split(known: NDArray[np.float64]) -> float:
    counts, edges = np.histogram(known, bins=SPLIT_BINS)
    middles = (edges[:-1] + edges[1:]) / 2.0
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = len(known) - below
    sums = np.cumsum(counts * middles)
    between = (sums[-1] / len(known) * below - sums[:-1]) ** 2 / np.maximum(below * above, 1.0)
    return float(edges[1 + int(between.argmax())])
