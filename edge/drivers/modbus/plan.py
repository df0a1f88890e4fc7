"""What a poll of a Modbus machine asks for: the requests, as a person checks them against a manual."""

import msgspec

from edge.drivers.interval_groups import group_tags
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Block, Table
from edge.drivers.modbus.settings import ModbusMachineSettings

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
            tags=tuple(value.name for value in block.wanted),
            read_through=_count_unwanted(block),
            interval_s=interval_s,
        )
        for interval_s, tags in group_tags(machine.tags, machine.interval_s)
        for block in plan_blocks([tag.want() for tag in tags], machine.limits)
    ]


def _count_unwanted(block: Block) -> int:
    wanted = {at for value in block.wanted for at in range(value.address, value.end)}
    return block.count - len(wanted)
