"""The nightly read-back: asks the store how many values it has, and holds that against our own count."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine, and_, case, func, select

from cloud.ingest.day_counts import (
    DAY_NS,
    DAYS_KEPT_MAX,
    DayRow,
    day_table,
    forget_days,
    list_days,
    note_check,
)
from cloud.stores import StoreReader
from cloud.transactions import begin_read
from models.telemetry import MachinePath

log = structlog.get_logger()

SETTLE_NS = 2 * 3_600_000_000_000
"""After midnight (UTC): what gateways sent late by then is in."""
PART_NS = 3_600_000_000_000
LINES_MAX = 20

Stopped = Callable[[], bool]


class ShortDay(msgspec.Struct, frozen=True):
    """A machine's day (UTC) of which the store has fewer values than it said it had."""

    machine: str
    day: str
    stored: int
    found: int
    missing: int


class ReadBackAccount(msgspec.Struct, frozen=True):
    """What the store said when it was asked last: `found` values of at least `stored` in `days_asked`.

    `days_changed` machine-days were not asked since values came. `short` are the worst of `days_short`.
    """

    days_asked: int
    days_changed: int
    stored: int
    found: int
    days_short: int
    missing: int
    asked_ns: int
    short: list[ShortDay]


def read_back(
    engine: Engine,
    reader: StoreReader,
    *,
    now_ns: int,
    keeps_days: int | None,
    today: bool = False,
    stopped: Stopped = lambda: False,
) -> list[DayRow]:
    """Ask the store for each machine and day that changed since it was asked, and return what it said.

    Days that its retention (`keeps_days`) has begun to delete are left out, the running one unless `today`.
    Raises `StoreUnavailable` or `RecordsUnavailable`; what was asked before is noted.
    """
    end = now_ns // DAY_NS + 1 if today else (now_ns - SETTLE_NS) // DAY_NS
    first = 0 if keeps_days is None else now_ns // DAY_NS - keeps_days + 1
    checked: list[DayRow] = []
    for row in list_days(engine, first=first, stale_before=end):
        if stopped():
            break
        # Noted with the time before the question: what is stored meanwhile is asked for the next time.
        asked_ns = time.time_ns()
        checked.append(note_check(engine, row, count_stored(reader, row), asked_ns))
    forget_days(engine, now_ns // DAY_NS - DAYS_KEPT_MAX)
    return checked


def count_stored(reader: StoreReader, row: DayRow) -> int:
    """Return how many numbers the store has of a machine's day, an hour at a time."""
    machine, start = MachinePath.parse(row.machine), row.day * DAY_NS
    total = 0
    for begin in range(start, start + DAY_NS, PART_NS):
        table = reader.read("telemetry", machine, begin, begin + PART_NS)
        total += sum(int((column == column).sum()) for column in table.values.values())  # noqa: PLR0124  # only NaN differs from itself
    return total


def account_days(engine: Engine) -> ReadBackAccount:
    """Return what all read-backs so far add up to; raise `RecordsUnavailable`."""
    table = day_table.c
    asked = and_(table.found.is_not(None), table.checked_ns >= table.changed_ns)
    lacks = and_(asked, table.found < table.certain)

    def add(condition: Any, what: Any = 1) -> Any:
        return func.coalesce(func.sum(case((condition, what), else_=0)), 0)

    sums = select(
        func.count(),
        add(asked),
        add(asked, table.certain),
        add(asked, table.found),
        add(lacks),
        add(lacks, table.certain - table.found),
        func.coalesce(func.max(table.checked_ns), 0),
    )
    worst = select(day_table).where(lacks).order_by((table.certain - table.found).desc()).limit(LINES_MAX)
    with begin_read(engine) as connection:
        days, asked_days, stored, there, short_days, missing, asked_ns = map(
            int, connection.execute(sums).one()
        )
        short = [
            ShortDay(row.machine, say_day(row.day), row.certain, row.found, row.certain - row.found)
            for row in connection.execute(worst)
        ]
    return ReadBackAccount(asked_days, days - asked_days, stored, there, short_days, missing, asked_ns, short)


def say_mismatches(rows: Sequence[DayRow]) -> str:
    """Return what is missing, for a person; empty when nothing is."""
    short = [row for row in rows if row.missing]
    if not short:
        return ""
    worst = max(short, key=lambda row: row.missing)
    return (
        f"the store lacks at least {sum(row.missing for row in short):,} values of {len(short)} machine-days "
        f"that it said it had, most of {worst.machine} on {say_day(worst.day)}: {worst.found or 0:,} of "
        f"{worst.certain:,}; look at the database's own log and retention (forewarn cloud verify lists all)"
    )


def describe(rows: Sequence[DayRow]) -> list[str]:
    """Return lines for `forewarn cloud verify`: what was read back, and every day that lacks values."""
    asked = [row for row in rows if row.is_checked]
    if not asked:
        return ["read back: the store was not asked yet; it is each night, or now with --read-back"]
    later = f", {len(rows) - len(asked)} not asked since they changed" if len(rows) > len(asked) else ""
    short = [row for row in asked if row.missing]
    lines = [
        f"read back: {row.machine} on {say_day(row.day)}: {row.found or 0:,} values in the store, "
        f"{row.certain:,} were stored: {row.missing:,} MISSING"
        for row in short[:LINES_MAX]
    ]
    if len(short) > LINES_MAX:
        lines.append(f"read back: and {len(short) - LINES_MAX} more machine-days")
    found, certain = sum(row.found or 0 for row in asked), sum(row.certain for row in asked)
    verdict = f"{len(short)} lack values" if short else "none lacks any"
    return [
        *lines,
        f"read back: {len(asked)} machine-days, {found:,} values found of {certain:,}: {verdict}{later}",
    ]


def say_day(day: int) -> str:
    """Return a day since 1970 as a date."""
    return datetime.fromtimestamp(day * DAY_NS / 1e9, UTC).strftime("%Y-%m-%d")
