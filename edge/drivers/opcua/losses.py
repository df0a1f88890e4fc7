"""What subscriptions could not tell, as gaps: overflowed queues, lost messages, full memory. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from edge.drivers.columns import Overflow
from edge.drivers.news import Dropped
from models.telemetry import Gap, GapReason

_MENDS: dict[GapReason, str] = {
    "overflow": "the server's queue of a tag was too small: a larger queue_max, or a longer interval_s",
    "notifications_lost": "messages did not arrive, and the server has forgotten them: look at the network, "
    "and at how busy the server is",
    "memory_full": "the server tells more than the gateway takes: a longer interval_s, or fewer tags",
}


def explain_loss(cause: GapReason) -> str:
    """Return what the cause means and what mends it, for a person."""
    return _MENDS.get(cause, cause)


class LostMessages(msgspec.Struct):
    """Messages of one subscription that are missing between the timestamps of those around them."""

    places: Sequence[int]
    first_ns: int
    last_ns: int
    lost: int = 0


class Losses:
    """Gaps until they are taken: one for each reason, so that they are bounded whatever a server does."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = tags
        self._gaps: dict[GapReason, Gap] = {}

    @property
    def causes(self) -> list[GapReason]:
        """Why something is missing since the last call of `take`."""
        return list(self._gaps)

    def take(self) -> list[Gap]:
        """Return the gaps since the last call."""
        gaps, self._gaps = list(self._gaps.values()), {}
        return gaps

    def note_overflows(self, overflows: Sequence[Overflow]) -> None:
        """The server's queues of some tags were too small; each mark stands for one value or more."""
        if not overflows:
            return
        self._add(
            Gap(
                first=min(one.first_ns or one.last_ns for one in overflows),
                last=max(one.last_ns for one in overflows),
                reason="overflow",
                tags=self._name(one.place for one in overflows),
                values=len(overflows),
                detail="at least so many: the server marks that its queue of a tag overflowed, not how often",
            )
        )

    def note_messages(self, lost: LostMessages) -> None:
        """Messages did not come, nor when they were asked for once more."""
        self._add(
            Gap(
                first=lost.first_ns or lost.last_ns,
                last=lost.last_ns,
                reason="notifications_lost",
                tags=self._name(lost.places),
                detail=f"{lost.lost} message{'s' * (lost.lost != 1)} missing by their numbers, and not kept "
                "by the server to be asked for again",
            )
        )

    def note_dropped(self, dropped: Dropped) -> None:
        """Our own memory of untaken values was full."""
        self._add(
            Gap(
                first=dropped.first_ns,
                last=dropped.last_ns,
                reason="memory_full",
                values=dropped.values,
                detail="the server told more than the gateway took",
            )
        )

    def _name(self, places: Iterable[int]) -> list[str]:
        named = {self._tags[place] for place in places}
        return [] if len(named) == len(self._tags) else sorted(named)

    def _add(self, gap: Gap) -> None:
        before = self._gaps.get(gap.reason)
        self._gaps[gap.reason] = _order(gap) if before is None else _merge(before, gap)


def _order(gap: Gap) -> Gap:
    """Return the gap with its ends in order, as tags of unequal clocks may disagree about them.

    There is an instant between them, however little is known: a gap that holds none is not recorded.
    """
    first, last = sorted((gap.first, gap.last))
    return msgspec.structs.replace(gap, first=min(first, last - 2), last=last)


def _merge(one: Gap, other: Gap) -> Gap:
    other = _order(other)
    known = [gap.values for gap in (one, other) if gap.values is not None]
    return msgspec.structs.replace(
        other,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        tags=sorted({*one.tags, *other.tags}) if one.tags and other.tags else [],
        values=sum(known) if known else None,
        detail=one.detail if one.detail == other.detail else f"{one.detail}; {other.detail}"[-300:],
    )
