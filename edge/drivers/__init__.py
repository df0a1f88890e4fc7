"""The shelf of drivers: what every driver promises, and the list of them."""

from typing import Protocol

from models.errors import ForewarnError
from models.telemetry import Frame


class NotConnected(ForewarnError):
    """The machine cannot be reached now: close, wait, connect again. The message says why, for a person."""


class Driver(Protocol):
    """One connection to one machine. The poller owns its loop: a driver never retries, sleeps or spawns.

    A bad tag is no error: it comes back as None with its quality, and the other tags beside it.
    Timestamps are nanoseconds since 1970 UTC, strictly ascending within a frame.
    """

    interval_s: float | None
    """How often to call `read`; None when `read` itself waits for the machine's news (a subscription)."""

    async def connect(self) -> None:
        """Open the connection and resolve the tags' addresses; raise `NotConnected`."""

    async def read(self) -> list[Frame]:
        """Return what was observed since the last call (one poll, or the next news); raise `NotConnected`."""

    async def close(self) -> None:
        """Close the connection; never raises, may be called twice and before `connect`."""
