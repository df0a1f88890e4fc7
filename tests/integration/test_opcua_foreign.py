"""The OPC UA driver against npm's node-opcua, a foreign server: counted, killed, overflowed, refused."""

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge.drivers import HistoryRefused, NotConnected
from edge.drivers.opcua.items import count_items
from edge.drivers.opcua.notifications import Message
from edge.drivers.opcua.publishing import Publishing
from edge.drivers.opcua.survey import survey
from tests.integration.opcua_peer_rig import (
    PATIENCE_S,
    NodeOpcua,
    build,
    count,
    describe_pressure,
    read_gaps,
    settings_of,
)
from tests.integration.opcua_rig import read_for, take_rows

PERIOD_MS = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeOpcua]:
    """One server for the tests that leave it alive: counters, an analog item, Machines, a history."""
    running = NodeOpcua(
        tmp_path_factory.mktemp("peer"),
        slow_from=15,
        count=20,
        period_ms=PERIOD_MS,
        analog=True,
        machines=True,
        history=500,
    )
    running.start()
    yield running
    running.stop()


async def test_two_intervals_are_two_subscriptions_and_nothing_is_missing(server: NodeOpcua) -> None:
    """Every number of slow counters comes; tags of a longer interval are sampled less often."""
    nodes = ["t16", "t17", "t0", "t1"]
    tags = [
        {"name": node, "node_id": f"nsu=urn:forewarn:plant;s=pump-7.{node}"}
        | ({"interval_s": 1.2} if node in ("t0", "t1") else {})
        for node in nodes
    ]
    driver = build(server, [], interval_s=0.05, publish_s=0.2, tags=tags)
    await driver.connect()
    assert driver._following is not None
    assert [len(one.watched) for one in driver._following._subscriptions] == [2, 2]
    told: dict[str, list[float]] = {node: [] for node in nodes}
    async with asyncio.timeout(PATIENCE_S):
        while len(told["t16"]) < 6 or len(told["t1"]) < 3:
            for frame in await driver.read():
                for tag, column in frame.values.items():
                    told[tag] += [value for value in column if value is not None]
    assert driver.take_gaps() == []
    await driver.close()
    for node in ("t16", "t17"):
        assert {after - before for before, after in pairwise(told[node])} == {1.0}
    assert min(after - before for before, after in pairwise(told["t1"][1:])) > 1.0


async def test_polling_reads_what_it_has(server: NodeOpcua) -> None:
    """Numbers ascend with the server's own timestamps; tags at a longer interval are read less often."""
    tags = [
        {"name": "fast", "node_id": "nsu=urn:forewarn:plant;s=pump-7.t0"},
        {"name": "slow", "node_id": "nsu=urn:forewarn:plant;s=pump-7.t1", "interval_s": 1.2},
    ]
    driver = build(server, [], mode="poll", interval_s=0.15, tags=tags)
    assert driver.interval_s == 0.15
    await driver.connect()
    told: dict[str, dict[int, tuple[Any, int]]] = {"fast": {}, "slow": {}}
    async with asyncio.timeout(PATIENCE_S):
        while len(told["slow"]) < 3:
            frames = await driver.read()
            told = {tag: rows | take_rows(frames, tag) for tag, rows in told.items()}
            await asyncio.sleep(0.15)
    await driver.close()
    values = [told["fast"][stamp][0] for stamp in sorted(told["fast"])]
    assert values == sorted(values)
    assert len(told["fast"]) > len(told["slow"])
    assert all(abs(stamp - time.time_ns()) < 60e9 for stamp in told["fast"])


async def test_a_survey_finds_machines_units_and_ranges(server: NodeOpcua) -> None:
    """The Machines folder names machines; EURange and EngineeringUnits come with their variable."""
    seen = await survey(settings_of(server, ["t0"]))
    assert seen.knows_machines
    assert seen.is_complete
    found = {(one.machine, one.tag): one for one in seen.found}
    pressure = found["pump-7", "pressure"]
    assert (pressure.unit, pressure.low, pressure.high, pressure.value) == ("bar", 0.0, 200.0, "100.0")
    assert pressure.node_id == "nsu=urn:forewarn:plant;s=pump-7.pressure"
    assert ("Press 3", "force") in found


