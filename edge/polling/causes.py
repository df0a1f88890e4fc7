"""Why a gap began, and what followed while it was open. Pure."""

from typing import NamedTuple

import msgspec

from models.telemetry import Gap, GapReason
from models.telemetry.gap import GAP_DETAIL_CHARS_MAX

CAUSES_MAX = 8
GROW_FIRST_S = 15.0
GROW_S_MAX = 600.0
"""A gap that is still open is recorded as far as it has come after 15 s, 30 s, ..., then every 10 min."""


class Cause(NamedTuple):
    """One reason, in words too, since an instant of the steady clock."""

    reason: GapReason
    detail: str
    since_mono_ns: int


class Loss(msgspec.Struct):
    """A gap that has begun at `first_ns`; 0 while the clock is wrong: then only `begun_mono_ns` is known.

    `back_mono_ns`: since when the machine answers again, None while it does not.
    """

    first_ns: int
    begun_mono_ns: int
    causes: list[Cause]
    told: Cause | None = None
    grow_at_s: float = GROW_FIRST_S
    back_mono_ns: int | None = None

    def add(self, cause: Cause) -> None:
        """Say it again; the reason may change."""
        self.back_mono_ns = None
        if self.causes[-1][:2] != cause[:2] and len(self.causes) < CAUSES_MAX:
            self.causes.append(cause)

    def choose_cause(self, mono_ns: int) -> Cause:
        """Return what is recorded as the reason: the same from the first record on."""
        return self.told or choose_cause(self.causes, mono_ns)

    def is_due(self, mono_ns: int) -> bool:
        """Return whether it has grown by so much that it is to be recorded again."""
        open_s = (mono_ns - self.causes[0].since_mono_ns) / 1e9
        if open_s < self.grow_at_s:
            return False
        while self.grow_at_s <= open_s:
            self.grow_at_s += min(self.grow_at_s, GROW_S_MAX)
        return True


class Waiting(NamedTuple):
    """A gap that ended while the clock was wrong, by the steady clock; `first_ns` where that is known."""

    first_ns: int
    first_mono_ns: int
    last_mono_ns: int
    reason: GapReason
    detail: str

    def place(self, offset_ns: int) -> Gap | None:
        """Return the gap by the clock that shows so much more; None for one that holds no instant."""
        last_ns = self.last_mono_ns + offset_ns
        first_ns = self.first_ns if 0 < self.first_ns < last_ns else self.first_mono_ns + offset_ns
        return Gap(first_ns, last_ns, self.reason, detail=self.detail) if last_ns - first_ns > 1 else None


def choose_cause(causes: list[Cause], mono_ns: int) -> Cause:
    """Return what lasted longest of the causes that followed each other; the others go into its words."""
    ends = [cause.since_mono_ns for cause in causes[1:]] + [mono_ns]
    spans = [end - cause.since_mono_ns for cause, end in zip(causes, ends, strict=True)]
    chosen = causes[spans.index(max(spans))]
    others = [cause.detail for cause in causes if cause.detail != chosen.detail]
    detail = "; also: ".join([chosen.detail, *dict.fromkeys(others)])
    return chosen._replace(detail=detail[:GAP_DETAIL_CHARS_MAX])


def join_waiting(one: Waiting, other: Waiting) -> Waiting:
    """Return one gap that covers two which follow each other, and what is between."""
    return other._replace(first_ns=one.first_ns, first_mono_ns=one.first_mono_ns)
