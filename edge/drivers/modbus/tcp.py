"""Speaks plain Modbus TCP, as most machines do, on a socket of its own.

A request through pymodbus costs three times as much: that was half of what a gateway at rest computes.
"""

import asyncio
import socket
from contextlib import ExitStack
from time import time_ns

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer, explain_loss, explain_silence
from edge.drivers.modbus.line_settings import Line
from edge.drivers.modbus.mbap import (
    READ_CODES,
    TRANSACTION_MAX,
    Asked,
    Told,
    find_answer,
    make_request,
)
from edge.drivers.modbus.reachability import explain_network
from edge.drivers.modbus.registers import Block
from edge.drivers.refusals import SHORT_ANSWER

READ_BYTES = 4_096


class TcpConnection:
    """See `Connection`. What comes without having been asked for is passed over."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._socket: socket.socket | None = None
        self._transaction = 0
        self._asked: Asked | None = None
        self._told: asyncio.Future[Told | None] | None = None
        self._received = b""
        self._has_answered = False

    @property
    def is_open(self) -> bool:
        """See `Connection`."""
        return self._socket is not None

    async def open(self, timeout_s: float) -> None:
        """See `Connection`."""
        self.close()
        try:
            async with asyncio.timeout(timeout_s):
                opened = await _connect(self._line.host, self._line.port)
        except (OSError, UnicodeError) as error:  # TimeoutError is one; a name may be none for the DNS
            reason = await explain_network(self._line, timeout_s, None)
            raise NotConnected(f"{self._line.where} {reason}") from error
        self._socket, self._has_answered = opened, False
        asyncio.get_running_loop().add_reader(opened, self._read)

    def close(self) -> None:
        """See `Connection`."""
        opened, self._socket = self._socket, None
        if opened is not None:
            asyncio.get_running_loop().remove_reader(opened)
            opened.close()
        self._tell(None)

    async def ask(self, unit_id: int, block: Block, *, timeout_s: float, retries: int) -> Answer:
        """See `Connection`."""
        self._transaction = self._transaction % TRANSACTION_MAX + 1
        self._asked = asked = Asked(self._transaction, unit_id, READ_CODES[block.table])
        self._received = b""
        request = make_request(asked, block.address, block.count)
        sent_ns = time_ns()
        try:
            for tries in range(retries + 1):
                try:
                    told = await self._exchange(request, timeout_s)
                except TimeoutError:
                    continue
                return self._make_answer(told, block, retried=tries > 0, sent_ns=sent_ns)
        finally:
            self._asked = None
        raise explain_silence(self._line, unit_id, timeout_s * (retries + 1))

    async def _exchange(self, request: bytes, timeout_s: float) -> Told:
        """Send the request and return its answer; raise `NotConnected` or `TimeoutError`."""
        if self._socket is None:
            raise NotConnected(f"the connection to {self._line.where} is closed")
        loop = asyncio.get_running_loop()
        self._told = told = loop.create_future()
        timer = loop.call_later(timeout_s, _give_up, told)
        try:
            self._send(self._socket, request)
            found: Told | None = await told
        finally:
            timer.cancel()
            self._told = None
        if found is None:
            raise explain_loss(self._line, has_answered=self._has_answered)
        self._has_answered = True
        return found

    def _send(self, opened: socket.socket, request: bytes) -> None:
        """Write the request; a socket that does not take twelve bytes has been dead for long."""
        try:
            opened.send(request)
        except OSError:
            self.close()

    def _make_answer(self, told: Told, block: Block, *, retried: bool, sent_ns: int) -> Answer:
        observed_ns = (sent_ns + time_ns()) // 2
        if told.octets is None:
            return Answer(None, told.code, retried, observed_ns)
        if len(told.octets) != block.octets:
            return Answer(None, SHORT_ANSWER, retried, observed_ns)
        return Answer(told.octets, 0, retried, observed_ns)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            came = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self.close()
        elif self._asked is not None:
            found, self._received = find_answer(self._received + came, self._asked)
            if found is not None:
                self._tell(found)

    def _tell(self, found: Told | None) -> None:
        if self._told is not None and not self._told.done():
            self._told.set_result(found)


def _give_up(told: "asyncio.Future[Told | None]") -> None:
    if not told.done():
        told.set_exception(TimeoutError())


async def _connect(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses; raise `OSError`."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with ExitStack() as unless_connected:
            try:
                opened = unless_connected.enter_context(socket.socket(family, kind, protocol))
                opened.setblocking(False)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(opened, address)
            except OSError as error:
                failure = error
            else:
                unless_connected.pop_all()
                return opened
    raise failure
