"""What both replays of a recording share: the shift of its times, its pace and its last line."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from edge.simulator.recording import Recording
from edge.simulator.sections import Section

log = structlog.get_logger()

Tell = Callable[[Mapping[str, Any], Section], None]
PROGRESS_S = 5.0
# A shift of whole milliseconds survives the resolution of every protocol and store on the way.
SHIFT_NS = 1_000_000


def find_shift_ns(timestamps: Sequence[int], speed: float, begin_ns: int) -> int:
    """Return the one constant to add to a recording's timestamps when its replay begins at `begin_ns`.

    The last row falls at the replay's end, or (replayed slower than recorded) the first at its begin:
    so no row is ever later than the clock.
    """
    length_ns = timestamps[-1] - timestamps[0]
    end_ns = begin_ns + int(length_ns / speed)
    shift_ns = min(end_ns - timestamps[-1], begin_ns - timestamps[0])
    return shift_ns // SHIFT_NS * SHIFT_NS


class Progress:
    """Says now and then how far a replay has come."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._said_s = time.monotonic()

    def tell(self, served: int) -> None:
        """Log how many rows are served, not more often than every few seconds."""
        now_s = time.monotonic()
        if now_s - self._said_s >= PROGRESS_S:
            self._said_s = now_s
            log.info("replaying", served=served, rows=self._rows)


def summarise(recording: Recording, served: int, shift_ns: int | None) -> dict[str, Any]:
    """Return the last line of a replay: rows in the file, rows served, and what was added to their times."""
    return {"rows": len(recording), "served": served, "shift_ns": shift_ns}
