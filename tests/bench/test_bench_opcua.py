"""What an OPC UA value costs the gateway: one bulk read, against one read per node."""

from collections.abc import Awaitable, Callable
from time import process_time

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
        session.choose({at: (index, f"pump-7.t{at}") for at in range(NODES)}, [range(NODES)])
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
                assert len((await session.read(0)).places) == NODES

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
