"""Judging rows with a bundle: tag health first, then the detector; numpy only."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import Bundle
from models.anomaly.detectors import Judgement
from models.anomaly.features import Mask, Matrix
from models.anomaly.grid import GridRows, hold_last, step_ns
from models.anomaly.health import check_tags, name_faults
from models.anomaly.regimes import UNKNOWN, Numbers, find_last_switch, find_settling
from models.anomaly.running import CALM_SHARE, Running
from models.words import say_duration

NAMED_MAX = 3
UNKNOWN_WORDS = "unknown running condition: no alert, nothing learned"


class Cause(msgspec.Struct, frozen=True, gc=False):
    """How far a tag is from what the others let expect, in the tag's unit and in signed sigmas."""

    tag: str
    value: float
    expected: float
    sigma: float


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The judgement of consecutive rows of one machine, oldest first.

    `timestamps` (rows,): the ends of the rows, nanoseconds. `faulty_tags`: reasons by tag, in the last row.
    Nine in ten rows of normal running score less than `calm`, which is no higher than the limit.
    `reason` says why the last row could not be judged, else ""; `is_running_unknown`, that this is because
    the machine ran there in no way that was learned.
    """

    timestamps: NDArray[np.int64]
    judgement: Judgement
    limit: float
    faulty_tags: dict[str, str]
    reason: str
    tags: list[str]
    is_running_unknown: bool = False
    calm: float = 0.0

    def is_judged(self, row: int) -> bool:
        """Return whether row `row` has a score."""
        return math.isfinite(self.judgement.score[row])

    def name_causes(self, row: int) -> list[Cause]:
        """Return the tags farthest from what is expected, the farthest first."""
        sigma: list[float] = self.judgement.sigma[row].tolist()
        ranked = sorted((-abs(one), column) for column, one in enumerate(sigma) if math.isfinite(one))
        seen, expected = self.judgement.seen[row], self.judgement.expected[row]
        return [
            Cause(self.tags[column], float(seen[column]), float(expected[column]), sigma[column])
            for _, column in ranked[:NAMED_MAX]
        ]


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """Rows of one machine as its detector is given them, oldest first.

    `values` (rows, tags), NaN where missing or in doubt; `end` is the number of the row after the last.
    `faults`: reasons by tag, in the last row. `obstacle` says why the last row may have no score, else "".
    `regime` (rows,) and where it is a known one that has settled (`steady`), in bundles with regimes.
    """

    values: Matrix
    end: int
    faults: dict[str, str]
    obstacle: str
    regime: Numbers | None = None
    steady: Mask | None = None


def judge_rows(bundle: Bundle, grid: GridRows, last: int) -> Verdict:
    """Return the verdict on the last `last` rows; the rows before them fill the windows."""
    prepared = prepare_rows(bundle, grid)
    return finish_rows(bundle, prepared, bundle.detector.judge(prepared.values, last))


def prepare_rows(bundle: Bundle, grid: GridRows) -> Prepared:
    """Return what the detector is given of the rows, and what is known of them before it has judged.

    The grid's columns are those of the card.
    """
    checkup = check_tags(grid.take_columns(len(bundle.card.tags)), bundle.health, bundle.card.grid_s)
    prepared = Prepared(
        values=checkup.values,
        end=grid.first + len(grid.values),
        faults=name_faults(checkup.faults, bundle.card.tags),
        obstacle=checkup.standstill,
    )
    return prepared if bundle.regimes is None else _part_ways(bundle, grid, prepared)


def _part_ways(bundle: Bundle, grid: GridRows, prepared: Prepared) -> Prepared:
    """Return the rows in the units of the way in which the machine ran."""
    running, regimes = bundle.card.running, bundle.regimes
    assert running is not None  # a bundle has both or neither
    assert regimes is not None
    regime = running.identify(hold_last(grid), bundle.card.columns)
    settling = find_settling(regime, running.settle_rows)
    return msgspec.structs.replace(
        prepared,
        values=regimes.standardise(prepared.values, regime, running.settle_rows),
        obstacle=_say_running(bundle, running, regime, settling) or prepared.obstacle,
        regime=regime,
        steady=regimes.knows(regime) & ~settling,
    )


def finish_rows(bundle: Bundle, prepared: Prepared, judgement: Judgement) -> Verdict:
    """Return the verdict that the detector's judgement of the last prepared rows makes."""
    rows = len(judgement.score)
    ends = np.arange(prepared.end - rows + 1, prepared.end + 1, dtype=np.int64)
    unknown = False
    if prepared.regime is not None and bundle.regimes is not None:
        judgement = _join_ways(bundle, prepared, judgement)
        unknown = not bundle.regimes.knows(prepared.regime[-1:])[0]
    reason = "" if math.isfinite(judgement.score[-1]) else prepared.obstacle or _say_lack(bundle, judgement)
    return Verdict(
        timestamps=ends * step_ns(bundle.card.grid_s),
        judgement=judgement,
        limit=bundle.card.limit.value,
        faulty_tags=prepared.faults,
        reason=reason,
        tags=bundle.card.tags,
        is_running_unknown=unknown,
        calm=_find_calm(bundle, prepared),
    )


