"""What the crew can find when it looks at an alert, as types: the book of it is `cloud.alerts.verdicts`."""

from typing import Literal

import msgspec

VerdictKind = Literal["real_fault", "false_alarm", "maintenance"]
VERDICT_WORDS: dict[VerdictKind, str] = {
    "real_fault": "Real fault",
    "false_alarm": "False alarm",
    "maintenance": "Maintenance",
}
NOTE_CHARS_MAX = 500


class Verdict(msgspec.Struct, frozen=True):
    """What `by` found. `failed_ns`: when the machine failed, was stopped, or passed a fixed limit."""

    kind: VerdictKind
    note: str
    by: str
    at_ns: int
    failed_ns: int | None = None

    def describe(self) -> str:
        """Say it in one line: `Real fault: bearing replaced`."""
        words = VERDICT_WORDS[self.kind]
        return f"{words}: {self.note}" if self.note else words


class AlarmCount(msgspec.Struct, frozen=True):
    """Alerts about a machine: `marked` false by somebody; `unreviewed`: cleared, and nobody took them on."""

    marked: int = 0
    unreviewed: int = 0

    @property
    def false(self) -> int:
        """How many count as false: nobody has found anything."""
        return self.marked + self.unreviewed
