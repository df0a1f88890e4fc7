"""What an OPC UA value costs the gateway: one bulk read, against one read per node."""

import asyncio
from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any

import pytest
from asyncua import Client

from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.settings import OpcuaMachineSettings
from tests.bench.machine_servers import machine_server
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig

NODES = 1_000
ROUNDS = 5


async def measure_us(read: Callable[[], Awaitable[None]], values: int) -> float:
    """Return the least CPU time per value over some rounds, of this process alone."""
    costs = []
    for _ in range(ROUNDS):
        begin = process_time()
        await read()
        costs.append((process_time() - begin) / values * 1e6)
    return min(costs)


def poll_settings(url: str) -> OpcuaMachineSettings:
    """Return a machine with all nodes, polled."""
    return OpcuaMachineSettings.model_validate(
        {
            "kind": "opcua",
            "path": "s/a/l/m",
            "url": url,
            "mode": "poll",
            "timeout_s": 30,
            "allow_insecure": True,
            "tags": [{"name": f"t{at}", "node_id": f"nsu={NAMESPACE};s=pump-7.t{at}"} for at in range(NODES)],
        }
    )


@pytest.mark.bench
async def test_a_bulk_read_against_one_read_per_node(free_port: int) -> None:
    """1,000 nodes: at least 10 times less CPU per value than a read for each."""
    url = OpcuaRig(free_port).url
    with machine_server("opcua", free_port, NODES):
        settings = poll_settings(url)
        session = OpcuaSession(settings)
        await session.open()
        index = session.namespaces.index(NAMESPACE)
        session.choose({f"t{at}": (index, f"pump-7.t{at}") for at in range(NODES)})
        driver = settings.build()
        await driver.connect()
        client = Client(url, timeout=30)
        await client.connect()
        nodes = [client.get_node(f"ns={index};s=pump-7.t{at}") for at in range(NODES)]

        async def read_one_by_one() -> None:
            for at, node in enumerate(nodes):
                assert await node.read_value() == at + 0.5

        async def read_asyncua_bulk() -> None:
            assert len(await client.read_values(nodes)) == NODES

        async def read_in_bulk() -> None:
            for _ in range(5):
                assert len(await session.read()) == NODES

        async def poll() -> None:
            for _ in range(5):
                await driver.read()

        one_by_one = await measure_us(read_one_by_one, NODES)
        library = await measure_us(read_asyncua_bulk, NODES)
        bulk = await measure_us(read_in_bulk, 5 * NODES)
        whole = await measure_us(poll, 5 * NODES)
        await client.disconnect()
        await session.close()
        await driver.close()
    print(
        f"\nOPC UA, {NODES} nodes, client CPU per value: one read each {one_by_one:.0f} us, asyncua's "
        f"read_values {library:.1f} us, ours {bulk:.1f} us ({whole:.1f} us with repeats left out): "
        f"{one_by_one / bulk:.0f} times less than one by one"
    )


async def follow_with_driver(settings: OpcuaMachineSettings, seconds: float) -> dict[str, list[float]]:
    """Return what our driver was told in that time, by tag."""
    driver = settings.build()
    await driver.connect()
    told: dict[str, list[float]] = {}
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        for frame in await driver.read():
            for tag, column in frame.values.items():
                told.setdefault(tag, []).extend(value for value in column if value is not None)
    await driver.close()
    return told


async def follow_with_asyncua(settings: OpcuaMachineSettings, seconds: float) -> dict[str, list[float]]:
    """The same through asyncua's way of old: an object that is called with each value."""
    told: dict[str, list[float]] = {}

    class Ear:
        def datachange_notification(self, node: Any, value: float, _change: Any) -> None:
            told.setdefault(node.nodeid.Identifier, []).append(value)

    client = Client(settings.url, timeout=30)
    await client.connect()
    index = await client.get_namespace_index(NAMESPACE)
    subscription = await client.create_subscription(1_000 * settings.interval_s, Ear())
    nodes = [client.get_node(f"ns={index};s=pump-7.{tag.name}") for tag in settings.tags]
    await subscription.subscribe_data_change(nodes, queuesize=settings.queue_max)
    await asyncio.sleep(seconds)
    await client.disconnect()
    return told


@pytest.mark.bench
async def test_a_subscription_against_a_call_per_value(free_port: int) -> None:
    """1,000 nodes that change five times a second: what a value costs, and that none is missing."""
    seconds = 8.0
    costs = {}
    with machine_server("counting", free_port, NODES):
        settings = OpcuaMachineSettings.model_validate(
            {
                "kind": "opcua",
                "path": "s/a/l/m",
                "url": OpcuaRig(free_port).url,
                "timeout_s": 30,
                "allow_insecure": True,
                "tags": [
                    {"name": f"t{at}", "node_id": f"nsu={NAMESPACE};s=pump-7.t{at}"} for at in range(NODES)
                ],
            }
        )
        for name, follow in (("ours", follow_with_driver), ("asyncua", follow_with_asyncua)):
            begin = process_time()
            told = await follow(settings, seconds)
            values = sum(map(len, told.values()))
            costs[name] = (process_time() - begin) / values * 1e6
            gaps = sum(int(numbers[-1] - numbers[0]) + 1 - len(numbers) for numbers in told.values())
            print(f"\n{name}: {values} values of {len(told)} nodes in {seconds:g} s, {gaps} missing")
            assert name != "ours" or (gaps == 0 and len(told) == NODES)
    print(
        f"OPC UA subscription, client CPU per value: asyncua's call per value {costs['asyncua']:.1f} us, "
        f"ours {costs['ours']:.1f} us (with connecting): {costs['asyncua'] / costs['ours']:.1f} times less"
    )
