"""How many values of each machine and day were stored, by our own count, to be held against the store's."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    String,
    Table,
    delete,
    func,
    or_,
    select,
    update,
)

from cloud.records import metadata
from cloud.stores import Block
from cloud.transactions import begin_read, begin_write, insert_into
from models.telemetry import MachinePath

DAY_NS = 86_400_000_000_000
JOIN_NS = 5_000_000_000
SPANS_MAX = 8
"""Stretches of time remembered per tag: one while it is live, one more for each backlog that fills a gap."""
MACHINE_CHARS_MAX = 260
DAYS_KEPT_MAX = 400

day_table = Table(
    "stored_day",
    metadata,
    Column("machine", String(MACHINE_CHARS_MAX), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("certain", BigInteger, nullable=False),
    Column("uncertain", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
    Column("found", BigInteger),
    Column("checked_ns", BigInteger),
)

Key = tuple[MachinePath, int]
"""Machine, day since 1970 (UTC)"""


class DayCount(msgspec.Struct):
    """Values with a number of one machine and day. `uncertain` ones may repeat what is stored already."""

    certain: int = 0
    uncertain: int = 0
    last_ns: int = 0


class DayRow(msgspec.Struct, frozen=True):
    """What the records say of one machine and day; `found` is the store's own count, once it was asked."""

    machine: str
    day: int
    certain: int
    uncertain: int
    changed_ns: int
    found: int | None
    checked_ns: int | None

    @property
    def is_checked(self) -> bool:
        """Whether the store was asked since the last of these values came."""
        return self.found is not None and self.checked_ns is not None and self.checked_ns >= self.changed_ns

    @property
    def missing(self) -> int:
        """How many values the store lacks at least; 0 while nobody asked it."""
        return max(0, self.certain - (self.found or 0)) if self.is_checked else 0


class DayCounter:
    """Counts what each write stores. A value is certain when its tag had none at or around its instant.

    An instant that a tag may have had before is uncertain: an OPC UA server repeats its last value at each
    new connection, and the store keeps one of the two.
    """

    def __init__(self) -> None:
        self._spans: dict[MachinePath, dict[str, list[list[int]]]] = {}
        self._floors: dict[str, int] = {}

    def load(self, engine: Engine) -> None:
        """Learn up to where each machine was stored before this program began; raise `RecordsUnavailable`."""
        query = select(day_table.c.machine, func.max(day_table.c.last_ns)).group_by(day_table.c.machine)
        with begin_read(engine) as connection:
            self._floors = {row[0]: row[1] for row in connection.execute(query)}

    def count(self, blocks: Sequence[Block]) -> dict[Key, DayCount]:
        """Return what these blocks, which are stored now, add to each machine and day."""
        found: dict[Key, DayCount] = {}
        for block in blocks:
            spans = self._spans.get(block.machine)
            if spans is None:
                spans = self._spans[block.machine] = {}
            for frame in block.frames:
                first, last = frame.timestamps[0], frame.timestamps[-1]
                certain: list[Sequence[float | None]] = []
                uncertain: list[Sequence[float | None]] = []
                for tag, column in frame.values.items():
                    stretches = spans.get(tag)
                    if stretches is None:
                        stretches = spans[tag] = self._begin(block.machine)
                    (certain if note_span(stretches, first, last) else uncertain).append(column)
                _add(found, block.machine, frame.timestamps, certain, uncertain)
        return found

    def _begin(self, machine: MachinePath) -> list[list[int]]:
        floor = self._floors.get(str(machine))
        return [] if floor is None else [[0, floor]]


def note_span(spans: list[list[int]], first: int, last: int) -> bool:
    """Add the stretch to the ascending `spans`; return whether it lies apart from all of them."""
    if spans and 0 < first - spans[-1][1] <= JOIN_NS:
        spans[-1][1] = last
        return True
    at = bisect_right(spans, first, key=_first_of)
    apart = (at == 0 or first > spans[at - 1][1]) and (at == len(spans) or last < spans[at][0])
    spans.insert(at, [first, last])
    joined: list[list[int]] = []
    for span in spans:
        if joined and span[0] - joined[-1][1] <= JOIN_NS:
            joined[-1][1] = max(joined[-1][1], span[1])
        else:
            joined.append(span)
    while len(joined) > SPANS_MAX:
        # The smallest gap is given up: what an outage left open stays open for its backlog.
        narrow = min(range(1, len(joined)), key=lambda at: joined[at][0] - joined[at - 1][1])
        joined[narrow - 1][1] = joined.pop(narrow)[1]
    spans[:] = joined
    return apart


