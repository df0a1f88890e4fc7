"""Says once that the broker or the cloud is away, what is kept meanwhile, and once that it is back."""

from collections.abc import Callable

import structlog

from edge.publishing.limits import Trouble
from models.words import say_duration

TROUBLE_MENDS: dict[Trouble, tuple[str, str]] = {
    "no_subscribers": (
        "nobody subscribes to this gateway's batches",
        "is forewarn cloud running, with the same namespace and broker?",
    ),
    "silent": (
        "the broker takes batches but no receipt says that they are stored",
        "is forewarn cloud running, and its store?",
    ),
}

REFUSAL_MENDS = {  # by the reason code of the PUBACK
    135: ("not authorized", "does its access list let this user write below <namespace>/v1/<gateway>/?"),
    144: ("topic name invalid", "which topics does the broker allow?"),
    149: ("packet too large", "raise its packet limit, or lower outbox.payload_bytes_max"),
    151: ("quota exceeded", "raise its quota for this user"),
}
REASONS_MAX = 8  # that one outage is told with

log = structlog.get_logger()


class Outage:
    """Says once that something fails and why, and once that it works again and for how long it did not."""

    def __init__(self, failing: str, working: str) -> None:
        self._failing = failing
        self._working = working
        self._since: float | None = None

    def begin(self, now: float, reason: str, **facts: str) -> None:
        """It fails; from the second time on nothing is said."""
        if self._since is None:
            self._since = now
            log.warning(self._failing, reason=reason, **facts)

    def end(self, now: float) -> None:
        """It works."""
        if self._since is not None:
            log.info(self._working, after=say_duration(now - self._since))
            self._since = None


class LinkNews:
    """`describe_keeping` says what the outbox holds and, once `is_room_known`, for how long there is room."""

    def __init__(self, describe_keeping: Callable[[], str], is_room_known: Callable[[], bool]) -> None:
        self._describe_keeping = describe_keeping
        self._is_room_known = is_room_known
        self.delivery_trouble = ""
        """What hinders delivery although the broker is there, and the mend."""
        self._owes_room = False
        self._connected = False
        self._lost_at: float | None = None
        self._reasons: set[str] = set()
        self._trouble: Trouble = ""
        self._trouble_at = 0.0

    def tell_connected(self, now: float) -> None:
        """The broker is there."""
        if self._lost_at is not None:
            log.info("broker_back", after=say_duration(now - self._lost_at))
        elif not self._connected:
            log.info("broker_connected")
        self._connected, self._lost_at, self._owes_room = True, None, False

    def tell_lost(self, reason: str, now: float) -> None:
        """The broker is not there, or does not want us."""
        if self._lost_at is None:
            self._lost_at = now
            self._connected = False
            self._owes_room = not self._is_room_known()
            self._reasons = {reason}
            log.warning("broker_lost", reason=reason, keeping=self._describe_keeping())
        elif reason not in self._reasons and len(self._reasons) < REASONS_MAX:
            # It may first be down and then refuse our password: waiting would not mend the second.
            self._reasons.add(reason)
            log.warning("broker_still_lost", reason=reason, since=say_duration(now - self._lost_at))

    def tell_trouble(self, trouble: Trouble, now: float, code: int = 0) -> None:
        """What hinders delivery although the broker is there; an empty word when nothing does.

        `code` is the PUBACK's, where the broker refuses.
        """
        if trouble and not self._trouble:
            self._trouble_at = now
            reason, mend = explain_refusal(code) if trouble == "refused" else TROUBLE_MENDS[trouble]
            self.delivery_trouble = f"{reason}: {mend}"
            self._owes_room = not self._is_room_known()
            log.warning("delivery_waits", reason=reason, mend=mend, keeping=self._describe_keeping())
        elif self._trouble and not trouble:
            self.delivery_trouble, self._owes_room = "", False
            log.info("delivery_goes_on", after=say_duration(now - self._trouble_at))
        self._trouble = trouble

    def tell_put(self) -> None:
        """Values were put into the outbox: say how long there is room, if that was not known at the loss."""
        if self._owes_room and self._is_room_known():
            self._owes_room = False
            log.info("outbox_fills", keeping=self._describe_keeping())


def explain_refusal(code: int) -> tuple[str, str]:
    """Return why the broker refuses batches, and the mend."""
    name, mend = REFUSAL_MENDS.get(code, ("no reason given", "ask who runs the broker"))
    return f"the broker refuses this gateway's batches: {name} (PUBACK {code})", mend
