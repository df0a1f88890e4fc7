"""The ledger for a person: what became of every value, where the records prove it and where they cannot."""

from collections.abc import Mapping
from typing import get_args

import msgspec
from sqlalchemy import Engine

from cloud.console.gaps import WORDS
from cloud.console.ledger_shapes import (
    BatchRange,
    DeadLetterReason,
    Drop,
    GapReasonRow,
    LedgerSheet,
    LetterDropRow,
    OutboxLedger,
    ReadBackSheet,
    Share,
    ShortDayRow,
)
from cloud.ingest.dead_letters import DeadLetters
from cloud.ingest.gaps import GapSum, account_gaps, list_gaps
from cloud.ingest.ledger import list_accounts
from cloud.ingest.letter_drops import list_drops
from cloud.ingest.read_back import ReadBackAccount, account_days
from cloud.ingest.verification import Verification, verify
from models.telemetry import GapReason

GAPS_SUMMED_MAX = 20_000
RANGES_SHOWN_MAX = 20
DROPS_SHOWN_MAX = 50
NS_PER_MS = 1_000_000


class LedgerBook:
    """Reads the ledger from the records."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> LedgerSheet:
        """Return all accounts, the worst first; raise `RecordsUnavailable`."""
        gaps = list_gaps(self._engine, count_max=GAPS_SUMMED_MAX)
        by_key = account_gaps(gaps)
        outboxes = [
            make_outbox(verify(one, by_key.get((one.gateway, one.epoch))))
            for one in list_accounts(self._engine)
        ]
        order = ("missing", "unreported", "complete")
        return LedgerSheet(
            outboxes=sorted(outboxes, key=lambda one: (order.index(one.verdict), one.gateway)),
            dead_letters=[
                DeadLetterReason(
                    gateway=one.gateway or "unknown",
                    reason=one.reason,
                    letters=one.letters,
                    waiting=one.waiting,
                )
                for one in DeadLetters(self._engine).count_reasons()
            ],
            letter_drops=[
                LetterDropRow(
                    gateway=one.gateway or "unknown", letters=one.letters, last_ms=one.last_ns // NS_PER_MS
                )
                for one in list_drops(self._engine)
            ],
            read_back=make_read_back(account_days(self._engine)),
            gaps_cut=len(gaps) == GAPS_SUMMED_MAX,
        )


def make_outbox(found: Verification) -> OutboxLedger:
    """Return the account of an outbox as it is shown."""
    return OutboxLedger(
        gateway=found.gateway,
        epoch=found.epoch,
        verdict="missing" if found.batches_missing else "complete" if found.reported else "unreported",
        produced=found.values_produced,
        batches_produced=found.batches_produced,
        shares=_make_shares(found),
        duplicates=found.batches_duplicate,
        missing=[BatchRange(first=first, last=last) for first, last in found.missing[:RANGES_SHOWN_MAX]],
        missing_ranges=len(found.missing),
        drops=[
            Drop(first=lost.first, last=lost.last, values=lost.values, reason=lost.reason)
            for lost in found.dropped[:DROPS_SHOWN_MAX]
        ],
        gaps=make_gap_rows(found.gaps.by_reason),
    )


def _make_shares(found: Verification) -> list[Share]:
    missing = found.batches_missing > 0
    return [
        Share(word="In the store", values=found.values_stored, batches=found.batches_stored),
        Share(word="Waiting at the gateway", values=found.values_waiting, batches=found.batches_waiting),
        Share(
            word="In the dead letters",
            values=found.values_dead_lettered,
            batches=found.batches_dead_lettered,
            trouble=found.values_dead_lettered > 0 or found.batches_dead_lettered > 0,
        ),
        Share(
            word="Given up by the gateway",
            values=found.values_dropped,
            batches=found.batches_dropped,
            trouble=found.batches_dropped > 0,
        ),
        Share(
            word="Missing", values=found.values_missing, batches=found.batches_missing, trouble=missing
        ),
    ]  # fmt: skip


def make_gap_rows(by_reason: Mapping[str, GapSum]) -> list[GapReasonRow]:
    """Return the gaps of each reason, those of the longest time first."""
    known = get_args(GapReason)
    rows = [
        GapReasonRow(
            reason=reason,
            words=WORDS[reason] if reason in known else reason,  # type: ignore[index]  # looked at just before
            count=found.count,
            seconds=found.seconds,
            values_missing=found.values_missing,
            values_filled=found.values_filled,
        )
        for reason, found in by_reason.items()
    ]
    return sorted(rows, key=lambda row: -row.seconds)


def make_read_back(found: ReadBackAccount) -> ReadBackSheet:
    """Return the read-back as it is shown."""
    return ReadBackSheet(
        days_asked=found.days_asked,
        days_changed=found.days_changed,
        stored=found.stored,
        found=found.found,
        missing=found.missing,
        days_short=found.days_short,
        asked_ms=found.asked_ns // NS_PER_MS if found.asked_ns else None,
        short=[ShortDayRow(**msgspec.structs.asdict(one)) for one in found.short],
    )
