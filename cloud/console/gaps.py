"""Gaps for a person: from when to when nothing was acquired of a machine, why, and what history gave back."""

from collections.abc import Sequence

from sqlalchemy import Engine

from cloud.console.shapes import GapRow
from cloud.console.words import say_span
from cloud.ingest.gaps import StoredGap, list_gaps
from models.telemetry import GapReason, MachinePath

NS_PER_MS = 1_000_000
GAPS_SHOWN_MAX = 200

WORDS: dict[GapReason, str] = {
    "connection_lost": "Connection lost",
    "overflow": "The machine's queue overflowed",
    "notifications_lost": "Messages of the machine were lost",
    "cycles_missed": "Polls fell out",
    "polling_stopped": "Polling was stopped",
    "memory_full": "The gateway's disk took nothing",
    "gateway_down": "The gateway did not run",
    "clock_unknown": "The gateway's clock was not set",
}


class GapRecords:
    """Reads gaps from the records."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_between(self, machine: MachinePath, from_ms: int, to_ms: int) -> list[GapRow]:
        """Return the newest gaps that reach into the span, the newest first; raise `RecordsUnavailable`."""
        found = list_gaps(
            self._engine,
            machine=machine,
            from_ns=from_ms * NS_PER_MS,
            to_ns=to_ms * NS_PER_MS,
            count_max=GAPS_SHOWN_MAX,
        )
        return make_rows(found)


def make_rows(gaps: Sequence[StoredGap]) -> list[GapRow]:
    """Return the gaps as they are shown."""
    return [
        GapRow(
            first_ms=one.gap.first / NS_PER_MS,
            last_ms=one.gap.last / NS_PER_MS,
            reason=one.gap.reason,
            words=WORDS[one.gap.reason],
            span=_say_span(one.gap.last - one.gap.first),
            detail=one.gap.detail,
            tags=one.gap.tags,
            values_missing=one.gap.values,
            values_filled=one.gap.filled,
            gateway=one.gateway,
        )
        for one in gaps
    ]


def _say_span(span_ns: int) -> str:
    seconds = span_ns / 1e9
    return say_span(seconds) if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"