def _first_of(span: list[int]) -> int:
    return span[0]


def _add(
    found: dict[Key, DayCount],
    machine: MachinePath,
    timestamps: Sequence[int],
    certain: Sequence[Sequence[float | None]],
    uncertain: Sequence[Sequence[float | None]],
) -> None:
    start = 0
    while start < len(timestamps):
        day = timestamps[start] // DAY_NS
        end = bisect_right(timestamps, (day + 1) * DAY_NS - 1, start)
        entry = found.get((machine, day))
        if entry is None:
            entry = found[machine, day] = DayCount()
        entry.certain += _count_numbers(certain, start, end)
        entry.uncertain += _count_numbers(uncertain, start, end)
        entry.last_ns = max(entry.last_ns, timestamps[end - 1])
        start = end


def _count_numbers(columns: Sequence[Sequence[float | None]], start: int, end: int) -> int:
    whole = columns and end - start == len(columns[0])
    parts = columns if whole else [column[start:end] for column in columns]
    return sum([len(part) - part.count(None) for part in parts])


def record_days(
    connection: Connection, counts: Mapping[Key, DayCount], now_ns: int, *, repeats: bool = False
) -> None:
    """Add to the rows, inside the caller's transaction; `repeats`: some of it was stored before."""
    if not counts:
        return
    statement = insert_into(connection, day_table)
    new = statement.excluded
    adding = statement.on_conflict_do_update(
        index_elements=["machine", "day"],
        set_={
            "certain": day_table.c.certain + new.certain,
            "uncertain": day_table.c.uncertain + new.uncertain,
            "last_ns": _larger(connection, day_table.c.last_ns, new.last_ns),
            "changed_ns": new.changed_ns,
        },
    )
    rows = [
        {
            "machine": str(machine),
            "day": day,
            "certain": 0 if repeats else one.certain,
            "uncertain": one.uncertain + (one.certain if repeats else 0),
            "last_ns": one.last_ns,
            "changed_ns": now_ns,
        }
        for (machine, day), one in counts.items()
    ]
    connection.execute(adding, rows)


def _larger(connection: Connection, one: Any, other: Any) -> Any:
    # SQLite calls by `max` what PostgreSQL calls `greatest`.
    return (func.greatest if connection.dialect.name == "postgresql" else func.max)(one, other)


def list_days(engine: Engine, *, first: int = 0, stale_before: int | None = None) -> list[DayRow]:
    """Return the rows from the day `first` on, by machine and day; raise `RecordsUnavailable`.

    With `stale_before` only those of earlier days that changed since the store was asked, or lack something.
    """
    names = [column for column in day_table.c if column.name != "last_ns"]
    query = select(*names).order_by(day_table.c.machine, day_table.c.day).where(day_table.c.day >= first)
    if stale_before is not None:
        stale = or_(
            day_table.c.checked_ns.is_(None),
            day_table.c.checked_ns < day_table.c.changed_ns,
            day_table.c.found < day_table.c.certain,
        )
        query = query.where(day_table.c.day < stale_before, stale)
    with begin_read(engine) as connection:
        return [DayRow(**row._asdict()) for row in connection.execute(query)]


def forget_days(engine: Engine, before: int) -> None:
    """Delete the rows of days before; raise `RecordsUnavailable`."""
    with begin_write(engine) as connection:
        connection.execute(delete(day_table).where(day_table.c.day < before))


def note_check(engine: Engine, row: DayRow, found: int, checked_ns: int) -> DayRow:
    """Write down what the store has of a machine's day; raise `RecordsUnavailable`."""
    where = (day_table.c.machine == row.machine, day_table.c.day == row.day)
    with begin_write(engine) as connection:
        connection.execute(update(day_table).where(*where).values(found=found, checked_ns=checked_ns))
    return msgspec.structs.replace(row, found=found, checked_ns=checked_ns)
