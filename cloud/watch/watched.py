"""One machine under watch: its bundle, its ring, and what there is to say about its new rows."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from cloud.stores import Block, Measurement, Table
from cloud.watch.observations import Contribution, Observation
from cloud.watch.rings import GridRing
from models.anomaly.bundle import Bundle
from models.anomaly.features import Matrix
from models.anomaly.grid import NS_PER_S, step_ns
from models.anomaly.judging import Verdict, count_reach, judge_rows, span_reach_ns
from models.telemetry import Frame, MachinePath, Value

JUDGED_ROWS_MAX = 600
"""When more rows than this fall due at once (after a long stall), the oldest of them are not judged."""


class WatchedMachine:
    """Takes the frames of one machine and gives observations and blocks for the store.

    It judges a row of the grid once the newest value is `lateness_ns` past the row's end. Values for rows
    already judged still fill the windows of later rows, but are not judged themselves: `late_total`.
    """

    def __init__(self, machine: MachinePath, lateness_ns: int) -> None:
        self.machine = machine
        self.bundle: Bundle | None = None
        self.trouble = ""
        """Why a newer bundle could not take charge, in words."""
        self.newest_ns = 0
        self.has_begun = False
        """Whether it has said anything since the watcher started."""
        self.late_total = 0
        self.skipped_rows_total = 0
        self._lateness_ns = lateness_ns
        self._ring: GridRing | None = None
        self._judged_ns = 0

    @property
    def reach_ns(self) -> int:
        """How far back a verdict looks."""
        return span_reach_ns(self.bundle) if self.bundle else 0

    def take_charge(self, bundle: Bundle) -> None:
        """Let `bundle` judge what comes from now on, with an empty ring: `warm_up` fills it."""
        self.bundle = bundle
        self.trouble = ""
        if self.has_begun:
            self._judged_ns = self.newest_ns
        self.empty()

    def empty(self) -> None:
        """Forget the rows, not how far they were judged."""
        if self.bundle is not None:
            rows = count_reach(self.bundle) + JUDGED_ROWS_MAX
            self._ring = GridRing(self.bundle.card.tags, step_ns(self.bundle.card.grid_s), rows)

    def warm_up(self, table: Table) -> None:
        """Fill the ring with stored values; they are history and not judged."""
        if self._ring is None or not len(table.timestamps):
            return
        for frame in _make_frames(table):
            self._ring.put(frame)

    def put(self, frames: Sequence[Frame]) -> None:
        """Take new frames, in any order; judging begins with the first that ever come."""
        if not self.has_begun:
            self.has_begun = True
            self._judged_ns = min(frame.timestamps[0] for frame in frames)
        for frame in frames:
            self.late_total += bisect_right(frame.timestamps, self._judged_ns - 1)
            self.newest_ns = max(self.newest_ns, frame.timestamps[-1])
            if self._ring is not None:
                self._ring.put(frame)

    def observe(self) -> tuple[list[Observation], list[Block]]:
        """Return what is new since the last call: observations in time order, and blocks to store."""
        if self.bundle is None or self._ring is None:
            return [], []
        grid_ns = step_ns(self.bundle.card.grid_s)
        due = (self.newest_ns - self._lateness_ns) // grid_ns - 1
        rows = due - (self._judged_ns // grid_ns - 1)
        if not self.has_begun or rows <= 0:
            return [], []
        self.skipped_rows_total += max(0, rows - JUDGED_ROWS_MAX)
        rows = min(rows, JUDGED_ROWS_MAX)
        grid = self._ring.read(due, count_reach(self.bundle) + rows)
        verdict = judge_rows(self.bundle, grid, min(rows, len(grid.values)))
        self._judged_ns = (due + 1) * grid_ns
        return self._describe(verdict), make_blocks(self.machine, verdict)

    def say_learning(self) -> Observation:
        """Return the observation of a machine without a bundle."""
        mend = f"no model yet: train one with `forewarn cloud train --machine {self.machine}`"
        return Observation(self.machine, self.newest_ns, "learning", reason=self.trouble or mend)

    def say_silent(self) -> Observation:
        """Return the observation of a machine that has stopped talking."""
        since = datetime.fromtimestamp(self.newest_ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return Observation(
            self.machine, self.newest_ns, "cannot_judge", coverage=0.0, reason=f"no values since {since}"
        )

    def _describe(self, verdict: Verdict) -> list[Observation]:
        return [
            Observation(
                self.machine,
                int(timestamp),
                "judged" if verdict.is_judged(row) else "cannot_judge",
                score=float(verdict.judgement.score[row]) if verdict.is_judged(row) else None,
                limit=verdict.limit if verdict.is_judged(row) else None,
                coverage=float(verdict.judgement.coverage[row]),
                contributions=[
                    Contribution(cause.tag, cause.value, cause.expected, cause.sigma)
                    for cause in verdict.name_causes(row)
                ],
                faulty_tags=verdict.faulty_tags,
                reason=self.trouble if verdict.is_judged(row) else verdict.reason or "too few values",
            )
            for row, timestamp in enumerate(verdict.timestamps)
        ]


def make_blocks(machine: MachinePath, verdict: Verdict) -> list[Block]:
    """Return the judged rows of a verdict as they are stored: score, expected values, contributions."""
    judged = np.flatnonzero(np.isfinite(verdict.judgement.score))
    if not len(judged):
        return []
    times = verdict.timestamps[judged].tolist()
    judgement = verdict.judgement
    scores: dict[str, list[Value]] = {
        "score": judgement.score[judged].tolist(),
        "limit": [verdict.limit] * len(times),
        "coverage": judgement.coverage[judged].tolist(),
    }
    tables: dict[Measurement, Matrix] = {
        "expected": judgement.expected[judged],
        "contribution": judgement.sigma[judged],
    }
    blocks = [Block("score", machine, [Frame(times, scores)])]
    for measurement, table in tables.items():
        columns: dict[str, list[Value]] = {
            tag: [None if math.isnan(value) else value for value in table[:, column].tolist()]
            for column, tag in enumerate(verdict.tags)
        }
        kept = {tag: values for tag, values in columns.items() if values.count(None) < len(values)}
        if kept:
            blocks.append(Block(measurement, machine, [Frame(times, kept)]))
    return blocks


def _make_frames(table: Table) -> list[Frame]:
    """Return a table's tags as one frame each, without the instants at which the tag said nothing."""
    frames = []
    for tag, values in table.values.items():
        codes = table.quality.get(tag)
        spoken = np.isfinite(values) if codes is None else np.isfinite(values) | (codes != 0)
        places = np.flatnonzero(spoken)
        if len(places):
            marks = {} if codes is None else {n: int(codes[place]) for n, place in enumerate(places)}
            samples: list[Value] = [None if math.isnan(value) else value for value in values[places].tolist()]
            frames.append(Frame(table.timestamps[places].tolist(), {tag: samples}, {tag: marks}))
    return frames
