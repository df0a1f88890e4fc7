"""Judging rows with a bundle: tag health first, then the detector; numpy only."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import Bundle
from models.anomaly.detectors import Judgement
from models.anomaly.features import Matrix
from models.anomaly.grid import NS_PER_S, GridRows, step_ns
from models.anomaly.health import check_tags, name_faults

NAMED_MAX = 3


class Cause(msgspec.Struct, frozen=True):
    """How far a tag is from what the others let expect, in the tag's unit and in signed sigmas."""

    tag: str
    value: float
    expected: float
    sigma: float


class Verdict(msgspec.Struct, frozen=True):
    """The judgement of consecutive rows of one machine, oldest first.

    `timestamps` (rows,): the ends of the rows, nanoseconds. `faulty_tags`: reasons by tag, in the last row.
    `reason` says why the last row could not be judged, else "".
    """

    timestamps: NDArray[np.int64]
    judgement: Judgement
    limit: float
    faulty_tags: dict[str, str]
    reason: str
    tags: list[str]

    def is_judged(self, row: int) -> bool:
        """Return whether row `row` has a score."""
        return bool(np.isfinite(self.judgement.score[row]))

    def name_causes(self, row: int) -> list[Cause]:
        """Return the tags farthest from what is expected, the farthest first."""
        sigma = self.judgement.sigma[row]
        order = np.argsort(-np.abs(np.nan_to_num(sigma)), kind="stable")[:NAMED_MAX]
        return [
            Cause(
                self.tags[column],
                float(self.judgement.seen[row, column]),
                float(self.judgement.expected[row, column]),
                float(sigma[column]),
            )
            for column in order
            if np.isfinite(sigma[column])
        ]


class Prepared(msgspec.Struct, frozen=True):
    """Rows of one machine as its detector is given them, oldest first.

    `values` (rows, tags), NaN where missing or in doubt; `end` is the number of the row after the last.
    `faults`: reasons by tag, in the last row. `obstacle` says why the last row may have no score, else "".
    """

    values: Matrix
    end: int
    faults: dict[str, str]
    obstacle: str


def judge_rows(bundle: Bundle, grid: GridRows, last: int) -> Verdict:
    """Return the verdict on the last `last` rows; the rows before them fill the windows."""
    prepared = prepare_rows(bundle, grid)
    return finish_rows(bundle, prepared, bundle.detector.judge(prepared.values, last))


def prepare_rows(bundle: Bundle, grid: GridRows) -> Prepared:
    """Return what the detector is given of the rows, and what is known of them before it has judged."""
    checkup = check_tags(grid, bundle.health, bundle.card.grid_s)
    return Prepared(
        values=checkup.values,
        end=grid.first + len(grid.values),
        faults=name_faults(checkup.faults, bundle.card.tags),
        obstacle=checkup.standstill,
    )


def finish_rows(bundle: Bundle, prepared: Prepared, judgement: Judgement) -> Verdict:
    """Return the verdict that the detector's judgement of the last prepared rows makes."""
    rows = len(judgement.score)
    ends = prepared.end - rows + 1 + np.arange(rows, dtype=np.int64)
    reason = "" if np.isfinite(judgement.score[-1]) else prepared.obstacle or _say_lack(bundle, judgement)
    return Verdict(
        timestamps=ends * step_ns(bundle.card.grid_s),
        judgement=judgement,
        limit=bundle.card.limit.value,
        faulty_tags=prepared.faults,
        reason=reason,
        tags=bundle.card.tags,
    )


def count_reach(bundle: Bundle) -> int:
    """Return how many rows before a row its verdict may depend on."""
    return bundle.detector.reach_rows + bundle.health.reach_rows


def span_reach_ns(bundle: Bundle) -> int:
    """Return the same in nanoseconds."""
    return round(count_reach(bundle) * bundle.card.grid_s * NS_PER_S)


def _say_lack(bundle: Bundle, judgement: Judgement) -> str:
    tags = len(bundle.card.tags)
    usable = round(float(judgement.coverage[-1]) * tags)
    seconds = bundle.card.windows.longest * bundle.card.grid_s
    return f"{usable} of {tags} tags have enough values in the last {seconds:g} s"
