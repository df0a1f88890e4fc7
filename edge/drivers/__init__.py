"""The shelf of drivers: what every driver promises, and the list of them."""

from typing import Protocol, runtime_checkable

from models.errors import ForewarnError
from models.telemetry import Frame, Gap


class NotConnected(ForewarnError):
    """The machine cannot be reached now: close, wait, connect again. The message says why, for a person."""


class HistoryRefused(ForewarnError):
    """The machine keeps no history of its values, or does not give it out: the gap stays as it is."""


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


@runtime_checkable
class TellsGaps(Protocol):
    """A driver that can know of itself that something is missing: a queue overflowed, a message was lost."""

    def take_gaps(self) -> list[Gap]:
        """Return the gaps found since the last call, and forget them."""


@runtime_checkable
class TellsSilence(Protocol):
    """A driver by subscription whose machine gives signs of life while it has no news."""

    def read_silence_s(self) -> float:
        """Return for how long nothing was heard, not even a sign of life; inf without a connection."""


@runtime_checkable
class ExplainsTags(Protocol):
    """A driver that knows more of its bad tags than their qualities say."""

    def explain_tags(self) -> dict[str, str]:
        """Return the machine's own word on tags that have no value now, in few words for a person."""


@runtime_checkable
class HasHistory(Protocol):
    """A driver whose machine may keep what the gateway missed."""

    async def read_history(self, first_ns: int, last_ns: int) -> list[Frame]:
        """Return what the machine remembers of its tags between the two instants, both exclusive.

        Raises `HistoryRefused` when it keeps none, `NotConnected` when it cannot be reached.
        """
