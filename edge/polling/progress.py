"""Whether the gateway's loops still turn: what a watchdog may be fed on."""

DISK = "the outbox"
LINK = "the broker"


class Progress:
    """Every loop says by when it will have turned again; one that has not is overdue.

    A machine that is switched off makes its poller no less alive: trying in vain is a turn too. Only what a
    restart can mend counts: a loop that hangs. A loop that may wait for ever (a subscription without news)
    promises nothing.
    """

    def __init__(self) -> None:
        self._due: dict[str, float | None] = {}

    def promise(self, loop: str, now_s: float, within_s: float | None) -> None:
        """`loop` has turned, and will have turned again within so many seconds."""
        self._due[loop] = None if within_s is None else now_s + within_s

    def forget(self, loop: str) -> None:
        """`loop` has ended."""
        self._due.pop(loop, None)

    def list_overdue(self, now_s: float) -> list[str]:
        """Return the loops that have not turned in time."""
        return sorted(loop for loop, due in self._due.items() if due is not None and due < now_s)

    def explain_standstill(self, now_s: float) -> str:
        """Return why nothing moves any more; empty while values are read, brought to the disk *and* sent.

        One machine whose driver hangs costs the others nothing: as long as any poller turns, so does the
        gateway, and restarting it would only interrupt them.
        """
        overdue = set(self.list_overdue(now_s))
        if DISK in overdue:
            return "no flush to the outbox has ended: does the disk hang?"
        if LINK in overdue:
            return "the link to the broker stands, and nothing that it was given has been answered"
        pollers = self._due.keys() - {DISK, LINK}
        if pollers and pollers <= overdue:
            return "no machine's poller has turned in time"
        return ""
