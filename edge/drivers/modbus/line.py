"""One connection for all units behind it: requests take turns, and a silent unit waits for its probe."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

import msgspec

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer, Connection, UnitSilent
from edge.drivers.modbus.breaker import Breaker
from edge.drivers.modbus.line_settings import Line
from edge.drivers.modbus.registers import Block
from edge.drivers.modbus.tcp import TcpConnection
from edge.drivers.refusals import Meaning, judge

RETRIES = 1


class Rider(Protocol):
    """Who uses a line: a driver and its unit."""

    unit_id: int


class ModbusLine:
    """A connection that its riders share. It is opened by the first and closed by the last of them.

    Requests never overlap, and riders that wait for the line get it in the order in which they came.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.where = line.where
        self._connection = _make_connection(line)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._known: WeakSet[Rider] = WeakSet()
        self._holders: WeakSet[Rider] = WeakSet()
        self._breakers: dict[int, Breaker] = {}
        self._silent: set[int] = set()
        self._late: set[int] = set()
        self._failures = 0
        self._failure = ""

    def join(self, rider: Rider) -> None:
        """Count a machine as one of this line's, whether it is connected or not."""
        self._known.add(rider)

    async def open(self, rider: Rider, timeout_s: float) -> None:
        """Open the connection unless it is open; raise `NotConnected`."""
        self._holders.add(rider)
        seen = self._failures
        async with self._turn:
            if self._connection.is_open:
                return
            if self._failures != seen:  # a neighbour has tried while we waited
                raise NotConnected(self._failure)
            try:
                await self._connection.open(timeout_s)
            except NotConnected as error:
                self._failure = str(error)
                self._failures += 1
                raise
            self._silent.clear()

    def release(self, rider: Rider) -> None:
        """The rider needs the connection no more; the last one closes it."""
        self._holders.discard(rider)
        if not self._holders:
            self._connection.close()

    async def knock(self, unit_id: int, block: Block, timeout_s: float) -> Answer | None:
        """Ask a unit that was silent before whether it is back; None when there is nothing to doubt.

        Raises `NotConnected`, without a request, while the unit is to be left alone for its neighbours' sake.
        """
        breaker = self._breakers.get(unit_id)
        if breaker is None or not breaker.misses:
            return None
        has_neighbours = any(rider.unit_id != unit_id for rider in self._known)
        wait_s = breaker.count_wait_s(monotonic()) if has_neighbours else 0.0
        if wait_s > 0:
            raise NotConnected(
                f"unit {unit_id} at {self.where} has not answered {breaker.misses} times: it is asked again "
                f"in {wait_s:.0f} s, so that the other units on the line need not wait for it"
            )
        return await self.ask(
            unit_id, block, breaker.choose_timeout_s(timeout_s) if has_neighbours else timeout_s
        )

    async def ask(self, unit_id: int, block: Block, timeout_s: float) -> Answer:
        """Send one request when it is its turn; a unit that was silent gets no second try."""
        return (await self.ask_all(unit_id, [block], timeout_s))[0]

    async def ask_all(self, unit_id: int, blocks: Sequence[Block], timeout_s: float) -> list[Answer]:
        """Do so for the first block, and for those behind it until one is refused or others wait."""
        breaker = self._breakers.setdefault(unit_id, Breaker())
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            retries = 0 if breaker.misses else RETRIES
            doubtful = unit_id in self._late
            if self.line.is_rtu:  # should no answer come, the next one may be this request's
                self._late.add(unit_id)
            try:
                answers = await self._connection.ask(
                    unit_id, blocks, timeout_s=timeout_s, retries=retries, goes_on=self._is_free
                )
            except UnitSilent:
                breaker.take_miss(monotonic())
                self._take_silence(unit_id)
                raise
            self._late.discard(unit_id)
            for answer in answers:
                if judge(answer.code) is Meaning.UNREACHABLE:
                    breaker.take_miss(
                        monotonic()
                    )  # the gateway waited for it in vain, and we for the gateway
                else:
                    breaker.take_answer(answer.took_s)
            self._silent.clear()
        finally:
            self._turn.release()
        return [msgspec.structs.replace(one, retried=True) for one in answers] if doubtful else answers

    def _is_free(self) -> bool:
        return not self._waiting

    def _take_silence(self, unit_id: int) -> None:
        """Close the connection when every unit in use has fallen silent: then it is dead, not they."""
        self._silent.add(unit_id)
        if {rider.unit_id for rider in self._holders} <= self._silent:
            self._connection.close()


def _make_connection(line: Line) -> Connection:
    if line.transport == "tcp":
        return TcpConnection(line)
    # pymodbus takes 9 MB and half a second of a small computer: only where it is needed.
    from edge.drivers.modbus.client import ModbusConnection

    return ModbusConnection(line)


_LINES: WeakValueDictionary[str, ModbusLine] = WeakValueDictionary()


def find_line(line: Line) -> ModbusLine:
    """Return the line that leads there, the same for as long as anybody uses it.

    A serial port, and many a Modbus gateway, takes one connection only: this program has one, whoever builds
    the drivers and however often (a machine whose settings change is built anew beside its neighbours).
    """
    found = _LINES.get(line.where)
    if found is None or found.line != line:
        found = ModbusLine(line)
        _LINES[line.where] = found
    return found
