"""What the agent asks of whoever answers for the values on their way out of the outbox."""

import asyncio
from typing import Protocol

from edge.outbox.outbox import Put


class Carrier(Protocol):
    """Carries batches to somebody else, and has the outbox let go of what that somebody answers for."""

    connected: asyncio.Event
    fresh: asyncio.Event

    @property
    def certificate_shown(self) -> bytes | None:
        """What the broker showed at the last connect over TLS (DER)."""

    @property
    def delivery_trouble(self) -> str:
        """Why nothing is delivered although the broker is there; empty while all is well."""

    async def run(self) -> None:
        """Carry for ever."""

    def take_put(self, put: Put) -> None:
        """Carry what was just committed, and forget what was dropped for it."""

    def publish_status(self, payload: bytes) -> asyncio.Future[int]:
        """Publish the gateway's status; raise `LinkDown` where that cannot be."""

    async def drain(self, timeout_s: float) -> None:
        """Return when what was sent is taken care of, at latest after `timeout_s`."""

    async def release_receipted(self) -> None:
        """Delete from the outbox what others answer for; raise `OutboxUnavailable`."""
