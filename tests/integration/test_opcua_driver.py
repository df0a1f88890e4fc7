"""The OPC UA driver against a real asyncua server: timestamps, qualities, wrong nodes, and nothing lost."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from structlog.testing import capture_logs

from edge.drivers import NotConnected
from models.telemetry import Frame, quality
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.integration.opcua_rig import build, read_for, take_rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = datetime(2026, 11, 23, 3, 0, 0, 0, UTC)
START_NS = 1_795_402_800_000_000_000


async def test_a_subscription_loses_nothing_between_two_publishes(opcua: OpcuaRig) -> None:
    """Ten tags change 50 times within one publish interval; every value comes with its own timestamp."""
    await opcua.add({f"t{at}": 0.0 for at in range(10)})
    driver = build(opcua, {f"t{at}": f"t{at}" for at in range(10)}, interval_s=1.0)
    await driver.connect()
    frames = await driver.read()
    for step in range(1, 51):
        for at in range(10):
            await opcua.write(f"t{at}", float(step), source=START + timedelta(milliseconds=step))
    expected = {START_NS + step * 1_000_000: (float(step), 0) for step in range(1, 51)}
    async with asyncio.timeout(15):
        while not all(expected.keys() <= take_rows(frames, f"t{at}").keys() for at in range(10)):
            frames += await driver.read()
    for at in range(10):
        rows = take_rows(frames, f"t{at}")
        assert {stamp: rows[stamp] for stamp in expected} == expected
    await driver.close()


@pytest.mark.parametrize(("report", "rows"), [("updates", [1.5, 1.5, 2.5]), ("changes", [1.5, 2.5])])
async def test_a_value_that_stays_the_same_is_told_or_not(
    opcua: OpcuaRig, report: str, rows: list[float]
) -> None:
    """An update with a new timestamp and the old value is a row, unless only changes are wanted."""
    await opcua.add({"a": 0.0})
    driver = build(opcua, {"a": "a"}, report=report)
    await driver.connect()
    await read_for(driver, "a", 1)
    for step, value in enumerate([1.5, 1.5, 2.5]):
        await opcua.write("a", value, source=START + timedelta(seconds=step))
    told = await read_for(driver, "a", len(rows))
    assert [value for value, _ in told.values()] == rows
    assert not await driver.read()
    await driver.close()


async def test_tags_of_one_instant_share_a_frame(opcua: OpcuaRig) -> None:
    """Tags that the machine stamps alike travel together, one list of timestamps for all."""
    await opcua.add({"a": 0.0, "b": 0.0, "c": 0.0})
    driver = build(opcua, {"a": "a", "b": "b", "c": "c"}, mode="poll")
    await driver.connect()
    for name in ("a", "b"):
        await opcua.write(name, 1.5, source=START)
    await opcua.write("c", 2.5, source=START + timedelta(seconds=1))
    frames = await driver.read()
    assert Frame([START_NS], {"a": (1.5,), "b": (1.5,)}) in frames
    assert Frame([START_NS + 1_000_000_000], {"c": (2.5,)}) in frames
    await driver.close()


async def test_polling_leaves_out_what_has_not_changed(opcua: OpcuaRig) -> None:
    """A value with the source timestamp of the last round is the same point, not a second row."""
    await opcua.add({"a": 1.0})
    driver = build(opcua, {"a": "a"}, mode="poll")
    await driver.connect()
    await opcua.write("a", 2.0, source=START)
    assert await driver.read() == [Frame([START_NS], {"a": (2.0,)})]
    assert await driver.read() == []
    await opcua.write("a", 2.0, source=START + timedelta(microseconds=1))
    assert await driver.read() == [Frame([START_NS + 1_000], {"a": (2.0,)})]
    await driver.close()


@pytest.mark.parametrize("mode", ["poll", "subscription"])
async def test_quality_travels_with_the_value(opcua: OpcuaRig, mode: str) -> None:
    """Bad is None with the server's code, uncertain keeps its value, text and arrays are a type mismatch."""
    await opcua.add({"x": 0.0, "text": "twelve", "list": [1.0, 2.0], "on": True})
    driver = build(opcua, {name: name for name in ("x", "text", "list", "on")}, mode=mode)
    await driver.connect()
    with capture_logs() as logs:
        rows = {name: await read_for(driver, name, 1) for name in ("x",)}
        frames = [*await driver.read()]
    await opcua.write("x", 1.0, source=START, status=quality.UNCERTAIN_SUB_NORMAL)
    rows["x"] |= await read_for(driver, "x", 1)
    await opcua.write("x", 2.0, source=START + timedelta(seconds=1), status=quality.BAD_SENSOR_FAILURE)
    rows["x"] |= await read_for(driver, "x", 1)
    assert rows["x"][START_NS] == (1.0, quality.UNCERTAIN_SUB_NORMAL)
    assert rows["x"][START_NS + 1_000_000_000] == (None, quality.BAD_SENSOR_FAILURE)
    assert sorted((line["event"], line["tag"]) for line in logs) == [
        ("no_number", "list"),
        ("no_number", "text"),
    ]
    assert frames == []
    await driver.close()


