"""A Modbus TCP server of holding registers; the only file of the simulator that knows pymodbus."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.simulator.ports import HOST, PortTaken, check_port

READ_HOLDING = 3


class Registers(Protocol):
    """What stands in the holding registers of one unit, from address 0 on."""

    @property
    def count(self) -> int:
        """How many registers there are."""

    def read(self, address: int, transaction: int) -> Sequence[int] | None:
        """Return all registers (not only those from `address` on), or None when the unit is busy.

        `transaction` is the number that the client gave its request; a request sent again has the same.
        """


class FloatRegisters:
    """The latest values of some tags as float32, two registers each, most significant first (ABCD)."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = tuple(tags)
        self._words: tuple[int, ...] = (0,) * (2 * len(tags))

    @property
    def count(self) -> int:
        """Two registers a tag."""
        return len(self._words)

    def write(self, values: Mapping[str, float]) -> None:
        """Replace all values at once."""
        packed = struct.pack(f">{len(self._tags)}f", *(values[tag] for tag in self._tags))
        self._words = struct.unpack(f">{len(self._words)}H", packed)

    def read(self, address: int, transaction: int) -> Sequence[int]:  # noqa: ARG002  # the same words for every request
        """Return the words of the latest values."""
        return self._words


class WaveRegisters(FloatRegisters):
    """The latest values, and an int16 waveform from `address` on; the register before it counts waveforms."""

    def __init__(self, tags: Sequence[str], address: int, samples: int, unit_per_count: float) -> None:
        super().__init__(tags)
        self._unit_per_count = unit_per_count
        self._counter = 0
        self._between: tuple[int, ...] = (0,) * (address - 1 - super().count)
        self._waveform: tuple[int, ...] = (0,) * samples

    @property
    def count(self) -> int:
        """Values, a gap, the counter, the waveform."""
        return super().count + len(self._between) + 1 + len(self._waveform)

    def write_waveform(self, samples: Sequence[float]) -> None:
        """Replace the waveform, and count it."""
        counts = [min(max(round(one / self._unit_per_count), -32_768), 32_767) for one in samples]
        self._waveform = struct.unpack(f">{len(counts)}H", struct.pack(f">{len(counts)}h", *counts))
        self._counter = (self._counter + 1) % 65_536

    def read(self, address: int, transaction: int) -> Sequence[int]:
        """Return the words of the latest values and of the waveform."""
        return (*super().read(address, transaction), *self._between, self._counter, *self._waveform)


class ModbusServer:
    """A server of read-only units, on this computer only; other unit ids get a gateway's exception 11."""

    def __init__(self, port: int, units: Mapping[int, Registers], port_option: str = "--modbus-port") -> None:
        self._port_option = port_option
        self.port = port
        self._units = units
        self._server: ModbusTcpServer | None = None
        self._transaction = 0

    async def start(self) -> None:
        """Listen; raise `PortTaken`."""
        check_port(self.port, self._port_option)
        devices = [self._make_device(unit_id, registers) for unit_id, registers in self._units.items()]
        server = ModbusTcpServer(
            [*devices, _make_absent_device()], address=(HOST, self.port), trace_pdu=self._note_request
        )
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            raise PortTaken(
                f"port {self.port} on {HOST}: {error}: choose another with {self._port_option}"
            ) from error
        self._server = server
        # pymodbus keeps the listening asyncio server where a client keeps its transport.
        listening = cast(asyncio.Server, server.transport)
        self.port = listening.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """Where clients connect: `host:port`; with port 0 known after `start`."""
        return f"{HOST}:{self.port}"

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus

    def _make_device(self, unit_id: int, registers: Registers) -> SimDevice:
        async def answer(
            function_code: int,
            _start_address: int,
            address: int,
            _count: int,
            current_registers: list[int],
            _set_values: list[int] | list[bool] | None,
        ) -> ExcCodes | None:
            if function_code != READ_HOLDING:
                return ExcCodes.ILLEGAL_FUNCTION
            words = registers.read(address, self._transaction)
            if words is None:
                return ExcCodes.DEVICE_BUSY
            current_registers[: len(words)] = words
            return None

        cells = SimData(0, values=[0] * registers.count, datatype=DataType.REGISTERS)
        return SimDevice(unit_id, [cells], action=answer)

    def _note_request(self, is_answer: bool, pdu: ModbusPDU) -> ModbusPDU:  # pymodbus calls it so
        if not is_answer:
            self._transaction = pdu.transaction_id
        return pdu


def _make_absent_device() -> SimDevice:
    async def refuse(*_request: object) -> ExcCodes | None:
        return ExcCodes.GATEWAY_NO_RESPONSE

    # Unit id 0 answers for all that are not there; its one range covers every address.
    return SimDevice(0, [SimData(0, count=65536, values=0, datatype=DataType.REGISTERS)], action=refuse)
