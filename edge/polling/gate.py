"""Stops all polling while the outbox takes nothing more (outbox.when_full: stop_polling)."""

from edge.drivers import Driver, NotConnected
from models.telemetry import Frame

OPEN_AGAIN_SHARE = 0.9  # of the outbox's cap: with less room it would only close again at the next flush


class PollingStopped(NotConnected):
    """We do not want to read now: like `NotConnected`, and no fault of the machine's."""


class PollingGate:
    """Open, or closed for a reason."""

    def __init__(self) -> None:
        self.reason = ""

    def close(self, reason: str) -> None:
        """Let nobody poll."""
        self.reason = reason

    def review(self, used_bytes: int, bytes_max: int) -> None:
        """Open again when there is room worth polling for."""
        if self.reason and used_bytes <= OPEN_AGAIN_SHARE * bytes_max:
            self.reason = ""


class GatedDriver:
    """A driver that is not connected while the gate is closed: the poller waits, says why, comes again."""

    def __init__(self, driver: Driver, gate: PollingGate) -> None:
        self._driver = driver
        self._gate = gate

    @property
    def interval_s(self) -> float | None:
        """See `Driver`."""
        return self._driver.interval_s

    async def connect(self) -> None:
        """See `Driver`."""
        self._look()
        await self._driver.connect()

    async def read(self) -> list[Frame]:
        """See `Driver`."""
        self._look()
        return await self._driver.read()

    async def close(self) -> None:
        """See `Driver`."""
        await self._driver.close()

    def _look(self) -> None:
        if self._gate.reason:
            raise PollingStopped(f"polling is stopped: {self._gate.reason}")
