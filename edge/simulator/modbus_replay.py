"""Serves a recording over Modbus: every poll of the registers is handed the next row."""

import asyncio
import struct
from collections.abc import Sequence

from edge.simulator.modbus_server import ModbusServer
from edge.simulator.pace import wait, wait_for_either
from edge.simulator.recording import Recording
from edge.simulator.replay import Progress, Tell, summarise
from edge.simulator.sections import Section, describe_modbus_machine, list_register_tags
from models.telemetry import MachinePath

UNIT_ID = 1
WORDS_PER_TAG = 4


class RowRegisters:
    """The rows of a recording as float64, four registers a tag (ABCD): each poll is handed the next row.

    A poll begins with a request at or before the address of the request before it: a row that takes several
    requests stays one row. A request sent again (same transaction) is answered with the same row.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._format = struct.Struct(f">{len(recording.columns)}d")
        self._words: tuple[int, ...] = ()
        self._last_request: tuple[int, int] | None = None
        self._progress = Progress(len(recording))
        self.served = 0
        self.is_over = asyncio.Event()

    @property
    def count(self) -> int:
        """Four registers a tag."""
        return WORDS_PER_TAG * len(self._recording.columns)

    def read(self, address: int, transaction: int) -> Sequence[int] | None:
        """Return the words of the row that this request belongs to; None after the last row."""
        request = (address, transaction)
        if request != self._last_request and (self._last_request is None or address <= self._last_request[0]):
            self._turn_page()
        self._last_request = request
        return None if self.is_over.is_set() else self._words

    def _turn_page(self) -> None:
        if self.served == len(self._recording):
            self.is_over.set()
            return
        packed = self._format.pack(*self._recording.row(self.served).values())
        self._words = struct.unpack(f">{self.count}H", packed)
        self.served += 1
        self._progress.tell(self.served)


class ModbusReplay:
    """Hands each poll of the registers the next row; after the last row the unit is busy (exception 6).

    The client's polls set the pace: `speed` only decides the interval in the edge.yaml that it describes.
    It is meant for one client.
    """

    def __init__(self, recording: Recording, path: MachinePath, *, port: int, speed: float) -> None:
        self._recording = recording
        self._path = path
        self._speed = speed
        self._registers = RowRegisters(recording)
        self._server = ModbusServer(port, {UNIT_ID: self._registers}, "--port")

    async def run(self, stop: asyncio.Event, tell: Tell, linger_s: float) -> None:
        """Serve until the last row has been read and `linger_s` is over; raise `PortTaken`."""
        await self._server.start()
        try:
            ready = {"ready": True, "modbus": self._server.address, "rows": len(self._recording)}
            tell(ready, self._describe())
            await wait_for_either(stop, self._registers.is_over)
            tell(summarise(self._recording, self._registers.served, None), [])
            await wait(stop, linger_s)
        finally:
            await self._server.stop()

    def _describe(self) -> Section:
        timestamps = self._recording.timestamps
        spacing_s = (timestamps[-1] - timestamps[0]) / 1e9 / max(len(timestamps) - 1, 1)
        interval_s = min(max(spacing_s / self._speed, 0.01), 3600.0)
        tags = list_register_tags(dict.fromkeys(self._recording.columns, ""), "float64", WORDS_PER_TAG)
        return [
            describe_modbus_machine(
                str(self._path), self._server.address, UNIT_ID, tags, interval_s=round(interval_s, 3)
            )
        ]