def _find_calm(bundle: Bundle, prepared: Prepared) -> float:
    """Return below what the last row is calm: where all ways of running are one, or in the one it ran in."""
    limit, running = bundle.card.limit, bundle.card.running
    calm = limit.quantiles.get(str(CALM_SHARE), 0.0)
    if running is not None and running.calms and prepared.regime is not None:
        calm = float(running.find_calm(prepared.regime[-1:], limit.value)[0])
    return min(calm, limit.value)


def _join_ways(bundle: Bundle, prepared: Prepared, judgement: Judgement) -> Judgement:
    """Return the judgement in the tags' units, its scores such that one limit holds in all regimes."""
    running, regimes = bundle.card.running, bundle.regimes
    assert running is not None  # a bundle has both or neither
    assert regimes is not None
    assert prepared.regime is not None
    assert prepared.steady is not None
    rows = len(judgement.score)
    regime, steady = prepared.regime[-rows:], prepared.steady[-rows:]
    known = regimes.knows(regime)[:, None]
    eased = judgement.score * running.ease(regime, bundle.card.limit.value)
    return msgspec.structs.replace(
        judgement,
        score=np.where(steady, eased, np.nan),
        seen=np.where(known, regimes.restore(judgement.seen, regime), np.nan),
        expected=np.where(known, regimes.restore(judgement.expected, regime), np.nan),
    )


def count_reach(bundle: Bundle) -> int:
    """Return how many rows before a row its verdict may depend on."""
    settle_rows = 0 if bundle.card.running is None else bundle.card.running.settle_rows
    return bundle.detector.reach_rows + bundle.health.reach_rows + settle_rows


def _say_lack(bundle: Bundle, judgement: Judgement) -> str:
    tags = len(bundle.card.tags)
    usable = round(float(judgement.coverage[-1]) * tags)
    seconds = bundle.card.windows.longest * bundle.card.grid_s
    return f"{usable} of {tags} tags have enough values in the last {seconds:g} s"


def _say_running(bundle: Bundle, running: Running, regime: Numbers, settling: Mask) -> str:
    """Say what of the last row's way of running keeps it from being judged, or how long ago it changed."""
    grid_s, now = bundle.card.grid_s, int(regime[-1])
    if now == UNKNOWN:
        names = " or ".join(dict.fromkeys(one.tag for one in running.conditions))
        return f"{UNKNOWN_WORDS} (no value of {names})"
    if now not in running.numbers:
        return f"{UNKNOWN_WORDS} ({running.describe(now)}: not seen while learning)"
    ago = find_last_switch(regime)
    if settling[-1]:
        return (
            f"the running condition changed {say_duration(ago * grid_s)} ago ({running.describe(now)}): "
            f"nothing is judged for {say_duration(running.settle_rows * grid_s)}"
        )
    if ago < running.settle_rows + bundle.card.windows.longest:
        return (
            f"the running condition changed {say_duration(ago * grid_s)} ago: too few rows since it settled"
        )
    return ""
