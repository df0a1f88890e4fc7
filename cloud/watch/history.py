"""Rows that came too late to be news: judged from the store once the backlog ends, told in one digest."""

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import structlog
from sqlalchemy import BigInteger, Column, Engine, Integer, Table, Text, delete, func, insert, select

from cloud.records import metadata
from cloud.stores import Block, StoreReader
from cloud.transactions import begin_read, begin_write
from cloud.watch.past import Past
from cloud.watch.progress import Late
from cloud.watch.rings import GridRing
from cloud.watch.watched import WatchedMachine, make_blocks
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.grid import step_ns
from models.anomaly.judging import Verdict, count_reach
from models.telemetry import Frame, MachinePath

PIECE_ROWS_MAX = 200
WAIT_S_MAX = 600.0
"""A backlog that never pauses is judged all the same, this long after its first value."""
DIGESTS_MAX = 1_000
TAGS_NAMED_MAX = 3

history_digest = Table(
    "history_digest",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("told_ns", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("strange", Text, nullable=False),
)

log = structlog.get_logger()


class StrangePast(msgspec.Struct, frozen=True):
    """A machine that would have had an alert, its first and last strange row; `peak` is score / limit."""

    machine: str
    first_ns: int
    last_ns: int
    rows_above: int
    peak: float
    tags: list[str]


class HistoryDigest(msgspec.Struct, frozen=True):
    """What was found in `rows` rows of history."""

    told_ns: int
    rows: int
    strange: list[StrangePast]


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
        self._rows = 0

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
        ring = GridRing(bundle.card.tags, grid_ns, reach + last - begin + 1)
        past = Past(self._reader, machine.machine, bundle.card.tags, grid_ns)
        past.fill(ring, begin - reach, (last + 1) * grid_ns, machine.gaps)
        waiting.has_started = True
        waiting.late = Late((last + 1) * grid_ns, waiting.late.last_ns)
        if waiting.late.first_ns >= waiting.late.last_ns:
            del self._waiting[machine.machine]
        if ring.first_row is None or last < max(first, ring.first_row):
            return []
        verdict = machine.judge_history(ring, max(begin, ring.first_row), last)
        self._rows += last - first + 1
        self._remember(machine.machine, verdict)
        blocks = make_blocks(machine.machine, verdict)
        return [
            Block(one.measurement, one.machine, cut_before(one.frames, first * grid_ns)) for one in blocks
        ]

    def _remember(self, machine: MachinePath, verdict: Verdict) -> None:
        score = verdict.judgement.score
        alerting = np.flatnonzero(find_alerting(score, verdict.limit, Persistence()))
        if not len(alerting):
            return
        peak = alerting[np.nanargmax(score[alerting])]
        found = StrangePast(
            str(machine),
            int(verdict.timestamps[alerting[0]]),
            int(verdict.timestamps[alerting[-1]]),
            int((score > verdict.limit).sum()),
            float(score[peak] / verdict.limit),
            [cause.tag for cause in verdict.name_causes(int(peak))][:TAGS_NAMED_MAX],
        )
        self._found[machine] = _join(self._found.get(machine), found)

    def make_digest(self) -> HistoryDigest | None:
        """Return what all spans together showed, once the last of them is judged; else None."""
        if self._waiting or not self._rows:
            return None
        return HistoryDigest(self._clock_ns(), self._rows, list(self._found.values()))

    def tell(self, digest: HistoryDigest) -> None:
        """Keep the digest and say it in one line; raise `RecordsUnavailable`, to be called again."""
        put_digest(self._engine, digest)
        self._rows = 0
        self._found.clear()
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


def _join(known: StrangePast | None, found: StrangePast) -> StrangePast:
    if known is None:
        return found
    stronger = known if known.peak >= found.peak else found
    return msgspec.structs.replace(
        stronger,
        first_ns=min(known.first_ns, found.first_ns),
        last_ns=max(known.last_ns, found.last_ns),
        rows_above=known.rows_above + found.rows_above,
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


def put_digest(engine: Engine, digest: HistoryDigest) -> None:
    """Keep a digest; beyond `DIGESTS_MAX` the oldest go. Raises `RecordsUnavailable`."""
    strange = json.dumps([msgspec.to_builtins(one) for one in digest.strange])
    with begin_write(engine) as connection:
        connection.execute(
            insert(history_digest).values(told_ns=digest.told_ns, rows=digest.rows, strange=strange)
        )
        newest = connection.execute(select(func.max(history_digest.c.id))).scalar_one()
        connection.execute(delete(history_digest).where(history_digest.c.id <= newest - DIGESTS_MAX))


def list_digests(engine: Engine, count_max: int = 20) -> Sequence[HistoryDigest]:
    """Return the newest digests, the newest first; raise `RecordsUnavailable`."""
    query = select(history_digest).order_by(history_digest.c.id.desc()).limit(count_max)
    with begin_read(engine) as connection:
        return [
            HistoryDigest(row.told_ns, row.rows, msgspec.json.decode(row.strange, type=list[StrangePast]))
            for row in connection.execute(query)
        ]
