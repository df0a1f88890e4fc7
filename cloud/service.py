"""The cloud service: puts the parts together, keeps them running, ends them cleanly."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from cloud.console.shapes import PartHealth
from cloud.metrics import CloudMetrics
from cloud.plant import Plant
from cloud.settings import CloudSettings
from models.backoff import Backoff
from models.garbage import spare_values

log = structlog.get_logger()

RESTART_FIRST_S = 0.5
RESTART_S_MAX = 30.0
ANSWER_POLL_S = 0.05

Run = Callable[[asyncio.Event], Awaitable[None]]
Ready = Callable[[str], None]


def run_cloud(settings: CloudSettings, ready: Ready | None = None) -> None:
    """Run the roles of `settings` until SIGTERM or SIGINT; `ready` gets the address of the console.

    Raises what makes a start impossible: `RecordsUnavailable`, `PortBusy`, `SettingsError`.
    """
    asyncio.run(_serve(settings, ready))


async def _serve(settings: CloudSettings, ready: Ready | None) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    metrics = CloudMetrics()
    supervisor = Supervisor(stop, metrics)
    plant = Plant(settings, metrics)
    try:
        if "watch" in settings.roles:
            supervisor.add("watch", in_thread("watch", plant.watch))
            supervisor.add("foretell", in_thread("foretell", plant.foretell))
            if settings.watch.learning.automatic == "first":
                supervisor.add("learn", in_thread("learn", plant.learn))
        if "ingest" in settings.roles:
            supervisor.add("ingest", in_thread("ingest", plant.ingest))
            supervisor.add("upkeep", in_thread("upkeep", plant.keep_up))
        if "notify" in settings.roles:
            supervisor.add("notify", plant.notify)
        if "console" in settings.roles:
            server = plant.build_console(supervisor)
            server.bind()
            supervisor.add("console", server.run)
            supervisor.add_once(_announce(server.host, server.port, ready))
        spare_values()
        await supervisor.run()
    finally:
        plant.close()


async def _announce(host: str, port: int, ready: Ready | None) -> None:
    """Say where the console is once it answers."""
    target = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not listened on
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(target, port)
            writer.close()
            break
        await asyncio.sleep(ANSWER_POLL_S)
    if ready is not None:
        ready(f"http://{target}:{port}")


def in_thread(name: str, run: Callable[[threading.Event], None]) -> Run:
    """Return a coroutine that calls `run` in a thread of its own and ends when it does."""

    async def run_in_thread(stop: asyncio.Event) -> None:
        stop_thread = threading.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix=name) as executor:
            running = loop.run_in_executor(executor, run, stop_thread)
            stopping = asyncio.create_task(stop.wait())
            either: set[asyncio.Future[Any]] = {running, stopping}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            stop_thread.set()
            await running

    return run_in_thread


class Supervisor:
    """Runs parts until told to stop. A part that dies is said, counted and begun anew, ever more slowly."""

    def __init__(self, stop: asyncio.Event, metrics: CloudMetrics) -> None:
        self._stop = stop
        self._metrics = metrics
        self._parts: dict[str, Run] = {}
        self._once: list[Awaitable[None]] = []
        self._troubles: dict[str, str] = {}

    def add(self, name: str, run: Run) -> None:
        """Take on a part; `run(stop)` makes it anew at each call and returns once `stop` is set."""
        self._parts[name] = run

    def add_once(self, errand: Awaitable[None]) -> None:
        """Take on something that ends by itself."""
        self._once.append(errand)

    async def run(self) -> None:
        """Run everything; return once told to stop and all parts have ended."""
        errands = [asyncio.ensure_future(errand) for errand in self._once]
        await asyncio.gather(*(self._keep(name, run) for name, run in self._parts.items()))
        for errand in errands:
            errand.cancel()

    def list_parts(self) -> list[PartHealth]:
        """Return how each part fares now, and the link to the broker."""
        parts = [_describe(name, self._troubles.get(name, ""), "runs") for name in self._parts]
        if "ingest" in self._parts:
            parts.append(_describe("broker", self._metrics.broker_trouble, "connected"))
            parts.append(_describe("writes", self._metrics.store_trouble, "committed"))
            parts.append(_describe_read_back(self._metrics.read_back_trouble))
        return parts

    def render_metrics(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return self._metrics.render()

    async def _keep(self, name: str, run: Run) -> None:
        backoff = Backoff(RESTART_FIRST_S, RESTART_S_MAX)
        while not self._stop.is_set():
            began_s = asyncio.get_running_loop().time()
            try:
                await run(self._stop)
                reason = "it ended by itself"
            except (
                Exception
            ) as error:  # the cloud's supervisor: whatever kills a part must not end the others
                reason = f"{type(error).__name__}: {error}"
                log.exception("part_died", part=name)
            if self._stop.is_set():
                break
            if asyncio.get_running_loop().time() - began_s > RESTART_S_MAX:
                backoff.reset()
            await self._pause(name, reason, backoff.next_delay_s())

    async def _pause(self, name: str, reason: str, delay_s: float) -> None:
        self._troubles[name] = f"begins anew: {reason}"
        self._metrics.parts_restarted.labels(name).inc()
        log.warning("part_begins_anew", part=name, reason=reason, delay_s=round(delay_s, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)
        self._troubles.pop(name, None)


def _describe(part: str, trouble: str, well: str) -> PartHealth:
    return PartHealth(part=part, ok=not trouble, state=trouble or well)


def _describe_read_back(trouble: str) -> PartHealth:
    # Not `ok=False`: an orchestrator would begin the service anew again and again, and mend nothing by it.
    return PartHealth(part="read-back", ok=True, degraded=bool(trouble), state=trouble or "nothing missing")