async def test_a_server_without_source_timestamps_gives_its_own(opcua: OpcuaRig) -> None:
    """Source timestamp, else server timestamp, else the time of receipt."""
    await opcua.add({"a": 0.0, "f": ua.Variant(0.0, ua.VariantType.Float)})
    driver = build(opcua, {"a": "a", "f": "f"}, mode="poll")
    await driver.connect()
    await opcua.write("a", 3.0, server=START)
    await opcua.write("f", ua.Variant(12.3, ua.VariantType.Float), source=START)
    frames = await driver.read()
    assert take_rows(frames, "a") == {START_NS: (3.0, 0)}
    assert take_rows(frames, "f") == {START_NS: (12.3, 0)}
    await driver.close()


@pytest.mark.parametrize("mode", ["poll", "subscription"])
async def test_a_wrong_node_id_names_the_nearest_right_one(opcua: OpcuaRig, mode: str) -> None:
    """The log names tag, node id and what the server has instead, once, also over a reconnect."""
    await opcua.add({"bearing_temperature": 61.5, "flow": 3.0})
    wrong = {
        "slip": f"nsu={NAMESPACE};s=pump-7.bearing_temprature",
        "space": "nsu=urn:forewarn:plent;s=pump-7.flow",
    }
    driver = build(opcua, {"flow": "flow", **wrong}, mode=mode)
    with capture_logs() as logs:
        await driver.connect()
        first = await driver.read()
        assert take_rows(first, "slip").popitem()[1] == (None, quality.BAD_NODE_ID_UNKNOWN)
        assert take_rows(first, "space").popitem()[1] == (None, quality.BAD_NODE_ID_UNKNOWN)
        if not take_rows(first, "flow"):
            await read_for(driver, "flow", 1)
        await driver.connect()
    reasons = {line["tag"]: line["reason"] for line in logs if line["event"] == "node_not_found"}
    assert len(logs) == 2
    assert reasons["slip"] == (
        f"{wrong['slip']}: the server has no such node; "
        f"did you mean nsu={NAMESPACE};s=pump-7.bearing_temperature?"
    )
    assert "no namespace 'urn:forewarn:plent' (it has " in reasons["space"]
    assert f"did you mean nsu={NAMESPACE};s=pump-7.flow?" in reasons["space"]
    told = driver.explain_tags()
    assert told.keys() == reasons.keys()
    assert all(reasons[tag].endswith(words) for tag, words in told.items())
    await driver.close()


