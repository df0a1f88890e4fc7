"""The proof: per gateway what was produced, what is stored, and what is missing, in a table or as JSON."""

from collections.abc import Iterable, Sequence

import msgspec

from cloud.ingest.gaps import GapAccount, GapSum
from cloud.ingest.ledger import EpochAccount
from models.telemetry import DroppedRange, SequenceRanges
from models.words import say_duration

RANGES_SHOWN_MAX = 5
MACHINES_SHOWN_MAX = 10


class Verification(msgspec.Struct, frozen=True):
    """One outbox's account, in values and batches. `reported` says whether its gateway ever gave a status:
    without one nobody knows what it produced. `gaps` is what the gateway could not acquire."""

    gateway: str
    epoch: str
    reported: bool
    values_produced: int
    values_stored: int
    values_waiting: int
    values_dead_lettered: int
    values_dropped: int
    values_missing: int
    batches_produced: int
    batches_stored: int
    batches_waiting: int
    batches_dead_lettered: int
    batches_dropped: int
    batches_missing: int
    batches_duplicate: int
    missing: list[tuple[int, int]]
    dropped: list[DroppedRange]
    gaps: GapAccount = GapAccount()


def verify(account: EpochAccount, gaps: GapAccount | None = None) -> Verification:
    """Return the account's sums. Waiting is what the gateway said last, less what has come since."""
    missing = account.missing()
    waiting = account.waiting.minus(account.stored).minus(account.dead_lettered)
    dropped = SequenceRanges((lost.first, lost.last) for lost in account.dropped)
    values_dropped = sum(lost.values for lost in account.dropped)
    # Values stored since the last status would otherwise count as waiting, too.
    accounted = account.values_stored + account.values_dead_lettered + values_dropped
    values_waiting = min(account.values_waiting, max(0, account.values_total - accounted))
    return Verification(
        gateway=account.gateway,
        epoch=account.epoch,
        reported=account.status_ns > 0,
        values_produced=max(account.values_total, accounted),
        values_stored=account.values_stored,
        values_waiting=values_waiting,
        values_dead_lettered=account.values_dead_lettered,
        values_dropped=values_dropped,
        values_missing=max(0, account.values_total - accounted - values_waiting) if missing.total else 0,
        batches_produced=max([account.sequence_last, *(last for _, last in account.stored)]),
        batches_stored=account.stored.total,
        batches_waiting=waiting.total,
        batches_dead_lettered=account.dead_lettered.total,
        batches_dropped=dropped.total,
        batches_missing=missing.total,
        batches_duplicate=account.duplicates,
        missing=list(missing),
        dropped=list(account.dropped),
        gaps=gaps or GapAccount(),
    )


def describe(verifications: Sequence[Verification]) -> str:
    """Return the accounts as a table for a person, with a sentence of what it means."""
    if not verifications:
        return "no gateway has sent anything yet"
    columns = (
        "gateway",
        "epoch",
        "in",
        "produced",
        "stored",
        "waiting",
        "dead-lettered",
        "dropped",
        "MISSING",
    )
    rows: list[tuple[str, ...]] = [columns]
    for one in verifications:
        rows.append(
            _row(one.gateway, one.epoch, "values", one.values_produced, one.values_stored, one.values_waiting)
            + _row(one.values_dead_lettered, one.values_dropped, one.values_missing)
        )
        rows.append(
            _row("", "", "batches", one.batches_produced, one.batches_stored, one.batches_waiting)
            + _row(one.batches_dead_lettered, one.batches_dropped, one.batches_missing)
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    lines = ["  ".join(_align(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_explain(verifications)])


def _row(*cells: str | int) -> tuple[str, ...]:
    return tuple(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)


def _align(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if at < 3 else cell.rjust(width)


def _explain(verifications: Sequence[Verification]) -> list[str]:
    lines: list[str] = []
    for one in verifications:
        whose = f"{one.gateway} (epoch {one.epoch})"
        if not one.reported:
            lines.append(f"{whose} has given no status yet: nobody knows what it produced")
        if one.batches_missing:
            lines.append(
                f"{whose}: batches {_say_ranges(one.missing)} were let go by the gateway and are not here"
            )
        lines.extend(
            f"{whose}: gave up batches {lost.first} to {lost.last} ({lost.values:,} values): {lost.reason}"
            for lost in one.dropped
        )
        lines += _explain_gaps(whose, one.gaps)
    repeats = sum(one.batches_duplicate for one in verifications)
    if repeats:
        lines.append(f"{repeats:,} batches came more than once and are stored once")
    missing = sum(one.batches_missing for one in verifications)
    return [*lines, "nothing is missing" if not missing else f"{missing:,} batches are MISSING"]


def _explain_gaps(whose: str, gaps: GapAccount) -> list[str]:
    """Say what was not acquired: in sum, why, and of which machines most."""
    if not gaps.total.count:
        return []
    reasons = ", ".join(f"{reason} {_say_sum(found)}" for reason, found in gaps.by_reason.items())
    lines = [f"{whose}: not acquired, and recorded: {_say_sum(gaps.total)}: {reasons}"]
    worst = sorted(gaps.by_machine.items(), key=lambda pair: -pair[1].seconds)
    lines += [f"    {machine}: {_say_sum(found)}" for machine, found in worst[:MACHINES_SHOWN_MAX]]
    if len(worst) > MACHINES_SHOWN_MAX:
        lines.append(f"    and {len(worst) - MACHINES_SHOWN_MAX} more machines (--json names all)")
    return lines


def _say_sum(found: GapSum) -> str:
    gaps = f"{found.count:,} gap" + ("" if found.count == 1 else "s")
    parts = [f"{gaps} of {say_duration(found.seconds)}"]
    if found.values_missing:
        parts.append(f"{found.values_missing:,} values known to be missing")
    if found.values_filled:
        parts.append(f"{found.values_filled:,} filled from history")
    return f"{parts[0]} ({', '.join(parts[1:])})" if parts[1:] else parts[0]


def _say_ranges(ranges: Sequence[tuple[int, int]]) -> str:
    shown = [
        f"{first}" if first == last else f"{first} to {last}" for first, last in ranges[:RANGES_SHOWN_MAX]
    ]
    more = len(ranges) - len(shown)
    return ", ".join(shown) + (f" and {more} more ranges" if more > 0 else "")
