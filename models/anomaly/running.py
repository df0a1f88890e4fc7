"""How a machine is run: its conditions as declared or found, and what was learned of each way of running."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from models.anomaly.conditions import ConditionRejected, RunningCondition, find_condition
from models.anomaly.detectors import Detector
from models.anomaly.features import Mask, Matrix, Vector
from models.anomaly.regimes import (
    UNKNOWN,
    Condition,
    Numbers,
    Regimes,
    find_settling,
    identify_regimes,
    learn_regimes,
)

CONDITIONS_MAX = 4
LOAD_TAGS_MAX = 3
SETTLE_S = 60.0
CALM_SHARE = 0.9
"""So many of the rows of normal running score less than what is called calm."""


class RunningPlan(msgspec.Struct, frozen=True):
    """What is asked for: conditions by hand, or load tags whose values may part ways of running.

    Nothing is judged for `settle_s` after a change between two of them.
    """

    conditions: list[RunningCondition] = []
    load_tags: list[str] = []
    settle_s: float = SETTLE_S

    @property
    def tags(self) -> list[str]:
        """The tags that say how the machine runs, each once."""
        return list(dict.fromkeys([*(one.tag for one in self.conditions), *self.load_tags]))


class Running(msgspec.Struct, frozen=True):
    """How the ways of running are told apart. `signals` only say how it runs; they are not judged themselves.

    `rows` and `limits` are those of each known way, in the order of the regimes' numbers: so many rows were
    learned from, above its limit a score counts there, and `CALM_SHARE` of its rows score less than `calms`
    (missing in bundles from before it was learned). `load_tags` were looked at for conditions.
    """

    conditions: list[RunningCondition]
    signals: list[str]
    settle_rows: int
    numbers: list[int]
    rows: list[int]
    limits: list[float] = []
    load_tags: list[str] = []
    calms: list[float] = []

    def identify(self, values: Matrix, columns: Sequence[str]) -> Numbers:
        """Return the regime (rows,) of held values (rows, columns)."""
        places = {tag: place for place, tag in enumerate(columns)}
        return identify_regimes(
            values, [Condition(places[one.tag], one.bound, one.sign) for one in self.conditions]
        )

    def describe(self, number: int) -> str:
        """Say a way of running: `speed > 50 and not load > 0.6`."""
        return " and ".join(
            f"{'' if number >> place & 1 else 'not '}{one}" for place, one in enumerate(self.conditions)
        )

    def ease(self, regime: Numbers, limit: float) -> Vector:
        """Return by what scores (rows,) are multiplied so that one limit holds in all ways of running."""
        return np.asarray(limit / np.array(self.limits)[self._find_places(regime)], dtype=np.float64)

    def find_calm(self, regime: Numbers, limit: float) -> Vector:
        """Return below what the scores that `ease` gives are calm (rows,); asked only where `calms` are."""
        return np.array(self.calms)[self._find_places(regime)] * self.ease(regime, limit)

    def _find_places(self, regime: Numbers) -> Numbers:
        places: Numbers = np.searchsorted(np.array(self.numbers), regime).clip(0, len(self.numbers) - 1)
        return places


class Ways(msgspec.Struct, frozen=True):
    """What training rows teach of the ways of running: `units` (rows, tags) are what a detector learns from.

    `varying` (tags,): tags that say something within a way of running.
    """

    running: Running
    regimes: Regimes
    regime: Numbers
    units: Matrix
    varying: Mask


def find_conditions(plan: RunningPlan, values: Matrix, columns: Sequence[str]) -> list[RunningCondition]:
    """Return declared conditions and those found in the load tags, of held values (rows, columns).

    Raises `ConditionRejected` for a tag that the machine does not have, or that says nothing.
    """
    places = {tag: place for place, tag in enumerate(columns)}
    for tag in plan.tags:
        if tag not in places:
            there = ", ".join(columns) or "none"
            raise ConditionRejected(
                f"the running conditions name the tag {tag!r}, of which nothing is stored: tags are {there}"
            )
        if np.isnan(values[:, places[tag]]).all():
            raise ConditionRejected(
                f"the running conditions name {tag}, which has no good value in this span: "
                "mend it, or leave it out of watch.rules"
            )
    found = [find_condition(tag, values[:, places[tag]]) for tag in plan.load_tags]
    return [*plan.conditions, *(one for one in found if one is not None)]


def learn_ways(
    plan: RunningPlan,
    conditions: list[RunningCondition],
    rows: Matrix,
    held: Matrix,
    columns: Sequence[str],
    settle_rows: int,
) -> Ways:
    """Return the ways of running that rows (rows, tags) show.

    `held` (rows, columns): the tags, then those that only say how it runs. Raises `ConditionRejected`.
    """
    running = Running(
        conditions, list(columns[rows.shape[1] :]), settle_rows, [], [], load_tags=plan.load_tags
    )
    regime = running.identify(held, columns)
    settled = np.where(find_settling(regime, settle_rows), UNKNOWN, regime)
    regimes = learn_regimes(rows, settled)
    if not len(regimes.numbers):
        raise ConditionRejected(
            f"no way of running lasts longer than settle_s ({', '.join(map(str, conditions))}): "
            "shorten settle_s, or leave the condition out of watch.rules"
        )
    units = regimes.standardise(rows, regime, settle_rows)
    known = [units[:, column][np.isfinite(units[:, column])] for column in range(units.shape[1])]
    varying = np.array([bool(len(one)) and bool(one.max() > one.min()) for one in known])
    counts = [int((settled == number).sum()) for number in regimes.numbers]
    learned = msgspec.structs.replace(running, numbers=regimes.numbers.tolist(), rows=counts)
    return Ways(learned, regimes, regime, units, varying)


def set_limits(
    ways: Ways, fitted: Detector, overall: float, rows_min: int, set_one: Callable[[Vector], float]
) -> Running:
    """Return the ways with what is calm in each, and its limit: of its own held-out scores if enough.

    Else the limit is `overall`.
    """
    regime = ways.regime[fitted.held_out_rows_]
    own = [fitted.held_out_[regime == number] for number in ways.running.numbers]
    limits = [set_one(scores) if len(scores) >= rows_min else overall for scores in own]
    calms = [float(np.quantile(scores, CALM_SHARE)) if len(scores) else 0.0 for scores in own]
    return msgspec.structs.replace(ways.running, limits=limits, calms=calms)
