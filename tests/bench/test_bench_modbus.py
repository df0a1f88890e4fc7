"""What a Modbus value costs the gateway: in blocks, against one request per register."""

import random
from collections.abc import Awaitable, Callable
from time import process_time

import pytest
from pymodbus.client import AsyncModbusTcpClient

from edge.drivers.modbus.decoding import BlockDecoder, write_words
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Limits, Quirks, Span, Wanted
from edge.drivers.modbus.settings import ModbusMachineSettings
from models.telemetry import count_values
from tests.bench.machine_servers import machine_server
from tests.integration.drivers_rig import HOST

REGISTERS = 1_000
ROUNDS = 5


async def measure_us(read: Callable[[], Awaitable[int]]) -> float:
    """Return the least CPU time per value over some rounds, of this process alone."""
    costs = []
    for _ in range(ROUNDS):
        begin = process_time()
        values = await read()
        costs.append((process_time() - begin) / values * 1e6)
    return min(costs)


@pytest.mark.bench
async def test_blocks_against_one_request_per_register(free_port: int) -> None:
    """1,000 registers: at least 30 times less CPU per value than a request for each."""
    with machine_server("modbus", free_port, REGISTERS):
        tags = [
            {"name": f"r{at}", "table": "holding", "address": at, "type": "uint16"} for at in range(REGISTERS)
        ]
        driver = ModbusMachineSettings.model_validate(
            {
                "kind": "modbus",
                "path": "s/a/l/m",
                "host": HOST,
                "port": free_port,
                "timeout_s": 10,
                "tags": tags,
            }
        ).build()
        await driver.connect()
        client = AsyncModbusTcpClient(HOST, port=free_port, timeout=10)
        await client.connect()

        async def read_in_blocks() -> int:
            # Twenty polls a round: one is too short for the clock.
            return sum([count_values(await driver.read()) for _ in range(20)])

        async def read_one_by_one() -> int:
            for at in range(REGISTERS):
                answer = await client.read_holding_registers(at, count=1)
                assert client.convert_from_registers(answer.registers, client.DATATYPE.UINT16) == at
            return REGISTERS

        one_by_one = await measure_us(read_one_by_one)
        blocks = await measure_us(read_in_blocks)
        client.close()
        await driver.close()
    print(
        f"\nModbus, {REGISTERS} registers, client CPU per value: one request each {one_by_one:.0f} us, "
        f"in blocks {blocks:.2f} us: {one_by_one / blocks:.0f} times less"
    )


@pytest.mark.bench
def test_decoding_against_pymodbus() -> None:
    """float32 from words: in one unpack, against pymodbus' conversion value by value."""
    wanted = [Wanted(f"f{at}", "holding", 2 * at, "float32") for at in range(62)]
    (block,) = plan_blocks(wanted, Limits())
    decoder = BlockDecoder(block)
    words = [0x4145, 0x0A3D] * 62
    octets = write_words("holding", words)
    convert, kind = AsyncModbusTcpClient.convert_from_registers, AsyncModbusTcpClient.DATATYPE.FLOAT32

    def measure(decode: Callable[[], object], repeats: int) -> float:
        begin = process_time()
        for _ in range(repeats):
            decode()
        return (process_time() - begin) / repeats / 62 * 1e6

    ours = measure(lambda: decoder.decode(octets), 2_000)
    theirs = measure(lambda: [convert(words[at : at + 2], kind) for at in range(0, 124, 2)], 500)
    print(
        f"\nModbus, decoding a float32 to its shortest decimal: {ours:.2f} us; "
        f"pymodbus, without shortening: {theirs:.2f} us: {theirs / ours:.1f} times more"
    )


@pytest.mark.bench
def test_planning_takes_time_as_tags_are_many() -> None:
    """Ten times the tags, ten times the time: scattered over the tables, with and without quirks."""
    source = random.Random(1)
    rules = Quirks(2, 2, (Span("holding", 99, 103),), (Span("input", 50, 60),))
    print("\nModbus, planning requests, microseconds per tag:")
    for name, limits in (("plain", Limits()), ("with quirks", Limits(quirks=rules))):
        costs = []
        for tags in (600, 6_000, 60_000):
            places = source.sample(range(130_000), tags)
            wanted = [
                Wanted(str(at), "holding" if at % 2 else "input", 100 + at // 2, "uint16") for at in places
            ]
            repeats = 60_000 // tags
            begin = process_time()
            for _ in range(repeats):
                plan_blocks(wanted, limits)
            costs.append((process_time() - begin) / repeats / tags * 1e6)
        shown = ", ".join(
            f"{cost:.2f} for {tags}" for cost, tags in zip(costs, (600, 6_000, 60_000), strict=True)
        )
        print(f"  {name:12} {shown}: 100 x the tags take {100 * costs[-1] / costs[0]:.0f} x the time")