async def test_a_node_that_appears_later_is_found(opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription asks again for the nodes that were refused, and has them once they are there."""
    monkeypatch.setattr("edge.drivers.probing.PROBE_DELAY_S", 0.2)
    await opcua.add({"a": 1.0})
    driver = build(opcua, {"a": "a", "late": "late"})
    await driver.connect()
    assert set((await read_for(driver, "late", 1)).values()) == {(None, quality.BAD_NODE_ID_UNKNOWN)}
    assert opcua.server is not None
    index = await opcua.server.get_namespace_index(NAMESPACE)
    node_id = ua.NodeId("pump-7.late", index)
    opcua.nodes["late"] = await opcua.server.nodes.objects.add_variable(node_id, "late", 7.0)
    assert [value for value, _ in (await read_for(driver, "late", 1)).values()] == [7.0]
    await driver.close()


async def test_a_namespace_may_move_between_two_connects(own_opcua: OpcuaRig) -> None:
    """The URI is resolved at each connect: another index after a download of the controller is no matter."""
    await own_opcua.start({"a": 1.0})
    driver = build(own_opcua, {"a": "a"}, mode="poll")
    await driver.connect()
    await own_opcua.stop()
    await own_opcua.start({"a": 2.0}, before=("urn:new:first", "urn:new:second"))
    await driver.connect()
    assert [value for value, _ in take_rows(await driver.read(), "a").values()] == [2.0]
    await driver.close()


async def test_a_subscription_that_the_server_ends_is_said(
    opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server drops the subscription but keeps the session, reading ends as NotConnected."""
    monkeypatch.setattr("edge.drivers.opcua.subscription.KEEP_ALIVE_S", 0.5)
    await opcua.add({"a": 1.0})
    driver = build(opcua, {"a": "a"}, timeout_s=0.5)
    await driver.connect()
    await read_for(driver, "a", 1)
    assert opcua.server is not None
    service = opcua.server.iserver.subscription_service
    await service.delete_subscriptions(list(service.subscriptions))
    with pytest.raises(NotConnected):
        await read_for(driver, "a", 1_000)
    await driver.close()


@pytest.mark.parametrize("mode", ["poll", "subscription"])
async def test_a_browse_path_is_followed_at_each_connect(own_opcua: OpcuaRig, mode: str) -> None:
    """Another namespace index and another node id after a download of the controller are no matter."""
    tags = [
        {"name": "a", "browse_path": f"0:Objects/nsu={NAMESPACE};Pump/nsu={NAMESPACE};Flow"},
        {"name": "slip", "browse_path": f"0:Objects/nsu={NAMESPACE};Pump/nsu={NAMESPACE};Flo"},
    ]
    driver = build(own_opcua, {}, mode=mode, tags=tags)
    for before, node_id, value in (((), "first", 1.0), (("urn:new",), "second", 2.0)):
        await own_opcua.start(before=before)
        assert own_opcua.server is not None
        index = await own_opcua.server.get_namespace_index(NAMESPACE)
        pump = await own_opcua.server.nodes.objects.add_object(index, "Pump")
        await pump.add_variable(ua.NodeId(node_id, index), f"{index}:Flow", value)
        with capture_logs() as logs:
            await driver.connect()
        assert {value for value, _ in (await read_for(driver, "a", 1)).values()} == {value}
        if node_id == "first":
            (line,) = logs
            assert line["reason"] == (
                f"{tags[1]['browse_path']}: the path leads to no node; "
                f"did you mean Pump/Flow (nsu={NAMESPACE};s=first)?"
            )
        await driver.close()
        await own_opcua.stop()


async def test_a_namespace_by_its_index_is_said_once_for_all_its_tags(opcua: OpcuaRig) -> None:
    """One line, however many tags and reconnects: the first tags, how many, and what to write instead."""
    names = [f"t{at}" for at in range(25)]
    await opcua.add(dict.fromkeys(names, 1.5))
    assert opcua.server is not None
    index = await opcua.server.get_namespace_index(NAMESPACE)
    driver = build(opcua, {name: f"ns={index};s=pump-7.{name}" for name in names}, mode="poll")
    with capture_logs() as logs:
        for _ in range(2):
            await driver.connect()
    (line,) = (one for one in logs if one["event"] == "namespace_by_index")
    assert (line["tags"], line["count"]) == ([*names[:20], "..."], 25)
    assert line["reason"].endswith(f"write nsu={NAMESPACE} instead of ns={index}")
    assert sum(len(frame.values) for frame in await driver.read()) == 25
    await driver.close()
