"""Tells the cloud, by a retained message, how this gateway fares."""

import asyncio
import time
from contextlib import suppress
from importlib.metadata import version

import structlog

from edge.clock import CLOCK_MEND, is_clock_synchronised
from edge.machine_states import MachineStates
from edge.outbox_file import OutboxUnavailable
from edge.outbox_thread import OutboxThread
from edge.publisher import Publisher
from models.link import LinkDown
from models.telemetry import Status, encode_status
from models.telemetry.ranges import Range

STATUS_S = 2.0
STATUS_S_MAX = 10.0
CLOCK_S = 60.0
GOODBYE_TIMEOUT_S = 2.0
WAITING_RANGES_MAX = 1_000

log = structlog.get_logger()


class StatusReporter:
    """Publishes the status at every connect, when it changed (every 2 s at most) and every 10 s at least."""

    def __init__(
        self, gateway: str, outbox: OutboxThread, states: MachineStates, publisher: Publisher
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._states = states
        self._publisher = publisher
        self._version = version("forewarn")
        self._clock_checked_at = float("-inf")
        self._clock_synchronised: bool | None = None

    async def run(self) -> None:
        """Report for ever."""
        loop = asyncio.get_running_loop()
        said: Status | None = None
        said_at = 0.0
        while True:
            self._check_clock(loop.time())
            if self._publisher.fresh.is_set():  # the broker may have published our will meanwhile
                self._publisher.fresh.clear()
                said = None
            if self._publisher.connected.is_set():
                status = await self.compose("online")
                changed = said is None or _without_time(status) != _without_time(said)
                if changed or loop.time() - said_at >= STATUS_S_MAX:
                    with suppress(LinkDown):
                        self._publisher.publish_status(encode_status(status))
                        said, said_at = status, loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(STATUS_S):
                    await self._publisher.fresh.wait()

    async def say_goodbye(self) -> None:
        """Leave the last status, offline, with the broker, if there is one."""
        with suppress(LinkDown, TimeoutError, OutboxUnavailable):
            status = await self.compose("offline")
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self._publisher.publish_status(encode_status(status))

    async def compose(self, state: str) -> Status:
        """Return the status as of now."""
        totals = await self._outbox.totals()
        return Status(
            v=1,
            gateway=self._gateway,
            state="online" if state == "online" else "offline",
            timestamp=time.time_ns(),
            epoch=totals.epoch,
            sequence_last=totals.sequence_last,
            values_total=totals.values_total,
            waiting=limit_ranges(totals.waiting, WAITING_RANGES_MAX),
            waiting_values=totals.waiting_values,
            waiting_bytes=totals.waiting_bytes,
            dropped=totals.dropped,
            machines=self._states.list_all(),
            clock_synchronised=self._clock_synchronised,
            version=self._version,
        )

    def _check_clock(self, now: float) -> None:
        if now - self._clock_checked_at < CLOCK_S:
            return
        self._clock_checked_at = now
        before, self._clock_synchronised = self._clock_synchronised, is_clock_synchronised()
        if self._clock_synchronised is False and before is not False:
            log.warning("clock_not_synchronised", reason="clock not synchronised", mend=CLOCK_MEND)
        elif self._clock_synchronised and before is False:
            log.info("clock_synchronised")


def make_will(gateway: str) -> bytes:
    """Return the status that the broker publishes for a gateway that vanished."""
    return encode_status(Status(v=1, gateway=gateway, state="offline", timestamp=time.time_ns()))


def limit_ranges(ranges: list[Range], ranges_max: int) -> list[Range]:
    """Return at most `ranges_max` ranges: the last covers what is over, too much rather than less."""
    if len(ranges) <= ranges_max:
        return ranges
    kept = ranges[: ranges_max - 1]
    return [*kept, (ranges[ranges_max - 1][0], ranges[-1][1])]


def _without_time(status: Status) -> tuple[object, ...]:
    return tuple(getattr(status, name) for name in Status.__struct_fields__ if name != "timestamp")
