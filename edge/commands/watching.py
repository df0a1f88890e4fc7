"""Reads machines on and on, for a person who watches their values: no outbox, no broker."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from edge.commands.reading import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Reading, explain_tags, keep_newest
from edge.drivers import Driver, NotConnected
from edge.drivers.shelf import MachineSettings
from edge.drivers.tags import list_reported
from edge.ending import end_tasks
from edge.polling.poller import Schedule
from models.telemetry import quality

RETRY_S = 2.0


class WatchedMachine:
    """One machine, connected again whenever it was lost; `readings` are its tags as they are known now."""

    def __init__(self, machine: MachineSettings) -> None:
        path = str(machine.path)
        self.readings = {tag.name: Reading(path, tag.name, tag.unit) for tag in list_reported(machine.tags)}
        self._driver: Driver = machine.build()

    async def run(self) -> None:
        """Read for ever."""
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._driver.connect()
                await self._read_on()
            except (NotConnected, TimeoutError) as error:
                self._lose(str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s: check the address")
            finally:
                await self._driver.close()
            await asyncio.sleep(RETRY_S)

    async def _read_on(self) -> None:
        loop, interval_s = asyncio.get_running_loop(), self._driver.interval_s
        schedule = Schedule(loop.time(), interval_s) if interval_s is not None else None
        while True:
            if schedule is None:  # it returns when there are news
                frames = await self._driver.read()
            else:
                async with asyncio.timeout(max(READ_TIMEOUT_S, 2 * (interval_s or 0))):
                    frames = await self._driver.read()
            newest: dict[str, tuple[float | None, int, int]] = {}
            keep_newest(newest, frames)
            said = explain_tags(self._driver)
            for tag, (value, code, timestamp) in newest.items():
                known = self.readings[tag]
                self.readings[tag] = Reading(
                    known.machine, tag, known.unit, value, code, timestamp, said=said.get(tag, "")
                )
            wait_s = schedule.next(loop.time())[0] if schedule is not None else 0.0
            await asyncio.sleep(wait_s)

    def _lose(self, reason: str) -> None:
        """Keep the last values and their age; their quality says that they are not of now."""
        silent = quality.BAD_NO_COMMUNICATION
        for tag, known in self.readings.items():
            self.readings[tag] = msgspec.structs.replace(known, quality=silent, reason=reason)


async def watch_machines(
    machines: Sequence[MachineSettings], every_s: float, show: Callable[[list[Reading]], None]
) -> None:
    """Call `show` with all readings every `every_s` seconds, until SIGINT (Ctrl-C) or SIGTERM."""
    watched = [WatchedMachine(machine) for machine in machines]
    tasks = [asyncio.create_task(one.run()) for one in watched]
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    schedule = Schedule(loop.time(), every_s)
    try:
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(schedule.next(loop.time())[0]):
                    await stop.wait()
            for task in tasks:
                if task.done():
                    task.result()  # a fault of ours: say it
            show([reading for one in watched for reading in one.readings.values()])
    finally:
        await end_tasks(tasks)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
