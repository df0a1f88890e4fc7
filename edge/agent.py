"""Puts the edge agent together, keeps its parts alive, and ends it in order."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from edge.carriers import build_carriers, list_ways
from edge.chores import Chores
from edge.ending import end_tasks
from edge.outbox.file import OutboxCorrupt, OutboxUnavailable
from edge.outbox.outbox import Outbox
from edge.outbox.thread import OutboxThread
from edge.polling.clock import is_clock_synchronised, read_clocks
from edge.polling.clock_doubt import NS_PER_S, SLACK_S, ClockJudge, find_floor
from edge.polling.collector import Collector
from edge.polling.flusher import Flusher
from edge.polling.machine_pollers import MachinePollers
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource
from edge.polling.progress import Progress
from edge.publishing.carrier import Carrier
from edge.reloading import SettingsWatch, plan_reload
from edge.settings import EdgeSettings
from edge.sources import build_sources
from edge.sparkplug.publisher import SparkplugPublisher
from edge.sparkplug.wiring import list_tags
from edge.vitals.certificates import CertificateWatch
from edge.vitals.health import Health
from edge.vitals.server import HealthServer
from edge.vitals.status import StatusReporter
from edge.vitals.systemd import ServiceNotices
from models.garbage import spare_values
from models.link import check_credentials

RESTART_S_MIN = 1.0
RESTART_S_MAX = 60.0
DRAIN_S_MAX = 3.0

log = structlog.get_logger()


class Agent:
    """One gateway. `sources` are the machines; by default those of the settings, and of their file later."""

    def __init__(
        self,
        settings: EdgeSettings,
        sources: Sequence[MachineSource] | None = None,
        settings_file: Path | None = None,
    ) -> None:
        self._settings = settings
        self._chores = Chores()
        self._watch: SettingsWatch | None = None
        if settings_file is not None:
            self._watch = SettingsWatch(settings_file, self.reload, self._chores)
        self._sources = build_sources(settings.machines) if sources is None else list(sources)
        self._collector = Collector()
        self._states = MachineStates(self._chores.hurry)
        self._progress = Progress()
        self._pollers = MachinePollers(self._collector, self._states, self._progress, self._keep_alive)
        self.sparkplug: SparkplugPublisher | None = None
        """The Sparkplug part, while the agent runs and the settings want one."""
        self._fatal: asyncio.Future[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end in order: nothing collected is left in memory."""
        outbox = await self._open_outbox()
        self._fatal = asyncio.get_running_loop().create_future()
        try:
            await self._run_parts(outbox, stop)
        finally:
            await outbox.close()

    def ask_reload(self) -> None:
        """Have the settings file read again, if there is one."""
        if self._watch is not None:
            self._watch.ask()

    async def reload(self, settings: EdgeSettings) -> None:
        """Take the machines of new settings over; those that did not change are not interrupted."""
        plan = plan_reload(self._settings, settings)
        begun = build_sources(plan.begun)
        await self._pollers.stop(plan.ended)
        self._pollers.start(begun)
        if self.sparkplug is not None:
            self.sparkplug.set_machines(list_tags(settings.machines))
        self._settings = self._settings.model_copy(update={"machines": settings.machines})
        log.info(
            "settings_reloaded",
            begun=[str(source.path) for source in begun],
            ended=[str(path) for path in plan.ended],
            kept=plan.kept,
        )
        if plan.restart_keys:
            log.warning(
                "settings_need_restart",
                keys=plan.restart_keys,
                mend="machines are taken over at once; restart the gateway for these",
            )

    async def _open_outbox(self) -> OutboxThread:
        chosen = self._settings.outbox
        floor_ns = find_floor(chosen.path)
        outbox = OutboxThread(
            Outbox(
                chosen.path,
                self._settings.gateway,
                chosen.bytes_max,
                chosen.payload_bytes_max,
                age_max_s=chosen.age_max_s,
                when_full=chosen.when_full,
            ),
            self._collector.gate,
        )
        try:
            await outbox.open()
            self._collector.keeper.judge = ClockJudge(
                max(floor_ns, await outbox.read_seen_ns() - SLACK_S * NS_PER_S),
                is_synchronised=is_clock_synchronised,
                first_sync_s=self._settings.clock.first_sync_s,
            )
            # Before anything else asks: what begins now must not begin in 1970.
            self._collector.keeper.judge.look(*read_clocks())
        except BaseException:
            await outbox.close()
            raise
        return outbox

    async def _run_parts(self, outbox: OutboxThread, stop: asyncio.Event) -> None:
        totals = await outbox.totals()
        publisher, flusher, self.sparkplug = build_carriers(
            self._settings, outbox, totals, self._collector, self._states, self._progress, self._chores
        )
        reporter, health = self._make_reporters(outbox, publisher, flusher)
        log.info(
            "edge_started",
            gateway=self._settings.gateway,
            broker=self._settings.broker.address,
            machines=len(self._sources),
            waiting_batches=sum(last - first + 1 for first, last in totals.waiting),
        )
        await flusher.begin(source.path for source in self._sources)
        self._pollers.start(self._sources)
        flushing = self._keep_alive("flusher", flusher.run)
        publishing = [self._keep_alive("publisher", publisher.run)]
        if self.sparkplug is not None and self.sparkplug is not publisher:
            publishing.append(self._keep_alive("sparkplug", self.sparkplug.run))
        reporting = [self._keep_alive("status", reporter.run)]
        if self._watch is not None:
            reporting.append(self._keep_alive("settings", self._watch.run))
        try:
            async with self._watched(health):
                await self._wait(stop)
        finally:
            await self._pollers.halt()
            await end_tasks([flushing, *reporting])
            with suppress(OutboxUnavailable, OutboxCorrupt):
                await flusher.finish()
                await publisher.drain(DRAIN_S_MAX)
                await publisher.release_receipted()
            await reporter.say_goodbye()
            if self.sparkplug is not None:
                await self.sparkplug.drain(DRAIN_S_MAX)
            await end_tasks(publishing)
            log.info("edge_stopped", gateway=self._settings.gateway)

    def _make_reporters(
        self, outbox: OutboxThread, publisher: Carrier, flusher: Flusher
    ) -> tuple[StatusReporter, Health]:
        """Return what tells the cloud, and what tells this computer, how the gateway fares."""
        certificates = CertificateWatch(list_ways(self._settings, publisher, self.sparkplug))
        reporter = StatusReporter(
            self._settings.gateway,
            outbox,
            self._states,
            publisher,
            flusher,
            certificates.list_warnings,
            self._chores,
        )
        health = Health(
            self._settings.gateway,
            outbox,
            self._states,
            collector=self._collector,
            flusher=flusher,
            publisher=publisher,
            progress=self._progress,
            read_clock=lambda: reporter.clock_synchronised,
            certificates=certificates,
            look_at_sparkplug=None if self.sparkplug is None else self.sparkplug.look,
            chores=self._chores,
        )
        return reporter, health

    @asynccontextmanager
    async def _watched(self, health: Health) -> AsyncIterator[None]:
        """Tell systemd and whoever asks over HTTP how the gateway fares, from its start to its end."""
        chosen, server = self._settings.health, None
        if chosen.port is not None:
            server = HealthServer(chosen.host, chosen.port, health.look)
            await server.start()
        notices = ServiceNotices(os.environ)
        notices.tell_ready()
        watching = self._keep_alive("health", lambda: health.watch(notices))
        try:
            yield
        finally:
            notices.tell_stopping()
            await end_tasks([watching])
            if server is not None:
                await server.close()

    async def _wait(self, stop: asyncio.Event) -> None:
        assert self._fatal is not None
        self._fatal.add_done_callback(lambda _: stop.set())
        await stop.wait()
        if self._fatal.done():
            self._fatal.result()

    def _keep_alive(
        self, name: str, run: Callable[[], Awaitable[None]], on_death: Callable[[str], None] | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self._supervise(name, run, on_death), name=name)

    async def _supervise(
        self, name: str, run: Callable[[], Awaitable[None]], on_death: Callable[[str], None] | None
    ) -> None:
        """Run a part again, later and later, whenever it dies: one part's fault never ends the others."""
        assert self._fatal is not None
        loop = asyncio.get_running_loop()
        pause_s = RESTART_S_MIN
        while True:
            began = loop.time()
            try:
                await run()
            except OutboxCorrupt as error:
                if not self._fatal.done():
                    self._fatal.set_exception(error)
                return
            except Exception as error:  # the edge's one supervisor: whatever it was, go on
                log.exception("part_died", part=name, error=str(error), restart_s=pause_s)
                if on_death is not None:
                    on_death(str(error))
            if loop.time() - began > RESTART_S_MAX:
                pause_s = RESTART_S_MIN
            await asyncio.sleep(pause_s)
            pause_s = min(RESTART_S_MAX, 2 * pause_s)


async def run_until_signal(agent: Agent) -> None:
    """Run the agent until SIGTERM or SIGINT; SIGHUP has it read its settings again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if sys.stdin is None or not sys.stdin.isatty():  # a terminal that closes ends its programs as ever
        loop.add_signal_handler(signal.SIGHUP, agent.ask_reload)
    await agent.run(stop)


def run_edge(settings: EdgeSettings, settings_file: Path | None = None) -> None:
    """Run the edge agent of the settings until it is told to stop; the whole program."""
    for broker in settings.brokers:
        check_credentials(broker)

    spare_values()

    async def run() -> None:
        await run_until_signal(Agent(settings, settings_file=settings_file))

    asyncio.run(run())
