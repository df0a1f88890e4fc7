"""Says of one machine what a person should mend, each thing once, or once a day, over all reconnects."""

from collections.abc import Sequence
from datetime import date

import structlog

NAMED_MAX = 20
"""So many tags are named in one line of the log."""

log = structlog.get_logger()


def name_tags(names: Sequence[str]) -> dict[str, object]:
    """Return what a line of the log says of some tags: the first ones by name, and how many there are."""
    return {"tags": [*names[:NAMED_MAX], *["..."] * (len(names) > NAMED_MAX)], "count": len(names)}


class Sayings:
    """What has been said of one machine."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._said: set[tuple[str, str]] = set()
        self._days: dict[tuple[str, str], date] = {}

    def has_said(self, event: str, about: str = "") -> bool:
        """Return whether this was said of `about` before."""
        return (event, about) in self._said

    def warn_once(self, event: str, about: str = "", /, **facts: object) -> None:
        """Write a warning, unless it was written before."""
        if not self.has_said(event, about):
            self._said.add((event, about))
            log.warning(event, machine=self._machine, **facts)

    def warn_daily(self, today: date, event: str, about: str = "", /, **facts: object) -> None:
        """Write a warning of something that goes on, unless it was written today."""
        if self._days.get((event, about)) != today:
            self._days[event, about] = today
            log.warning(event, machine=self._machine, **facts)
