"""Tells the cloud, by a retained message, how this gateway fares."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import structlog

from edge.chores import Chores
from edge.outbox.file import OutboxUnavailable
from edge.outbox.thread import OutboxThread
from edge.polling.clock import CLOCK_MEND, is_clock_synchronised
from edge.polling.flusher import Flusher
from edge.polling.machine_states import MachineStates
from edge.publishing.carrier import Carrier
from edge.vitals.vitals import count_room
from models.link import LinkDown, PacketTooLarge
from models.telemetry import Status, encode_status
from models.telemetry.ranges import Range

NEWS_S = 2.0
"""A machine that comes and goes is told of so often, not oftener."""

MOVING_S = 5.0
STATUS_S_MAX = 10.0
SLACK_S = 0.5
"""Chores turn a little early now and then."""

CLOCK_S = 60.0
GOODBYE_TIMEOUT_S = 2.0
WAITING_RANGES_MAX = 1_000

log = structlog.get_logger()


class StatusReporter:
    """Publishes the status at every connect, when something has happened, and now and then.

    What becomes of a machine is told at once, but not twice within 2 s; sequences and counts that only move
    on are told every 5 s, as the cloud counts what arrives by itself; with nothing new it is said every 10 s.
    """

    def __init__(
        self,
        gateway: str,
        outbox: OutboxThread,
        states: MachineStates,
        publisher: Carrier,
        flusher: Flusher,
        list_warnings: Callable[[], list[str]] = list,
        chores: Chores | None = None,
    ) -> None:
        self.clock_synchronised: bool | None = None
        """Whether a time service keeps the clock right, as last asked; None where nobody can say."""
        self._gateway = gateway
        self._outbox = outbox
        self._states = states
        self._publisher = publisher
        self._flusher = flusher
        self._list_warnings = list_warnings
        self._chores = chores or Chores()
        self._version = version("forewarn")
        self._clock_checked_at = float("-inf")
        self._is_too_large_said = False

    async def run(self) -> None:
        """Report for ever."""
        loop = asyncio.get_running_loop()
        said: tuple[object, ...] | None = None
        counted: tuple[int, int] | None = None
        said_at = 0.0
        while True:
            self._check_clock(loop.time())
            if self._publisher.fresh.is_set():  # the broker may have published our will meanwhile
                self._publisher.fresh.clear()
                said = None
            if self._publisher.connected.is_set():
                if said is not None and said != self._look():
                    await asyncio.sleep(max(0.0, said_at + NEWS_S - loop.time()))
                news, moved = self._look(), self._outbox.moved_to
                silent_s = loop.time() - said_at
                if said != news or silent_s >= (STATUS_S_MAX if moved == counted else MOVING_S) - SLACK_S:
                    with suppress(LinkDown):
                        self._publish(await self.compose("online"))
                        said, counted, said_at = news, moved, loop.time()
            await self._chores.pause(MOVING_S)

    def _look(self) -> tuple[object, ...]:
        """Return what is worth telling at once when it changes."""
        return self._states.version, self.clock_synchronised, self._outbox.dropped, self._outbox.bytes_max

    def _publish(self, status: Status) -> None:
        try:
            self._publisher.publish_status(encode_status(status))
        except PacketTooLarge as error:
            if not self._is_too_large_said:
                self._is_too_large_said = True
                log.warning("status_not_sent", reason=str(error), mend="raise its packet limit")

    async def say_goodbye(self) -> None:
        """Leave the last status, offline, with the broker, if there is one."""
        with suppress(LinkDown, TimeoutError, OutboxUnavailable):
            status = await self.compose("offline")
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self._publisher.publish_status(encode_status(status))

    async def compose(self, state: str) -> Status:
        """Return the status as of now."""
        totals = await self._outbox.totals()
        bytes_max = self._outbox.bytes_max
        room_s = count_room(totals.waiting_bytes, bytes_max, self._flusher.bytes_per_s)
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
            clock_synchronised=self.clock_synchronised,
            version=self._version,
            waiting_bytes_max=bytes_max,
            room_s=None if room_s is None else round(room_s),
            counters=self._count(),
            warnings=self._list_warnings(),
        )

    def _count(self) -> dict[str, int]:
        counted = list(self._states.counters.values())
        return {
            "reads": sum(one.reads_total for one in counted),
            "values": sum(one.values_total for one in counted),
            "losses": sum(one.losses_total for one in counted),
            "repeats": sum(one.repeats_total for one in counted),
            "clamped": sum(one.clamped_total for one in counted),
            "set_back": sum(one.set_back_total for one in counted),
            "suppressed": sum(one.suppressed_total for one in counted),
            "implausible": sum(one.implausible_total for one in counted),
            "gaps": sum(one.gaps_total for one in counted),
            "history_values": sum(one.history_values_total for one in counted),
            "dropped_in_memory": self._flusher.values_dropped_total,
            "waiting_for_clock": self._flusher.clock.values_waiting,
            "without_time": self._flusher.clock.unknown_total,
        }

    def _check_clock(self, now: float) -> None:
        if now - self._clock_checked_at < CLOCK_S:
            return
        self._clock_checked_at = now
        before, self.clock_synchronised = self.clock_synchronised, is_clock_synchronised()
        if self.clock_synchronised is False and before is not False:
            log.warning("clock_not_synchronised", reason="clock not synchronised", mend=CLOCK_MEND)
        elif self.clock_synchronised and before is False:
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
