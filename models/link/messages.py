"""What goes over a link, what it says of itself, and how it refuses."""

import msgspec

from models.errors import ForewarnError


class LinkDown(ForewarnError):
    """There is no connection to the broker now: keep the message and publish it when there is one."""


class PacketTooLarge(LinkDown):
    """This broker takes no packet of that size: send less at once, or nothing."""


class LinkMessage(msgspec.Struct, frozen=True):
    """A message that came in. Give it back to `Link.acknowledge` once somebody else answers for it."""

    topic: str
    payload: bytes
    mid: int
    qos: int


class LinkState(msgspec.Struct, frozen=True):
    """Whether the broker is there, and if not, why: `reason` is for a person."""

    connected: bool
    reason: str


class Will(msgspec.Struct, frozen=True):
    """What the broker publishes for us when we vanish."""

    topic: str
    payload: bytes
    retain: bool = True
