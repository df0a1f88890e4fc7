"""The shelf of notifiers: what every channel promises, and what it is given to tell."""

from typing import Literal, Protocol

import msgspec

from cloud.alerts import Alert
from models.errors import ForewarnError

Occasion = Literal["raised", "escalated", "cleared", "history"]
"""`history` is no alert: what was found in values that came too late to be news."""

TellHistory = Literal["strange", "all", "never"]
"""Of which digests a channel is told: those with something strange in them, all, or none."""


class NotifierUnavailable(ForewarnError):
    """The channel does not take it now: keep the notice, wait, repeat. The message says why, and the mend."""


class NotifierRefused(ForewarnError):
    """The channel will never take this for this recipient: show the message to people, do not repeat."""


class Letter(msgspec.Struct, frozen=True):
    """An alert in words: `text` and `html` hold the same facts; the PNG `picture` is `cid:plot`."""

    subject: str
    text: str
    html: str
    picture: bytes | None = None


class Notice(msgspec.Struct, frozen=True):
    """What a channel is to tell. A repeat has the same `id`; `follows` is the id of the first one, if any.

    `alert` is None where the occasion is none: a digest of history.
    """

    id: str
    follows: str | None
    occasion: Occasion
    alert: Alert | None
    letter: Letter


class Notifier(Protocol):
    """Tells somebody about an alert. Calls may repeat: the notice's id makes a repeat recognisable."""

    async def send(self, notice: Notice, recipient: str) -> None:
        """Return once the channel accepted it; raise `NotifierUnavailable` or `NotifierRefused`. Bounded."""
