"""Serves a recording over OPC UA: every row once, in order, with the file's own times, shifted."""

import asyncio
import math
import time
from collections.abc import Callable

from edge.simulator.opcua_server import OpcuaServer
from edge.simulator.pace import wait
from edge.simulator.recording import Recording
from edge.simulator.replay import Progress, Tell, find_shift_ns, summarise
from edge.simulator.sections import Section, describe_opcua_machine, list_node_tags
from models.telemetry import MachinePath

CLIENT_PAUSE_S = 0.05
BACKLOG_SHARE_MAX = 0.5
# A fast replay puts many rows between two publishes of a subscription.
QUEUE_MAX = 10_000


class OpcuaReplay:
    """Writes each row to the nodes with the file's own timestamps, all shifted by one constant.

    With `waits_for_client` it goes on only while every tag is subscribed to. It waits while a subscriber's
    queue is half full, so that a slow reader slows it down and loses nothing.
    """

    def __init__(
        self, recording: Recording, path: MachinePath, *, port: int, speed: float, waits_for_client: bool
    ) -> None:
        self._recording = recording
        self._path = path
        self._speed = speed
        self._waits_for_client = waits_for_client
        self._server = OpcuaServer(port, "--port")
        self._shift_ns: int | None = None
        self._served = 0

    async def run(self, stop: asyncio.Event, tell: Tell, linger_s: float) -> None:
        """Serve until the last row is out and `linger_s` over; raise `PortTaken`."""
        await self._server.start()
        try:
            await self._server.add_machine(
                self._path.machine, list(self._recording.columns), self._find_time_before_rows()
            )
            tell({"ready": True, "opcua": self._server.url, "rows": len(self._recording)}, self._describe())
            await self._wait_until(stop, self._has_client)
            await self._replay(stop)
            await self._wait_until(stop, lambda: self._server.find_backlog() == 0.0)
            tell(summarise(self._recording, self._served, self._shift_ns), [])
            await wait(stop, linger_s)
        finally:
            await self._server.stop()

    def _find_time_before_rows(self) -> int:
        # Whoever keeps times in order must not meet the rows after "no value yet".
        timestamps = self._recording.timestamps
        return timestamps[0] + find_shift_ns(timestamps, self._speed, time.time_ns()) - 1_000_000_000

    def _describe(self) -> Section:
        tags = list_node_tags(self._path.machine, dict.fromkeys(self._recording.columns, ""))
        machine = describe_opcua_machine(str(self._path), self._server.url, tags)
        return [{**machine, "queue_max": QUEUE_MAX, "tags": tags}]

    def _has_client(self) -> bool:
        watched = self._server.count_watched(self._path.machine)
        return not self._waits_for_client or watched == len(self._recording.columns)

    def _has_room(self) -> bool:
        # A client that has gone would miss rows too.
        return self._has_client() and self._server.find_backlog() < BACKLOG_SHARE_MAX

    async def _replay(self, stop: asyncio.Event) -> None:
        timestamps = self._recording.timestamps
        begin_ns = time.time_ns()
        self._shift_ns = find_shift_ns(timestamps, self._speed, begin_ns)
        begin_s = time.monotonic()
        progress = Progress(len(timestamps))
        for index, timestamp in enumerate(timestamps):
            due_s = begin_s + (timestamp - timestamps[0]) / 1e9 / self._speed
            await wait(stop, due_s - time.monotonic())
            await self._wait_until(stop, self._has_room)
            if stop.is_set():
                return
            row = {tag: _skip_nan(value) for tag, value in self._recording.row(index).items()}
            await self._server.write(self._path.machine, row, timestamp + self._shift_ns)
            self._served = index + 1
            progress.tell(self._served)

    @staticmethod
    async def _wait_until(stop: asyncio.Event, condition: Callable[[], bool]) -> None:
        while not condition() and not stop.is_set():
            await wait(stop, CLIENT_PAUSE_S)


def _skip_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
