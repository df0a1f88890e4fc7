"""Speaks Modbus over TLS, serial lines and their converters; the only file that knows pymodbus."""

import asyncio
import termios
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, time_ns

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusTlsClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from edge.drivers import NotConnected
from edge.drivers.library_logs import silence
from edge.drivers.modbus.answers import Answer, explain_loss, explain_silence
from edge.drivers.modbus.line_settings import Line, choose_frame_gap_s
from edge.drivers.modbus.reachability import explain_network, explain_port, make_trust
from edge.drivers.modbus.registers import Block
from edge.drivers.refusals import SHORT_ANSWER

MISSES_BEFORE_PYMODBUS_CLOSES = 1_000_000_000
"""Whether silence ends a connection is the line's decision: its other units may be well."""


class _Octets(ModbusPDU):
    """The answer to a read as it stands: pymodbus would unpack it value by value, and write that as text."""

    rtu_byte_count_pos = 2
    octets = b""

    def decode(self, data: bytes) -> None:
        """Keep what the byte count counts; less than that is a short answer."""
        self.octets = data[1 : 1 + data[0]]


class _Coils(_Octets):
    function_code = 1


class _Discretes(_Octets):
    function_code = 2


class _Holdings(_Octets):
    function_code = 3


class _Inputs(_Octets):
    function_code = 4


def _end_waiting(client: ModbusBaseClient, is_connected: bool) -> None:
    """Tell whoever waits for an answer that the connection is gone: pymodbus would wait its timeouts out."""
    waiting = client.ctx.response_future
    if not is_connected and not waiting.done():
        waiting.set_exception(ConnectionException("closed by the other side"))
        waiting.exception()  # nobody may be waiting: that is no error then


class ModbusConnection:
    """See `Connection`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._client: ModbusBaseClient | None = None
        self._answered_s = 0.0
        self._has_answered = False
        # A converter on the network keeps the gaps of its line by itself.
        self._frame_gap_s = choose_frame_gap_s(line.serial) if line.serial else 0.0

    @property
    def is_open(self) -> bool:
        """See `Connection`."""
        return self._client is not None and self._client.connected

    async def open(self, timeout_s: float) -> None:
        """See `Connection`."""
        self.close()
        silence("pymodbus")
        client = self._make_client(timeout_s)
        client.set_max_no_responses(MISSES_BEFORE_PYMODBUS_CLOSES)
        client.ctx.trace_connect = partial(_end_waiting, client)
        for answer in (_Coils, _Discretes, _Holdings, _Inputs):
            client.register(answer)
        try:
            connected = await client.connect()
        except termios.error as error:  # which is no OSError, and passes through pyserial and pymodbus
            client.close()
            raise NotConnected(
                f"{self._line.where} does not take the settings under serial ({error.args[-1]}): "
                "has the adapter this baudrate and parity?"
            ) from error
        if not connected:
            client.close()
            raise NotConnected(await self._explain_failure(timeout_s))
        self._client, self._has_answered = client, False

    def close(self) -> None:
        """See `Connection`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def ask(
        self,
        unit_id: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        retries: int,
        goes_on: Callable[[], bool],  # noqa: ARG002  # the first block is enough for a slow line
    ) -> list[Answer]:
        """See `Connection`."""
        return [await self._ask(unit_id, blocks[0], timeout_s=timeout_s, retries=retries)]

    async def _ask(self, unit_id: int, block: Block, *, timeout_s: float, retries: int) -> Answer:
        client = self._client
        if client is None or not client.connected:
            raise NotConnected(f"the connection to {self._line.where} is closed")
        client.ctx.comm_params.timeout_connect = timeout_s
        client.ctx.retries = retries
        if self._frame_gap_s:
            await asyncio.sleep(self._answered_s + self._frame_gap_s - monotonic())
        read = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[block.table]
        sent_ns, sent_s = time_ns(), monotonic()
        try:
            reply = await read(block.address, count=block.count, device_id=unit_id)
        except (ModbusException, OSError) as error:
            raise self._judge_silence(client, unit_id, timeout_s * (retries + 1)) from error
        finally:
            self._answered_s = monotonic()
        observed_ns, took_s = (sent_ns + time_ns()) // 2, self._answered_s - sent_s
        self._has_answered = True
        retried = reply.retries > 0
        if reply.isError():
            return Answer(None, reply.exception_code, retried, observed_ns, took_s)
        # pymodbus takes short answers for good ones.
        if not isinstance(reply, _Octets) or len(reply.octets) != block.octets:
            return Answer(None, SHORT_ANSWER, retried, observed_ns, took_s)
        return Answer(reply.octets, 0, retried, observed_ns, took_s)

    def _make_client(self, timeout_s: float) -> ModbusBaseClient:
        line = self._line
        if line.serial is not None:
            return AsyncModbusSerialClient(
                line.serial.device,
                baudrate=line.serial.baudrate,
                parity=line.serial.parity[0].upper(),
                stopbits=line.serial.stopbits,
                timeout=timeout_s,
                reconnect_delay=0,  # the poller reconnects
            )
        if line.tls is not None:
            trust = make_trust(line.tls)
            client = AsyncModbusTlsClient(
                line.host, port=line.port, sslctx=trust, timeout=timeout_s, reconnect_delay=0
            )
            # pymodbus can only expect the certificate to name the host itself.
            client.ctx.call_create = partial(
                asyncio.get_running_loop().create_connection,
                client.ctx.handle_new_connection,
                line.host,
                line.port,
                ssl=trust,
                server_hostname=line.tls.server_name or line.host,
            )
            return client
        return AsyncModbusTcpClient(
            line.host, port=line.port, framer=FramerType.RTU, timeout=timeout_s, reconnect_delay=0
        )

    def _judge_silence(self, client: ModbusBaseClient, unit_id: int, waited_s: float) -> NotConnected:
        if not client.connected:
            return explain_loss(self._line, has_answered=self._has_answered)
        return explain_silence(self._line, unit_id, waited_s)

    async def _explain_failure(self, timeout_s: float) -> str:
        line = self._line
        reason = (
            explain_port(line.serial.device)
            if line.serial is not None
            else await explain_network(line, timeout_s, make_trust(line.tls) if line.tls else None)
        )
        return f"{line.where} {reason}"
