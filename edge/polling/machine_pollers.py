"""The pollers of a running gateway: one supervised task per machine, begun and ended one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from edge.ending import end_tasks
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from edge.polling.progress import Progress
from models.telemetry import MachinePath


class KeepAlive(Protocol):
    """Begins a task that is run again whenever it dies; `on_death` hears why."""

    def __call__(
        self, name: str, run: Callable[[], Awaitable[None]], on_death: Callable[[str], None] | None = None
    ) -> asyncio.Task[None]:
        """Return the task."""


class MachinePollers:
    """Who is polled now."""

    def __init__(
        self, collector: Collector, states: MachineStates, progress: Progress, keep_alive: KeepAlive
    ) -> None:
        self._collector = collector
        self._states = states
        self._progress = progress
        self._keep_alive = keep_alive
        self._running: dict[MachinePath, tuple[Poller, asyncio.Task[None]]] = {}

    def start(self, sources: Iterable[MachineSource]) -> None:
        """Begin to poll these machines, each of them not polled yet."""
        for source in sources:
            poller = Poller(source, self._collector, self._states, self._progress)
            task = self._keep_alive(f"poller {source.path}", poller.run, poller.note_fault)
            self._running[source.path] = (poller, task)

    async def stop(self, paths: Iterable[MachinePath]) -> None:
        """End the pollers of these machines, whose connections close, and forget the machines."""
        ended = [self._running.pop(path) for path in paths if path in self._running]
        await end_tasks(task for _, task in ended)
        for poller, _ in ended:
            poller.end()

    async def halt(self) -> None:
        """End all pollers; what is known of the machines stays, for the last status."""
        await end_tasks(task for _, task in self._running.values())
