"""Stored rows of a machine as rings hold them: they fill the windows before the first row to be judged."""

from collections.abc import Iterable, Sequence

import numpy as np

from cloud.stores import StoreReader, Table
from cloud.watch.holes import make_hole_frames
from cloud.watch.rings import GridRing
from models.anomaly.grid import NS_PER_S
from models.telemetry import Frame, Gap, MachinePath, Value, quality

LOOK_BACK_FIRST_S = 3_600
LOOK_BACK_S_MAX = 30 * 86_400
"""How far back the last word of a tag is looked for that says only what changes."""
LOOK_AHEAD_FIRST_S, LOOK_AHEAD_S_MAX = 600, 6 * 3_600
LOOKS_AHEAD_MAX = 50
"""At once: a clock that was wrong for one value makes half a century of silence to look through."""


class Past:
    """Reads what a machine said into a ring, as if the ring had been there all the time."""

    def __init__(self, reader: StoreReader, machine: MachinePath, tags: Sequence[str], grid_ns: int) -> None:
        self._reader = reader
        self._machine = machine
        self._tags = list(tags)
        self._grid_ns = grid_ns

    def fill(self, ring: GridRing, first_row: int, end_ns: int, gaps: Iterable[Gap]) -> None:
        """Fill an empty ring with rows `first_row` .. before `end_ns`, and with what was last said before.

        Raises `StoreUnavailable`.
        """
        start_ns = max(0, first_row * self._grid_ns)
        holes = make_hole_frames(gaps, self._tags, self._grid_ns)
        before = [frame for frame in holes if frame.timestamps[0] < start_ns]
        table = self._reader.read("telemetry", self._machine, start_ns, max(end_ns, start_ns), self._tags)
        frames = make_frames(table)
        carried = self._find_last_words(start_ns, _name_late(frames, self._tags, start_ns + self._grid_ns))
        inside = [*frames, *(frame for frame in holes if start_ns <= frame.timestamps[0] < end_ns)]
        if not carried and not inside:
            return
        earliest = min((frame.timestamps[0] for frame in inside), default=start_ns)
        ring.begin(first_row if carried else earliest // self._grid_ns)
        for frame in [*carried, *before]:
            ring.carry(frame)
        for frame in inside:
            ring.put(frame)

    def find_next_words(self, begin_ns: int, end_ns: int) -> int:
        """Return when the machine next says something from `begin_ns` on, or until when it surely does not.

        Raises `StoreUnavailable`.
        """
        span_s = LOOK_AHEAD_FIRST_S
        for _ in range(LOOKS_AHEAD_MAX):
            stop_ns = min(begin_ns + span_s * NS_PER_S, end_ns)
            if stop_ns <= begin_ns:
                break
            said = self._reader.read("telemetry", self._machine, begin_ns, stop_ns, self._tags).timestamps
            if len(said):
                return int(said[0])
            begin_ns, span_s = stop_ns, min(3 * span_s, LOOK_AHEAD_S_MAX)
        return begin_ns

    def _find_last_words(self, start_ns: int, tags: list[str]) -> list[Frame]:
        """Return the last reading before `start_ns` of each of the tags, as far as there is one."""
        found: list[Frame] = []
        span_s, stop_ns = LOOK_BACK_FIRST_S, start_ns
        while tags and stop_ns > 0 and span_s <= LOOK_BACK_S_MAX:
            begin_ns = max(0, start_ns - span_s * NS_PER_S)
            frames = make_frames(self._reader.read("telemetry", self._machine, begin_ns, stop_ns, tags))
            found += [_keep_last(frame) for frame in frames]
            spoken = {tag for frame in frames for tag in frame.values}
            tags = [tag for tag in tags if tag not in spoken]
            stop_ns, span_s = begin_ns, 3 * span_s
        return found


def make_frames(table: Table) -> list[Frame]:
    """Return a table's tags as one frame each, without the instants at which the tag said nothing."""
    frames = []
    for tag, values in table.values.items():
        codes = table.quality.get(tag)
        spoken = np.isfinite(values) if codes is None else np.isfinite(values) | (codes != quality.GOOD)
        places = np.flatnonzero(spoken)
        if len(places):
            marks = {} if codes is None else {n: int(code) for n, code in enumerate(codes[places]) if code}
            samples: list[Value] = [None if value != value else value for value in values[places].tolist()]  # noqa: PLR0124  # only NaN differs from itself
            frames.append(Frame(table.timestamps[places].tolist(), {tag: samples}, {tag: marks}))
    return frames


def _name_late(frames: Sequence[Frame], tags: Sequence[str], row_end_ns: int) -> list[str]:
    """Return the tags that say nothing in the first row."""
    begun = {tag for frame in frames if frame.timestamps[0] < row_end_ns for tag in frame.values}
    return [tag for tag in tags if tag not in begun]


def _keep_last(frame: Frame) -> Frame:
    last = len(frame.timestamps) - 1
    marks = {tag: {0: codes[last]} for tag, codes in frame.quality.items() if last in codes}
    return Frame(frame.timestamps[-1:], {tag: values[-1:] for tag, values in frame.values.items()}, marks)
