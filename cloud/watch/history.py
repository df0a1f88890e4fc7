"""Rows that came too late to be news: judged from the store once the backlog ends, told in one digest."""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import structlog
from sqlalchemy import Engine

from cloud.stores import Block, StoreReader
from cloud.watch.history_book import HistoryDigest, JudgedSpan, StrangePast, put_digest
from cloud.watch.past import Past
from cloud.watch.progress import Late
from cloud.watch.rings import GridRing
from cloud.watch.sayings import make_blocks
from cloud.watch.watched import WatchedMachine
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.spans import find_spans
from models.anomaly.grid import step_ns
from models.anomaly.judging import Verdict, count_reach
from models.telemetry import Frame, MachinePath

PIECE_ROWS_MAX = 200
WAIT_S_MAX = 600.0
"""A backlog that never pauses is judged all the same, this long after its first value."""
TAGS_NAMED_MAX = 3

log = structlog.get_logger()


class _Waiting(msgspec.Struct):
    """A span to be judged: the monotonic seconds of its first and latest value, and how far it is judged."""

    late: Late
    since_s: float
    touched_s: float
    has_started: bool = False


class HistoryDesk:
    """Judges late spans in pieces, machine by machine, so that what is live never waits long."""

    def __init__(
        self,
        reader: StoreReader,
        engine: Engine,
        quiet_s: float,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._engine = engine
        self._quiet_s = quiet_s
        self._clock_ns = clock_ns
        self._waiting: dict[MachinePath, _Waiting] = {}
        self._found: dict[MachinePath, StrangePast] = {}
        self._judged: dict[MachinePath, JudgedSpan] = {}
        self._alerting_until: dict[MachinePath, int] = {}

    def note(self, machine: MachinePath, late: Late, now_s: float) -> None:
        """Have a span judged once nothing more has come late for `quiet_s` seconds."""
        known = self._waiting.get(machine)
        if known is None:
            self._waiting[machine] = _Waiting(late, now_s, now_s)
        else:
            known.late, known.touched_s = late.join(known.late), now_s
            known.has_started = False

    def find_late(self, machine: MachinePath) -> Late | None:
        """Return the span of a machine that is still to be judged."""
        waiting = self._waiting.get(machine)
        return None if waiting is None else waiting.late

    def judge_piece(self, machines: dict[MachinePath, WatchedMachine], now_s: float) -> list[Block]:
        """Judge a bounded piece of what is due; return its blocks. Raises `StoreUnavailable`."""
        for path, waiting in self._waiting.items():
            rests = now_s - waiting.touched_s >= self._quiet_s or now_s - waiting.since_s >= WAIT_S_MAX
            if waiting.has_started or rests:
                return self._judge_span(machines[path], waiting)
        return []

    def _judge_span(self, machine: WatchedMachine, waiting: _Waiting) -> list[Block]:
        bundle = machine.bundle
        if bundle is None:
            del self._waiting[machine.machine]
            return []
        grid_ns, rule = step_ns(bundle.card.grid_s), Persistence()
        first = waiting.late.first_ns // grid_ns
        last = min((waiting.late.last_ns - 1) // grid_ns, first + PIECE_ROWS_MAX - 1)
        # The rows that an alert looks back at are judged once more, so that none is lost between two pieces.
        begin = first - rule.of_rows + 1
        reach = count_reach(bundle)
        ring = GridRing(bundle.card.columns, grid_ns, reach + last - begin + 1)
        past = Past(self._reader, machine.machine, bundle.card.columns, grid_ns)
        past.fill(ring, begin - reach, (last + 1) * grid_ns, machine.gaps)
        start = last + 1 if ring.first_row is None else max(begin, ring.first_row)
        verdict = machine.judge_history(ring, start, last) if start <= last else None
        next_ns = (last + 1) * grid_ns
        if verdict is None or not np.isfinite(verdict.judgement.score).any():
            # No row can be judged unless something was said in the rows that it depends on.
            spoken_ns = past.find_next_words((last + 1 - reach) * grid_ns, waiting.late.last_ns)
            next_ns = max(next_ns, spoken_ns // grid_ns * grid_ns)
        waiting.has_started = True
        waiting.late = Late(next_ns, waiting.late.last_ns)
        if waiting.late.first_ns >= waiting.late.last_ns:
            del self._waiting[machine.machine]
        if verdict is None or last < max(first, start):
            return []
        self._remember(machine.machine, verdict, first, max(0, first - start), grid_ns)
        return [
            Block(one.measurement, one.machine, cut_before(one.frames, first * grid_ns))
            for one in make_blocks(machine.machine, verdict)
        ]

    def _remember(
        self, machine: MachinePath, verdict: Verdict, first: int, looked_back: int, grid_ns: int
    ) -> None:
        """Take in a piece: its rows from `first` on, and `looked_back` rows that were judged before."""
        rows = len(verdict.timestamps) - looked_back
        known = self._judged.get(machine)
        span = JudgedSpan(str(machine), first * grid_ns, (first + rows) * grid_ns, rows)
        self._judged[machine] = span if known is None else _join_spans(known, span)
        was_alerting = self._alerting_until.pop(machine, None) == first
        found = find_strange(str(machine), verdict, looked_back, was_alerting=was_alerting)
        if found is None:
            return
        self._found[machine] = _join(self._found.get(machine), found)
        if found.last_ns == int(verdict.timestamps[-1]):
            self._alerting_until[machine] = first + rows

    def make_digest(self) -> HistoryDigest | None:
        """Return what all spans together showed, once the last of them is judged; else None."""
        if self._waiting or not self._judged:
            return None
        rows = sum(one.rows for one in self._judged.values())
        return HistoryDigest(self._clock_ns(), rows, list(self._found.values()), list(self._judged.values()))

    def tell(self, digest: HistoryDigest) -> None:
        """Keep the digest and say it in one line; raise `RecordsUnavailable`, to be called again."""
        put_digest(self._engine, digest)
        self._judged.clear()
        self._found.clear()
        self._alerting_until.clear()
        if digest.strange:
            worst = max(digest.strange, key=lambda one: one.peak)
            log.warning(
                "history_was_strange",
                rows=digest.rows,
                machines=[one.machine for one in digest.strange],
                worst=worst.machine,
                times_the_limit=round(worst.peak, 1),
                tags=worst.tags,
            )
        else:
            log.info("history_judged", rows=digest.rows)


def find_strange(
    machine: str, verdict: Verdict, looked_back: int, *, was_alerting: bool
) -> StrangePast | None:
    """Return where there would have been an alert after the first `looked_back` rows; None where nowhere.

    `was_alerting`: one was on up to the first of these rows; its going on is no episode of its own.
    """
    usual = Persistence()
    score, rule = (
        verdict.judgement.score,
        Persistence(off_share=max(usual.off_share, verdict.calm / verdict.limit)),
    )
    # What was alerting before ends by the rule, not by the beginning of a piece.
    before = np.full(rule.of_rows, np.inf if was_alerting else np.nan)
    on = find_alerting(np.concatenate((before, score)), verdict.limit, rule)[rule.of_rows + looked_back :]
    alerting = looked_back + np.flatnonzero(on)
    if not len(alerting):
        return None
    goes_on = was_alerting and bool(on[0])
    judged = alerting[np.isfinite(score[alerting])]
    peak = int(judged[np.argmax(score[judged])]) if len(judged) else int(alerting[0])
    return StrangePast(
        machine,
        int(verdict.timestamps[alerting[0]]),
        int(verdict.timestamps[alerting[-1]]),
        int((score[looked_back:] > verdict.limit).sum()),
        float(score[peak] / verdict.limit) if len(judged) else 0.0,
        [cause.tag for cause in verdict.name_causes(peak)][:TAGS_NAMED_MAX] if len(judged) else [],
        len(find_spans(on)) - goes_on,
        int(verdict.timestamps[peak]),
    )


def _join_spans(known: JudgedSpan, span: JudgedSpan) -> JudgedSpan:
    return JudgedSpan(
        known.machine,
        min(known.first_ns, span.first_ns),
        max(known.last_ns, span.last_ns),
        known.rows + span.rows,
    )


def _join(known: StrangePast | None, found: StrangePast) -> StrangePast:
    if known is None:
        return found
    stronger = known if known.peak >= found.peak else found
    return msgspec.structs.replace(
        stronger,
        first_ns=min(known.first_ns, found.first_ns),
        last_ns=max(known.last_ns, found.last_ns),
        rows_above=known.rows_above + found.rows_above,
        episodes=known.episodes + found.episodes,
    )


def cut_before(frames: Sequence[Frame], after_ns: int) -> list[Frame]:
    """Return frames without the rows up to `after_ns`."""
    cut = []
    for frame in frames:
        place = bisect_right(frame.timestamps, after_ns)
        if place < len(frame.timestamps):
            columns = {tag: values[place:] for tag, values in frame.values.items()}
            cut.append(Frame(frame.timestamps[place:], columns))
    return cut