async def test_an_overflowed_queue_is_a_gap_with_its_tags(server: NodeOpcua) -> None:
    """A queue of two values, told once a second: more are lost, and that is said of these tags."""
    driver = build(server, ["t0", "t1"], interval_s=0.05, publish_s=1.0, queue_max=2)
    with capture_logs() as logs:
        await driver.connect()
        (gap,) = await read_gaps(driver)
        await read_gaps(driver)
    await driver.close()
    assert [line["cause"] for line in logs if line["event"] == "values_lost"] == ["overflow"]
    assert (gap.reason, gap.tags) == ("overflow", [])  # every tag of the machine
    assert gap.values is not None
    assert gap.values >= 2
    assert gap.first < gap.last <= time.time_ns()
    assert [line["tags"] for line in logs if line["event"] == "queue_too_short"] == [["t0", "t1"]]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_lost_message_is_asked_for_again_else_it_is_a_gap(
    server: NodeOpcua, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    """One message vanishes on its way: the server sends it again, or has forgotten it: a gap."""
    heard: list[Message] = []
    pass_on = Publishing._pass_on

    def lose_the_third(publishing: Publishing, message: Message) -> None:
        heard.extend([] if message.is_sign_of_life else [message])
        if len(heard) != 3 or heard[-1] is not message:
            pass_on(publishing, message)
        elif not is_kept:
            takers, publishing._takers = publishing._takers, {}
            pass_on(publishing, message)  # acknowledged, and told to nobody
            publishing._takers = takers

    monkeypatch.setattr(Publishing, "_pass_on", lose_the_third)
    driver = build(server, ["t16"], interval_s=0.05, publish_s=0.1)
    await driver.connect()
    numbers = await count(driver, "t16", 5)
    gaps = driver.take_gaps()
    await driver.close()
    lost = heard[2].rows
    assert lost is not None
    steps = [after - before for before, after in pairwise(numbers)]
    if is_kept:
        assert steps == [1.0] * 4
        assert gaps == []
    else:
        (gap,) = gaps
        assert (gap.reason, gap.tags, gap.values) == ("notifications_lost", [], None)
        assert "1 message missing" in gap.detail
        assert gap.first < min(lost.timestamps) <= max(lost.timestamps) < gap.last
        assert sum(steps) - len(steps) == len(lost.places)


async def test_a_frozen_server_is_named_by_its_subscription(
    server: NodeOpcua, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that keeps the connection and says nothing, not even keep-alives, counts as lost."""
    monkeypatch.setattr("edge.drivers.opcua.subscription.KEEP_ALIVE_S", 0.2)
    driver = build(server, ["t0", "t1"], timeout_s=1.0)
    await driver.connect()
    await count(driver, "t0", 2)
    server.freeze()
    try:
        said = r"the subscription of 2 tags every 0\.1 s at opc\.tcp.* has been silent for \d+ s"
        with pytest.raises(NotConnected, match=said):
            await count(driver, "t0", 10_000)
    finally:
        server.thaw()
        await driver.close()


@pytest.mark.parametrize("band", [{"deadband": 10.0}, {"deadband_percent_of_range": 5.0}])
async def test_the_server_applies_the_deadband(server: NodeOpcua, band: dict[str, float]) -> None:
    """Of 104, 109 and 115 after 100 only the last is told: by 10, or by 5 per cent of 0 to 200."""
    server.write("pressure", 100.0)
    driver = build(server, [], tags=describe_pressure(**band))
    await driver.connect()
    assert [value for value, _ in (await read_for(driver, "pressure", 1)).values()] == [100.0]
    told: list[float] = []
    for value in (104.0, 109.0, 115.0):
        server.write("pressure", value)
        for _ in range(3):  # reads of 0.1 s: without a deadband each value would come before the next
            told += [row[0] for row in take_rows(await driver.read(), "pressure").values()]
    async with asyncio.timeout(PATIENCE_S):
        while 115.0 not in told:
            told += [row[0] for row in take_rows(await driver.read(), "pressure").values()]
    assert told == [115.0]
    await driver.close()


async def test_what_rests_within_the_deadband_is_read_now_and_then(server: NodeOpcua) -> None:
    """Every `heartbeat_s` the server is asked for what it keeps from us; the value has its own timestamp."""
    server.write("pressure", 100.0)
    driver = build(server, [], tags=describe_pressure(deadband=10.0, heartbeat_s=1.0))
    await driver.connect()
    before = await read_for(driver, "pressure", 1)
    at_ms = time.time_ns() // 1_000_000
    server.write("pressure", 104.0, time_ms=at_ms)
    told = await read_for(driver, "pressure", 1)
    assert told == {at_ms * 1_000_000: (104.0, 0)}
    assert min(told) > max(before)
    await driver.close()


async def test_a_server_names_the_items_that_it_has(server: NodeOpcua) -> None:
    """By the method GetMonitoredItems: what is counted after a connect is the server's own list."""
    driver = build(server, ["t0", "t1", "pressure"])
    await driver.connect()
    assert driver._session is not None
    assert driver._following is not None
    (subscription,) = driver._following._subscriptions
    assert await count_items(driver._session, subscription.id, set()) == {0, 1, 2}
    await driver.close()


async def test_a_deadband_that_the_server_refuses_is_said_once(server: NodeOpcua) -> None:
    """A counter has no range: every change comes, over two connects with one word about it."""
    tags = [
        {
            "name": "t16",
            "node_id": "nsu=urn:forewarn:plant;s=pump-7.t16",
            "deadband_percent_of_range": 50,
        }
    ]
    driver = build(server, [], tags=tags)
    with capture_logs() as logs:
        await driver.connect()
        await driver.connect()
    assert [(line["event"], line["tags"]) for line in logs] == [("deadband_of_range_refused", ["t16"])]
    numbers = await count(driver, "t16", 3)
    assert {after - before for before, after in pairwise(numbers)} == {1.0}
    await driver.close()


async def test_history_gives_back_what_was_missed(server: NodeOpcua) -> None:
    """Raw values in several pages, without the two ends; a tag without history is left out."""
    driver = build(server, ["t0", "t1"])
    await driver.connect()
    told = await read_for(driver, "t0", 12)
    stamps = sorted(told)
    history = await driver.read_history(stamps[0], stamps[-1])
    await driver.close()
    rows = take_rows(history, "t0")
    assert stamps[1:-1] == [stamp for stamp in rows if stamp in told]
    assert all(stamps[0] < stamp < stamps[-1] for stamp in rows)
    assert all(rows[stamp] == told[stamp] for stamp in stamps[1:-1])
    assert take_rows(history, "t1") == {}


async def test_history_comes_in_pages(server: NodeOpcua, monkeypatch: pytest.MonkeyPatch) -> None:
    """Continuation points are followed until there are no more."""
    monkeypatch.setattr("edge.drivers.opcua.history.VALUES_PER_PAGE", 3)
    driver = build(server, ["t0"])
    await driver.connect()
    told = await read_for(driver, "t0", 12)
    rows = take_rows(await driver.read_history(min(told) - 1, max(told) + 1), "t0")
    await driver.close()
    assert [rows[stamp] for stamp in sorted(told)] == [told[stamp] for stamp in sorted(told)]


async def test_a_machine_without_history_says_so(server: NodeOpcua) -> None:
    """HistoryRefused with the reason, at each call, and the live values flow on."""
    driver = build(server, ["t1", "t2"])
    await driver.connect()
    for _ in range(2):
        with pytest.raises(HistoryRefused, match=r"no history of these tags \(BadHistory"):
            await driver.read_history(1, time.time_ns())
    assert len(await count(driver, "t1", 3)) == 3
    await driver.close()
