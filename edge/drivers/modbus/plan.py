"""What a poll of a Modbus machine asks for: the requests, as a person checks them against a manual."""

from collections.abc import Iterable, Sequence

import msgspec

from edge.drivers.modbus.line_settings import SerialSettings, choose_frame_gap_s
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Block, Table
from edge.drivers.modbus.settings import ModbusMachineSettings, ModbusTagSettings

START_AND_BYTE_BITS = 9
REQUEST_OCTETS = 8
ANSWER_OCTETS = 5
"""What frames have beside registers: unit, function, addresses or byte count, checksum."""

FUNCTION_CODES: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


class PlannedRequest(msgspec.Struct, frozen=True):
    """One request of a poll: `count` registers (or bits) from `first` on."""

    machine: str
    line: str
    unit_id: int
    function_code: int
    table: Table
    first: int
    count: int
    tags: tuple[str, ...]
    read_through: int
    """How many of the registers (or bits) no tag wants: asking around them would cost a request more."""

    interval_s: float


def plan_requests(machine: ModbusMachineSettings) -> list[PlannedRequest]:
    """Return the requests of one poll of everything, in their order, as long as the machine refuses none."""
    return [
        PlannedRequest(
            machine=str(machine.path),
            line=machine.line.where,
            unit_id=machine.unit_id,
            function_code=FUNCTION_CODES[block.table],
            table=block.table,
            first=block.address,
            count=block.count,
            tags=tuple(dict.fromkeys(value.name for value in block.wanted)),
            read_through=_count_unwanted(block),
            interval_s=interval_s,
        )
        for interval_s, tags in _list_groups(machine)
        for block in plan_blocks([value for tag in tags for value in tag.want_all()], machine.limits)
    ]


def _list_groups(machine: ModbusMachineSettings) -> list[tuple[float, Sequence[ModbusTagSettings]]]:
    """Return which tags are read together: a waveform is by itself."""
    waveforms = [tag for tag in machine.tags if tag.waveform is not None]
    return [*machine.groups, *((tag.interval_s or machine.interval_s, [tag]) for tag in waveforms)]


class LineLoad(msgspec.Struct, frozen=True):
    """How long a serial line is busy with the requests of all machines on it, of every second."""

    line: str
    baudrate: int
    requests_per_s: float
    busy_share: float
    """1 is all it can carry; the time that devices take to answer comes on top."""


def weigh_lines(machines: Iterable[ModbusMachineSettings]) -> list[LineLoad]:
    """Return the load of each serial line of this computer, in the order of the machines."""
    settings: dict[str, SerialSettings] = {}
    planned: dict[str, list[PlannedRequest]] = {}
    for machine in machines:
        if machine.serial is not None:
            settings[machine.line.where] = machine.serial
            planned.setdefault(machine.line.where, []).extend(plan_requests(machine))
    return [
        LineLoad(
            line,
            settings[line].baudrate,
            sum(1 / request.interval_s for request in requests),
            sum(_count_seconds(request, settings[line]) / request.interval_s for request in requests),
        )
        for line, requests in planned.items()
    ]


def _count_seconds(request: PlannedRequest, serial: SerialSettings) -> float:
    """Return how long request and answer take on the wire (Modbus over Serial Line 1.02, 2.5.1)."""
    bits = START_AND_BYTE_BITS + (serial.parity != "none") + serial.stopbits
    octets = Block(request.table, request.first, request.count, ()).octets
    frames_s = (REQUEST_OCTETS + ANSWER_OCTETS + octets) * bits / serial.baudrate
    return frames_s + 2 * choose_frame_gap_s(serial)


def _count_unwanted(block: Block) -> int:
    wanted = {at for value in block.wanted for at in range(value.address, value.end)}
    return block.count - len(wanted)
