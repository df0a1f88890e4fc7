"""Decides whether the gateway's wall clock can be believed. Pure: both clocks come in as arguments."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

NS_PER_S = 1_000_000_000
BUILT_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01: no gateway has ever run this program before."""
SLACK_S = 300
"""The clock may be behind what it showed before by this much: time services set clocks back a little."""
AHEAD_S = 86_400
"""A clock that jumps ahead by more, and that nobody synchronises, was not set but broken."""
STEP_S = 1
"""A clock that is only slewed moves by far less from one look to the next."""
PATIENCE_S = 600
"""So long values wait for a clock that only may be wrong: maybe it is now that it is right."""
FIRST_SYNC_S = 120.0
"""So long after the computer's start a clock that is to be synchronised may take to be."""

Doubt = Literal["", "behind", "ahead", "unset"]
"""Behind: it shows less than it has shown. Ahead: it jumped. Unset: the computer has just started."""


class ClockJudge:
    """Looks at the wall clock (`now_ns`) beside a steady one that began with the computer (`boot_ns`).

    `floor_ns`: a clock that says less is wrong. `is_synchronised` says whether a time service keeps it (None:
    nobody can say), and is asked only in doubt: many plants have none, and their clocks are right all the
    same. `first_sync_s` after the computer's start a clock that is not synchronised yet is in doubt.
    """

    def __init__(
        self,
        floor_ns: int = BUILT_NS,
        *,
        is_synchronised: Callable[[], bool | None] = lambda: None,
        first_sync_s: float = 0.0,
    ) -> None:
        self.floor_ns = floor_ns
        self.doubt: Doubt = ""
        self.settled_ns: int | None = None
        """When the last doubt ended, by the steady clock."""
        self.steps_total = 0
        """How often a clock that was believed all along was set."""
        self.step_ns = 0
        """By how much it was set the last time."""
        self.moved_ns = 0
        """By how much the clock moved when the last doubt ended."""
        self.is_believed_unproven = False
        """Whether the last doubt ended because nobody set the clock for `PATIENCE_S`."""
        self._is_synchronised = is_synchronised
        self._first_sync_ns = round(first_sync_s * NS_PER_S)
        self._offset_ns: int | None = None
        self._offset_before_ns: int | None = None
        """What was believed before the clock last went ahead."""
        self._doubted_offset_ns = 0
        self._since_ns = 0

    def look(self, now_ns: int, boot_ns: int) -> bool:
        """Return whether the wall clock can be believed now."""
        before = self.doubt
        self.doubt = self._find_doubt(now_ns, boot_ns)
        if self.doubt != before:
            self._since_ns = boot_ns
        if self.doubt and now_ns >= BUILT_NS and boot_ns - self._since_ns > PATIENCE_S * NS_PER_S:
            self.doubt, self.is_believed_unproven = "", True
            self.floor_ns = now_ns
        elif before and not self.doubt:
            self.is_believed_unproven = False
        offset_ns = now_ns - boot_ns
        if self.doubt:
            self._doubted_offset_ns = offset_ns
        else:
            if not before and self._offset_ns is not None:
                self._note_step(offset_ns - self._offset_ns)
                if offset_ns - self._offset_ns > SLACK_S * NS_PER_S:
                    self._offset_before_ns = self._offset_ns
            self._offset_ns = offset_ns
            self.floor_ns = max(self.floor_ns, now_ns - SLACK_S * NS_PER_S)
            if before:
                self.settled_ns = boot_ns
                self.moved_ns = offset_ns - self._doubted_offset_ns
        return not self.doubt

    def _note_step(self, by_ns: int) -> None:
        if abs(by_ns) >= STEP_S * NS_PER_S:
            self.steps_total += 1
            self.step_ns = by_ns

    def estimate_ns(self, now_ns: int, boot_ns: int) -> int:
        """Return what time it likely is: by the offset last believed where the clock has jumped ahead."""
        if self.doubt == "ahead" and self._offset_ns is not None:
            return boot_ns + self._offset_ns
        return now_ns

    def _find_doubt(self, now_ns: int, boot_ns: int) -> Doubt:
        if now_ns < BUILT_NS:
            return "behind"
        doubt: Doubt = ""
        if now_ns < self.floor_ns:
            doubt = "behind"
            if self._is_as_before(now_ns - boot_ns):
                self.floor_ns = min(self.floor_ns, now_ns)
                return ""
        elif self._offset_ns is not None and now_ns - boot_ns - self._offset_ns > AHEAD_S * NS_PER_S:
            doubt = "ahead"
        elif boot_ns < self._first_sync_ns and self._offset_ns is None:
            return "unset" if self._is_synchronised() is False else ""
        if not doubt:
            return ""
        if self._is_synchronised():
            # A time service answers for it: what the clock showed before was wrong.
            self.floor_ns = min(self.floor_ns, now_ns)
            return ""
        return doubt

    def _is_as_before(self, offset_ns: int) -> bool:
        """Whether the clock shows again what it did before it went ahead: that was the mistake, then."""
        before_ns = self._offset_before_ns
        return before_ns is not None and abs(offset_ns - before_ns) <= SLACK_S * NS_PER_S


def find_floor(outbox: Path) -> int:
    """Return the earliest time that the clock can show: this program is not older, nor is the outbox."""
    written = [BUILT_NS]
    for path in (outbox, outbox.with_name(f"{outbox.name}-wal")):
        try:
            written.append(path.stat().st_mtime_ns - SLACK_S * NS_PER_S)
        except OSError:  # there is none yet
            continue
    return max(written)
