"""Reads tags now and then of which a server with a deadband says nothing while their values rest."""

from collections.abc import Sequence

from edge.drivers.columns import Rows
from edge.drivers.opcua.client import OpcuaSession


class Heartbeats:
    """One bulk Read of some tags every `every_s`; what it says is held back for `hold_s`.

    The subscription may still hold older values of a tag, which must come before what was read.
    """

    def __init__(
        self, session: OpcuaSession, places: Sequence[int], *, every_s: float, hold_s: float, now_s: float
    ) -> None:
        self._session = session
        self._group = session.add_group(places)
        self._every_s = every_s
        self._hold_s = hold_s
        self._due_s = now_s + every_s
        self._held: Rows | None = None
        self._until_s = 0.0

    async def read(self, now_s: float) -> None:
        """Read the tags when their time has come; raise `NotConnected`."""
        if now_s < self._due_s or self._held is not None:
            return
        self._due_s = now_s + self._every_s
        self._held = await self._session.read(self._group)
        self._until_s = now_s + self._hold_s

    def take(self, now_s: float) -> Rows | None:
        """Return what was read, once it has been held for long enough."""
        if self._held is None or now_s < self._until_s:
            return None
        taken, self._held = self._held, None
        return taken
