"""Speaks plain Modbus TCP, as most machines do, on a socket of its own.

A request through pymodbus costs three times as much: that was half of what a gateway at rest computes.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic, time_ns
from typing import Any

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer, explain_loss, explain_silence
from edge.drivers.modbus.line_settings import Line
from edge.drivers.modbus.mbap import (
    READ_CODES,
    TRANSACTION_MAX,
    Asked,
    Told,
    find_answer,
    make_answer_head,
    make_request,
)
from edge.drivers.modbus.reachability import explain_network
from edge.drivers.modbus.registers import Block
from edge.drivers.refusals import SHORT_ANSWER

READ_BYTES = 4_096


class _Run:
    """Requests that follow each other; `ended` once the last of them is answered, or one is not."""

    def __init__(
        self,
        unit_id: int,
        blocks: Sequence[Block],
        ended: "asyncio.Future[None]",
        goes_on: Callable[[], bool],
        timeout_s: float,
        retries: int,
    ) -> None:
        self.unit_id = unit_id
        self.timeout_s = timeout_s
        self.retries = retries
        self.blocks = blocks
        self.ended = ended
        self.goes_on = goes_on
        self.answers: list[Answer] = []
        self.failure: NotConnected | None = None
        self.asked = Asked(0, unit_id, 0)
        self.request = self.answer_head = b""
        self.answer_bytes = 0
        self.tries = 0
        self.sent_ns = 0
        self.begun_s = self.due_s = 0.0
        self.timer: asyncio.TimerHandle

    @property
    def block(self) -> Block:
        """What is asked for now."""
        return self.blocks[len(self.answers)]

    def end(self, failure: NotConnected | None = None) -> None:
        """Let whoever waits go on."""
        if not self.ended.done():
            self.failure = failure
            self.ended.set_result(None)


class TcpConnection:
    """See `Connection`. What comes without having been asked for is passed over.

    Answers are taken, and the next request is sent, in the call-back of the socket: no task wakes up between.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._socket: socket.socket | None = None
        self._transaction = 0
        self._run: _Run | None = None
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
        self._socket, self._has_answered, self._received = opened, False, b""
        asyncio.get_running_loop().add_reader(opened, self._read)

    def close(self) -> None:
        """See `Connection`."""
        opened, self._socket = self._socket, None
        if opened is not None:
            asyncio.get_running_loop().remove_reader(opened)
            opened.close()
        if self._run is not None:
            self._run.end(explain_loss(self._line, has_answered=self._has_answered))

    async def ask(
        self,
        unit_id: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        retries: int,
        goes_on: Callable[[], bool],
    ) -> list[Answer]:
        """See `Connection`."""
        if self._socket is None:
            raise NotConnected(f"the connection to {self._line.where} is closed")
        loop = asyncio.get_running_loop()
        self._run = run = _Run(unit_id, blocks, loop.create_future(), goes_on, timeout_s, retries)
        self._begin(run)
        run.timer = loop.call_at(run.due_s, self._look, run)
        try:
            await run.ended
        finally:
            run.timer.cancel()
            self._run = None
        if run.failure is not None:
            raise run.failure
        return run.answers

    def _look(self, run: _Run) -> None:
        """Ask again or give up where it is time; the timer stands since the first request of the run."""
        loop = asyncio.get_running_loop()
        if loop.time() >= run.due_s:
            if run.tries > run.retries:
                self._received = b""  # of an answer that stopped half way the rest may never come
                waited_s = run.timeout_s * run.tries
                run.end(explain_silence(self._line, run.unit_id, waited_s))
                return
            self._send(run)
        run.timer = loop.call_at(run.due_s, self._look, run)

    def _begin(self, run: _Run) -> None:
        """Send the next request of the run."""
        block = run.block
        self._transaction = self._transaction % TRANSACTION_MAX + 1
        run.asked = Asked(self._transaction, run.unit_id, READ_CODES[block.table])
        run.request = make_request(run.asked, block.address, block.count)
        run.answer_head = make_answer_head(run.asked, block.octets)
        run.answer_bytes = len(run.answer_head) + block.octets
        run.tries = 0
        run.sent_ns, run.begun_s = time_ns(), monotonic()
        self._send(run)

    def _send(self, run: _Run) -> None:
        """Write the request; a socket that does not take twelve bytes has been dead for long."""
        run.tries += 1
        run.due_s = monotonic() + run.timeout_s
        if self._socket is None:
            return
        try:
            self._socket.send(run.request)
        except OSError:
            self.close()

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            came = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        run = self._run
        if not came:
            self.close()
        elif run is None or run.ended.done():
            return
        elif len(came) == run.answer_bytes and came.startswith(run.answer_head) and not self._received:
            self._take(run, Told(came[len(run.answer_head) :]))  # as nearly all are
        else:
            told, self._received = find_answer(self._received + came, run.asked)
            if told is not None:
                self._take(run, told)

    def _take(self, run: _Run, told: Told) -> None:
        self._has_answered = True
        octets, code = told.octets, told.code
        if octets is not None and len(octets) != run.block.octets:
            octets, code = None, SHORT_ANSWER
        observed_ns, took_s = (run.sent_ns + time_ns()) // 2, monotonic() - run.begun_s
        run.answers.append(Answer(octets, code, run.tries > 1, observed_ns, took_s))
        if octets is None or len(run.answers) == len(run.blocks) or not run.goes_on():
            run.end()
        else:
            self._begin(run)


async def _connect(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses; raise `OSError`."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await _find_addresses(host, port):
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


async def _find_addresses(host: str, port: int) -> list[Any]:
    """Return the host's addresses as `getaddrinfo` does; a thread asks for a name, but numbers are known."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
