"""The items of a subscription on npm's node-opcua: counted after each connect, forgotten, gone, killed."""

import asyncio
from collections.abc import Iterator, Set
from typing import Any

import pytest
from asyncua import ua
from structlog.testing import capture_logs

from edge.drivers import NotConnected
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.items import count_items
from tests.integration.opcua_peer_rig import PATIENCE_S, NodeOpcua, build, count
from tests.integration.opcua_rig import take_rows

SERVER, GET_MONITORED_ITEMS = ua.NodeId(2253), ua.NodeId(11492)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeOpcua]:
    """A server of five counters, for all tests of this file; the last one kills it."""
    running = NodeOpcua(tmp_path_factory.mktemp("items"), count=5, period_ms=200)
    running.start()
    yield running
    running.kill()


async def delete_first_item(client: Any, subscription_ids: list[int]) -> list[int]:
    """Take an item away behind the driver's back, as a server does that runs out of memory."""
    (subscription_id,) = subscription_ids
    wish = ua.CallMethodRequest(
        SERVER, GET_MONITORED_ITEMS, [ua.Variant(subscription_id, ua.VariantType.UInt32)]
    )
    (answer,) = await client.call([wish])
    first = answer.OutputArguments[0].Value[0]
    await client.delete_monitored_items(ua.DeleteMonitoredItemsParameters(subscription_id, [first]))
    return [first]


async def test_an_item_that_the_server_accepts_and_forgets_is_named_and_asked_for_again(
    server: NodeOpcua, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server says it has is compared with what it accepted; the rest is subscribed to once more."""
    forgets = iter([True])

    async def forget_one(session: OpcuaSession, subscription_id: int, expected: Set[int]) -> set[int]:
        if next(forgets, False):
            await session.call([subscription_id], delete_first_item)
        return await count_items(session, subscription_id, expected)

    monkeypatch.setattr("edge.drivers.opcua.following.count_items", forget_one)
    monkeypatch.setattr("edge.drivers.probing.PROBE_DELAY_S", 0.3)
    driver = build(server, ["t0", "t1"])
    with capture_logs() as logs:
        await driver.connect()
    ((event, tags),) = [(line["event"], line["tags"]) for line in logs]
    assert event == "items_forgotten"
    (forgotten,) = tags
    told: dict[int, Any] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(told) < 4:  # its first value had come before the server forgot it
            told |= take_rows(await driver.read(), forgotten)
    await driver.close()


async def test_a_server_that_is_killed_in_mid_flow_is_followed_again(server: NodeOpcua) -> None:
    """kill -9, and a start without two nodes: a reason, a new session, the tags that are gone named."""
    driver = build(server, [f"t{at}" for at in range(5)], timeout_s=2.0)
    try:
        await driver.connect()
        await count(driver, "t4", 5)
        server.kill()
        with pytest.raises(NotConnected, match=str(server.port)):
            await count(driver, "t0", 10_000)
        with pytest.raises(NotConnected, match="refuses the connection"):
            await driver.connect()
        server.change(count=3)
        server.start()
        with capture_logs() as logs:
            await driver.connect()
            assert len(await count(driver, "t2", 3)) == 3
        assert [line["tag"] for line in logs if line["event"] == "item_missing"] == ["t3", "t4"]
    finally:
        await driver.close()
