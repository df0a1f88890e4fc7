"""One machine under watch: its bundle, its ring, and what there is to say about its new rows."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime

from cloud.watch.due_rows import DueRow, DueRows
from cloud.watch.holes import make_hole_frames
from cloud.watch.observations import Observation
from cloud.watch.past import Past
from cloud.watch.progress import Late, Progress
from cloud.watch.rings import GridRing
from cloud.watch.sayings import join_verdicts
from models.anomaly.bundle import Bundle
from models.anomaly.grid import NS_PER_S, step_ns
from models.anomaly.judging import Verdict, count_reach, finish_rows
from models.telemetry import Frame, Gap, MachinePath

JUDGED_ROWS_MAX = 600
"""When more rows than this fall due at once (after a long stall), the oldest of them are left to history."""
GAPS_KEPT_MAX = 200


class WatchedMachine:
    """Takes the frames of one machine and gives the rows that are due to be judged.

    A row of the grid is due once the newest value is `lateness_ns` past the row's end; each is judged by
    itself and from the same number of rows: so a score does not depend on when and with what else it was
    asked for.
    Values for rows already judged fill the windows of later rows; their own rows are for history to judge.
    """

    def __init__(self, machine: MachinePath, lateness_ns: int) -> None:
        self.machine = machine
        self.bundle: Bundle | None = None
        self.trouble = ""
        """Why a newer bundle could not take charge, in words."""
        self.lesson = ""
        """How far learning has come, in words, while there is no bundle."""
        self.newest_ns = 0
        self.has_begun = False
        """Whether it has said anything since the watcher started, or was judged before."""
        self.late_total = 0
        self.skipped_rows_total = 0
        self._lateness_ns = lateness_ns
        self._ring: GridRing | None = None
        self._rows: DueRows | None = None
        self._judged_ns = 0
        self._late: Late | None = None
        self._quiet: dict[str, int] = {}
        self._gaps: list[Gap] = []
        self._is_resumed = False

    @property
    def gaps(self) -> Sequence[Gap]:
        """The gaps known of the machine, those that end last at the end."""
        return self._gaps

    @property
    def window_begin_ns(self) -> int:
        """The beginning of the rows that the next verdict looks at."""
        if self.bundle is None:
            return self._judged_ns
        grid_ns = step_ns(self.bundle.card.grid_s)
        return max(0, (self._judged_ns // grid_ns - count_reach(self.bundle)) * grid_ns)

    @property
    def progress(self) -> Progress:
        """How far the rows are judged, for after a restart."""
        return Progress(self._judged_ns, self._ring.quiet if self._ring else self._quiet)

    def resume(self, progress: Progress, newest_ns: int) -> None:
        """Go on where an earlier watcher ended; `newest_ns` is the newest value that is stored."""
        self.has_begun = self._is_resumed = True
        self._judged_ns = progress.judged_ns
        self._quiet = progress.quiet
        self._late = progress.late
        self.newest_ns = max(newest_ns, progress.judged_ns)

    def expect(self, begin_ns: int) -> None:
        """Know where judging will begin, before the first frame is put."""
        if not self.has_begun:
            self._judged_ns = begin_ns

    def take_charge(self, bundle: Bundle) -> None:
        """Let `bundle` judge what comes from now on, with an empty ring: `warm_up` fills it."""
        if self.has_begun and self.bundle is None and not self._is_resumed:
            self._judged_ns = self.newest_ns
        self.bundle = bundle
        self.empty()

    def forget(self) -> None:
        """Be without a bundle, learning: what comes until the next one is not judged."""
        self.bundle = self._ring = self._rows = self._late = None
        self._is_resumed = False
        self.trouble = self.lesson = ""

    def empty(self) -> None:
        """Forget the rows, not how far they were judged."""
        if self.bundle is not None:
            card = self.bundle.card
            quiet = self.progress.quiet
            self._ring = GridRing(
                card.columns, step_ns(card.grid_s), count_reach(self.bundle) + JUDGED_ROWS_MAX
            )
            self._ring.recall_quiet(quiet)
            self._rows = DueRows(self.bundle, self._ring)

    def warm_up(self, past: Past, until_ns: int) -> None:
        """Fill the ring from the store, up to `until_ns`; raises what `past` raises."""
        if self.bundle is None or self._ring is None:
            return
        first_row = self.window_begin_ns // step_ns(self.bundle.card.grid_s)
        past.fill(self._ring, first_row, until_ns, self._gaps)

    def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Take gaps as recorded: a gap that grew or was filled replaces what was known of it."""
        known = {(gap.first, gap.reason, *gap.tags): gap for gap in [*self._gaps, *gaps]}
        fresh = [gap for gap in known.values() if gap not in self._gaps]
        self._gaps = sorted(known.values(), key=lambda gap: gap.last)[-GAPS_KEPT_MAX:]
        if fresh and self.bundle is not None and self._ring is not None and self._ring.first_row is not None:
            grid_ns = step_ns(self.bundle.card.grid_s)
            for frame in make_hole_frames(fresh, self.bundle.card.columns, grid_ns):
                if frame.timestamps[0] <= self.newest_ns + JUDGED_ROWS_MAX * grid_ns:
                    self._put(frame)

    def put(self, frames: Sequence[Frame]) -> None:
        """Take new frames, in any order; judging begins with the first that ever come."""
        if not self.has_begun:
            self.has_begun = True
            self._judged_ns = min(frame.timestamps[0] for frame in frames)
        for frame in frames:
            late = bisect_left(frame.timestamps, self._judged_ns)
            if late:
                self.late_total += late
                self._note_late(frame.timestamps[0], frame.timestamps[late - 1])
            self.newest_ns = max(self.newest_ns, frame.timestamps[-1])
            self._put(frame)

    def _put(self, frame: Frame) -> None:
        if self._ring is not None and self._rows is not None:
            self._ring.put(frame)
            self._rows.note_put(frame.timestamps[0])

    def take_late(self) -> Late | None:
        """Return the span that history is to judge anew, once."""
        late, self._late = self._late, None
        return late if self.bundle is not None else None

    def _note_late(self, first_ns: int, last_ns: int) -> None:
        """Remember a span of late values, and of the windows that should have seen them."""
        if self.bundle is not None:
            card = self.bundle.card
            windows_ns = card.windows.longest * step_ns(card.grid_s)
            late = Late(first_ns, min(last_ns + windows_ns, self._judged_ns))
            self._late = late.join(self._late)

    def take_due(self) -> range:
        """Return the rows that have fallen due since the last call; they count as judged from now on."""
        if self.bundle is None or self._ring is None or self._ring.first_row is None or not self.has_begun:
            return range(0)
        grid_ns = step_ns(self.bundle.card.grid_s)
        due = (self.newest_ns - self._lateness_ns) // grid_ns - 1
        first = self._judged_ns // grid_ns
        if due < first:
            return range(0)
        if due - first >= JUDGED_ROWS_MAX:
            passed = first * grid_ns, (due + 1 - JUDGED_ROWS_MAX) * grid_ns
            self.skipped_rows_total += due + 1 - JUDGED_ROWS_MAX - first
            self._late = Late(*passed).join(self._late)
            first = due + 1 - JUDGED_ROWS_MAX
        self._judged_ns = (due + 1) * grid_ns
        return range(max(first, self._ring.first_row), due + 1)

    def prepare(self, row: int) -> DueRow:
        """Return a due row as its detector is to see it."""
        assert self._rows is not None  # nothing is due without a bundle
        return self._rows.prepare(row)

    def judge_history(self, ring: GridRing, first_row: int, last_row: int) -> Verdict:
        """Return the verdict on rows of the past, from a ring that holds them."""
        assert self.bundle is not None  # history is asked of machines with a bundle
        rows, verdicts = DueRows(self.bundle, ring), []
        for row in range(first_row, last_row + 1):
            due = rows.prepare(row)
            judgement = self.bundle.detector.judge(due.prepared.values, 1)
            verdicts.append(due.complete(finish_rows(self.bundle, due.prepared, judgement), self._gaps))
        return join_verdicts(verdicts)

    def say_learning(self) -> Observation:
        """Return the observation of a machine without a bundle."""
        mend = f"no model yet: train one with `forewarn cloud train --machine {self.machine}`"
        return Observation(
            self.machine, self.newest_ns, "learning", reason=self.trouble or self.lesson or mend
        )

    def say_silent(self) -> Observation:
        """Return the observation of a machine that has stopped talking."""
        since = datetime.fromtimestamp(self.newest_ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return Observation(
            self.machine, self.newest_ns, "cannot_judge", coverage=0.0, reason=f"no values since {since}"
        )
