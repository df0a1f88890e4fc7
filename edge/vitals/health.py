"""Watches over the gateway: gathers its vitals, feeds systemd's watchdog while values move, says when not."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import structlog

from edge.chores import Chores
from edge.outbox.outbox import OutboxTotals
from edge.outbox.thread import OutboxThread
from edge.polling.collector import Collector
from edge.polling.flusher import Flusher
from edge.polling.machine_states import MachineStates
from edge.polling.progress import Progress
from edge.publishing.carrier import Carrier
from edge.sparkplug.vitals import SparkplugVitals
from edge.vitals.certificates import CertificateWatch
from edge.vitals.systemd import ServiceNotices
from edge.vitals.vitals import Vitals, describe_vitals

WATCH_S = 5.0
TOTALS_TIMEOUT_S = 2.0

log = structlog.get_logger()


class Health:
    """The parts of one gateway, looked at together. `read_clock`: whether the clock can be believed."""

    def __init__(
        self,
        gateway: str,
        outbox: OutboxThread,
        states: MachineStates,
        *,
        collector: Collector,
        flusher: Flusher,
        publisher: Carrier,
        progress: Progress,
        read_clock: Callable[[], bool | None],
        certificates: CertificateWatch,
        look_at_sparkplug: Callable[[], SparkplugVitals] | None = None,
        chores: Chores | None = None,
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._states = states
        self._collector = collector
        self._flusher = flusher
        self._publisher = publisher
        self._progress = progress
        self._read_clock = read_clock
        self._certificates = certificates
        self._look_at_sparkplug = look_at_sparkplug
        self._chores = chores or Chores()
        self._version = version("forewarn")
        self._totals = OutboxTotals(
            epoch="",
            sequence_last=0,
            values_total=0,
            waiting=[],
            waiting_values=0,
            waiting_bytes=0,
            dropped=[],
        )

    async def look(self) -> Vitals:
        """Return the vitals as of now; where the disk hangs, the outbox as it was seen last."""
        try:
            async with asyncio.timeout(TOTALS_TIMEOUT_S):
                self._totals = await self._outbox.totals()
        except TimeoutError:
            log.debug("outbox_totals_late")
        return Vitals(
            gateway=self._gateway,
            version=self._version,
            standstill=self._progress.explain_standstill(asyncio.get_running_loop().time()),
            machines=self._states.list_all(),
            counters={str(path): counted for path, counted in self._states.counters.items()},
            values_pending=self._collector.values_pending,
            values_dropped_total=self._collector.values_dropped_total
            + self._collector.keeper.values_dropped_total
            + self._flusher.clock.dropped_total,
            totals=self._totals,
            outbox_bytes_max=self._outbox.bytes_max,
            outbox_bytes_per_s=self._flusher.bytes_per_s,
            outbox_trouble=self._flusher.trouble,
            broker_connected=self._publisher.connected.is_set(),
            clock_synchronised=self._read_clock(),
            endings=self._certificates.endings,
            warnings=self._certificates.list_warnings(),
            delivery_trouble=self._publisher.delivery_trouble,
            clock_held=self._flusher.clock.values_waiting,
            clock_unknown_total=self._flusher.clock.unknown_total,
            clock_steps_total=self._collector.keeper.judge.steps_total,
            clock_restamped_total=self._collector.keeper.values_restamped_total,
            sparkplug=self._look_at_sparkplug() if self._look_at_sparkplug is not None else None,
        )

    async def watch(self, notices: ServiceNotices) -> None:
        """Feed the watchdog for as long as values move, and keep the status line true; for ever."""
        loop = asyncio.get_running_loop()
        period_s = min(WATCH_S, notices.watchdog_s / 4) if notices.watchdog_s else WATCH_S
        said = ""
        while True:
            standstill = self._progress.explain_standstill(loop.time())
            if not standstill:
                notices.tell_alive()
            if standstill and not said:
                log.error("gateway_stands_still", reason=standstill)
            elif said and not standstill:
                log.info("gateway_moves_again")
            said = standstill
            with suppress(TimeoutError):  # files on a disk that hangs are no reason to starve the watchdog
                async with asyncio.timeout(TOTALS_TIMEOUT_S):
                    await self._certificates.look(loop.time())
            if notices.is_wanted:
                notices.tell_status(describe_vitals(await self.look()))
            await self._chores.pause(period_s)
