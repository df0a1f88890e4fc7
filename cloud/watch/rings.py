"""The last rows of a machine on its grid, in event time: late values find their row, old ones are counted."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.anomaly.features import Mask, Matrix, Vector
from models.anomaly.grid import GridRows
from models.telemetry import Frame, quality

NEVER_NS = -1
SPARE_SHARE = 4
"""A quarter more rows than are needed: the needed ones move to the front once in so many, not with each."""
KNOWN_MAX = 16
"""Frames of a machine come with few different sets of tags."""


class GridRing:
    """Holds at least the newest `rows_min` rows of the grid; row i covers i * grid_ns .. + grid_ns - 1.

    In each row and tag the newest sample wins, whatever order samples come in.
    """

    def __init__(self, tags: Sequence[str], grid_ns: int, rows_min: int) -> None:
        self._columns = {tag: column for column, tag in enumerate(tags)}
        self._known: dict[tuple[str, ...], tuple[list[str], NDArray[np.int64]]] = {}
        self._grid_ns = grid_ns
        self._rows_min = rows_min
        self._rows = rows_min + -(-rows_min // SPARE_SHARE)
        self._first: int | None = None
        self._values: Matrix = np.full((self._rows, len(tags)), np.nan)
        self._bad: NDArray[np.uint32] = np.zeros((self._rows, len(tags)), dtype=np.uint32)
        self._stamps: NDArray[np.int64] = np.full((self._rows, len(tags)), NEVER_NS, dtype=np.int64)
        self._quiet: NDArray[np.int64] = np.zeros(len(tags), dtype=np.int64)
        self.too_old_total = 0
        """Values that came after their row had left the ring."""

    @property
    def first_row(self) -> int | None:
        """The oldest row there is room for; None before anything was put."""
        return self._first

    @property
    def quiet(self) -> dict[str, int]:
        """For how many rows a deadband has kept a tag silent, as far as heartbeats have shown."""
        return {tag: int(self._quiet[column]) for tag, column in self._columns.items() if self._quiet[column]}

    def recall_quiet(self, quiet: Mapping[str, int]) -> None:
        """Take over what an earlier ring knew of quiet tags."""
        for tag, rows in quiet.items():
            if tag in self._columns:
                self._quiet[self._columns[tag]] = max(self._quiet[self._columns[tag]], rows)

    def begin(self, row: int) -> None:
        """Let an empty ring begin at `row`, whatever is put first."""
        self._first = row

    def carry(self, frame: Frame) -> None:
        """Let the first row know readings of before it, one row a frame, as if held until there."""
        tags, columns = self._find_columns(frame)
        if not tags:
            return
        samples, codes = read_samples(frame, tags)
        newer = frame.timestamps[0] >= self._stamps[0, columns]
        self._values[0, columns[newer]] = samples[0, newer]
        self._bad[0, columns[newer]] = codes[0, newer]
        self._stamps[0, columns[newer]] = frame.timestamps[0]

    def put(self, frame: Frame) -> None:
        """Put the samples of `frame` into their rows; tags that the ring does not hold are passed over."""
        if len(frame.timestamps) == 1 and self._put_newest(frame):
            return
        stamps = np.array(frame.timestamps, dtype=np.int64)
        rows = stamps // self._grid_ns
        self._make_room(int(rows[0]), int(rows[-1]))
        assert self._first is not None  # room was made
        tags, columns = self._find_columns(frame)
        if not tags:
            return
        places = rows - self._first
        inside = places >= 0
        self.too_old_total += len(tags) * int(len(places) - inside.sum())
        if frame.repeats:
            self._note_quiet(frame, places)
        samples, codes = read_samples(frame, tags)
        newer = stamps[:, None] >= self._stamps[np.maximum(places, 0)[:, None], columns]
        # Row by row, so that of two samples of one row and tag numpy keeps the later.
        picked_rows, picked_tags = np.nonzero(newer & inside[:, None])
        cells = places[picked_rows], columns[picked_tags]
        self._values[cells] = samples[picked_rows, picked_tags]
        self._bad[cells] = codes[picked_rows, picked_tags]
        self._stamps[cells] = stamps[picked_rows]

    def _put_newest(self, frame: Frame) -> bool:
        """Put one row of good numbers that are newer than all the row has; return whether it was one."""
        stamp = frame.timestamps[0]
        if self._first is None or frame.repeats or frame.quality:
            return False
        tags, columns = self._find_columns(frame)
        place = stamp // self._grid_ns - self._first
        if not tags or not 0 <= place < self._rows:
            return False
        samples = np.array([frame.values[tag][0] for tag in tags], dtype=np.float64)
        stamps = self._stamps[place]
        if not math.isfinite(samples.dot(samples)) or (stamps[columns] > stamp).any():
            return False
        self._values[place, columns] = samples
        self._bad[place, columns] = 0
        stamps[columns] = stamp
        return True

    def _find_columns(self, frame: Frame) -> tuple[list[str], NDArray[np.int64]]:
        """Return the tags of a frame that the ring holds, and their columns."""
        names = tuple(frame.values)
        if names not in self._known:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            tags = [tag for tag in names if tag in self._columns]
            self._known[names] = tags, np.array([self._columns[tag] for tag in tags], dtype=np.int64)
        return self._known[names]

    def read(self, last_row: int, rows: int) -> GridRows:
        """Return the `rows` rows up to `last_row`, fewer where the ring begins later."""
        assert self._first is not None  # somebody has put a frame
        stop = last_row - self._first + 1
        start = max(0, stop - rows)
        if stop > self._rows:
            self._make_room(last_row, last_row)
            return self.read(last_row, rows)
        quiet = self._quiet.copy() if self._quiet.any() else None
        grid = GridRows(
            self._first + start, self._values[start:stop].copy(), self._bad[start:stop].copy(), quiet
        )
        silent, latest = self._find_latest(start, grid.spoken[0])
        grid.values[0, silent] = self._values[latest, silent]
        grid.bad[0, silent] = self._bad[latest, silent]
        return grid

    def take(self, row: int) -> tuple[Vector, NDArray[np.uint32], NDArray[np.int64] | None]:
        """Return a row's values, status codes and how long tags were kept quiet, as `read` does; (tags,)."""
        assert self._first is not None  # somebody has put a frame
        place = row - self._first
        if not 0 <= place < self._rows:
            grid = self.read(row, 1)
            return grid.values[0], grid.bad[0], grid.quiet
        return self._values[place], self._bad[place], self._quiet if self._quiet.any() else None

    def _note_quiet(self, frame: Frame, places: NDArray[np.int64]) -> None:
        """Remember how long nothing was said before a heartbeat's repeat: so long a tag may seem still."""
        for tag, rows in frame.repeats.items():
            column = self._columns.get(tag)
            if column is None:
                continue
            for row in rows:
                spoken = np.flatnonzero(self._stamps[: max(places[row], 0), column] != NEVER_NS)
                before = max(spoken[-1] if len(spoken) else -1, places[row - 1] if row else -1)
                if before >= 0:
                    self._quiet[column] = max(self._quiet[column], places[row] - before)

    def _find_latest(self, row: int, spoken: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tags that are not `spoken` in row `row` but were before, and where they last were.

        A server that sends changes only is silent about a set point for hours: what it last said is held.
        """
        silent = np.flatnonzero(~spoken)
        before = self._stamps[:row, silent] != NEVER_NS
        known = np.asarray(before.any(axis=0))
        latest = row - 1 - np.argmax(before[::-1, known], axis=0) if known.any() else np.empty(0, np.int64)
        return silent[known], latest

    def _make_room(self, oldest: int, newest: int) -> None:
        """Let go of the oldest rows so that `newest` has one; the first frame decides where it all begins."""
        if self._first is None:
            self._first = max(oldest, newest - self._rows_min + 1)
        beyond = newest - self._first - self._rows + 1
        if beyond <= 0:
            return
        shift = min(max(beyond, self._rows - self._rows_min), self._rows)
        kept = self._rows - shift
        if kept:
            silent, latest = self._find_latest(shift, self._stamps[shift] != NEVER_NS)
            for held in (self._values, self._bad, self._stamps):
                held[shift, silent] = held[latest, silent]
        for held, empty in ((self._values, np.nan), (self._bad, 0), (self._stamps, NEVER_NS)):
            held[:kept] = held[shift:].copy()
            held[kept:] = empty
        self._first = newest - self._rows_min + 1 if shift == self._rows else self._first + shift


def read_samples(frame: Frame, tags: Sequence[str]) -> tuple[Matrix, NDArray[np.uint32]]:
    """Return a frame's values (rows, tags), NaN where bad, and status codes, 0 where not bad."""
    samples = np.array([frame.values[tag] for tag in tags], dtype=np.float64).T
    bad = np.where(np.isfinite(samples), 0, quality.BAD).astype(np.uint32)
    for column, tag in enumerate(tags):
        for row, code in frame.quality.get(tag, {}).items():
            if quality.is_bad(code):
                bad[row, column] = code
    samples[bad != 0] = np.nan
    return samples, bad
