"""OPC UA servers that take less at a time than they are asked for."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession
from asyncua.server.monitored_item_service import MonitoredItemService
from structlog.testing import capture_logs

from edge.drivers.opcua import client, inside
from models.telemetry import quality
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.integration.opcua_rig import build, take_rows

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("mode", ["poll", "subscription"])
async def test_a_server_that_takes_fewer_nodes_is_asked_for_fewer(
    opcua: OpcuaRig, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses more than 3 nodes in a call without having said so: smaller calls, remembered."""
    asked: list[int] = []
    read = InternalSession.read

    async def refuse_many(session: InternalSession, wish: ua.ReadParameters) -> Any:
        nodes = [one for one in wish.NodesToRead or [] if one.NodeId.NamespaceIndex]
        asked.extend([len(nodes)] if nodes else [])
        if len(nodes) > 3:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return await read(session, wish)

    monkeypatch.setattr(InternalSession, "read", refuse_many)
    await opcua.add({f"t{at}": float(at) for at in range(10)})
    driver = build(opcua, {f"t{at}": f"t{at}" for at in range(10)}, mode=mode)
    await driver.connect()
    assert asked == [10, 5, 2, 2, 2, 2, 2]
    told: dict[str, Any] = {}
    async with asyncio.timeout(15):
        while len(told) < 10:
            for frame in await driver.read():
                told |= {tag: column[-1] for tag, column in frame.values.items()}
    assert told == {f"t{at}": float(at) for at in range(10)}
    asked.clear()
    await driver.connect()
    assert asked == [2, 2, 2, 2, 2]
    await driver.close()


async def test_both_decoders_read_the_same(opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers alone, which are read the short way, and with a text and an array among them, which are not."""
    values = {"whole": 7, "half": 0.5, "on": True, "single": ua.Variant(12.3, ua.VariantType.Float)}
    await opcua.add({**values, "text": "twelve", "list": [1.0, 2.0]})
    for names in (list(values), [*values, "text", "list"], [*values, "missing"]):
        told = []
        for is_short in (True, False):
            monkeypatch.setattr(inside, "_IS_SHORT", is_short)
            driver = build(opcua, {name: name for name in names}, mode="poll")
            await driver.connect()
            frames = await driver.read()
            told.append(
                {tag: (frame.values[tag], frame.quality.get(tag)) for frame in frames for tag in frame.values}
            )
            await driver.close()
        assert told[0] == told[1]
        assert len(told[0]) == len(names)


async def test_each_interval_has_a_subscription_with_queues_for_what_one_message_brings(
    opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server samples as often as the tag says, and keeps ten times what comes in one publish interval."""
    create, asked = MonitoredItemService._create_data_change_monitored_item, dict[str, Any]()

    async def note(service: MonitoredItemService, wish: ua.MonitoredItemCreateRequest) -> Any:
        parameters = wish.RequestedParameters
        name = str(wish.ItemToMonitor.NodeId.Identifier).rpartition(".")[2]
        asked[name] = (
            id(service),
            parameters.SamplingInterval,
            parameters.QueueSize,
            parameters.DiscardOldest,
        )
        return await create(service, wish)

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", note)
    await opcua.add({"quick": 1.0, "usual": 1.0, "neighbour": 1.0})
    driver = build(
        opcua,
        {},
        interval_s=0.5,
        publish_s=2.0,
        tags=[
            {"name": "quick", "node_id": f"nsu={NAMESPACE};s=pump-7.quick", "interval_s": 0.1},
            {"name": "usual", "node_id": f"nsu={NAMESPACE};s=pump-7.usual"},
            {"name": "neighbour", "node_id": f"nsu={NAMESPACE};s=pump-7.neighbour"},
        ],
    )
    await driver.connect()
    await driver.close()
    subscriptions = {name: told[0] for name, told in asked.items()}
    assert subscriptions["usual"] == subscriptions["neighbour"] != subscriptions["quick"]
    assert {name: told[1:] for name, told in asked.items()} == {
        "quick": (100.0, 200, True),
        "usual": (500.0, 100, True),
        "neighbour": (500.0, 100, True),
    }


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ("everything", {"updates_refused": ["plain", "banded"], "deadband_refused": ["banded"]}),
        ("deadbands", {"deadband_refused": ["banded"]}),
    ],
)
async def test_a_server_that_refuses_a_filter_is_asked_for_less(
    opcua: OpcuaRig, refuses: str, said: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without deadband, then without filter; values flow, and it is said once of which tags."""
    create = MonitoredItemService._create_data_change_monitored_item

    async def refuse_filters(service: MonitoredItemService, wish: ua.MonitoredItemCreateRequest) -> Any:
        wanted = wish.RequestedParameters.Filter
        is_filter = hasattr(wanted, "Trigger")  # none at all arrives as an empty object
        if is_filter and (refuses == "everything" or wanted.DeadbandType):
            refusal = ua.MonitoredItemCreateResult()
            refusal.StatusCode = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadMonitoredItemFilterUnsupported))
            return refusal
        return await create(service, wish)

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", refuse_filters)
    await opcua.add({"plain": 1.0, "banded": 1.0})
    tags = [
        {"name": "plain", "node_id": f"nsu={NAMESPACE};s=pump-7.plain"},
        {"name": "banded", "node_id": f"nsu={NAMESPACE};s=pump-7.banded", "deadband": 0.5},
    ]
    driver = build(opcua, {}, tags=tags)
    with capture_logs() as logs:
        for _ in range(2):
            await driver.connect()
    assert {line["event"]: line["tags"] for line in logs} == said
    assert len(logs) == len(said)
    told: list[float] = []
    for value in (2.0, 2.1):  # the second differs by less than the deadband, which is ours to apply now
        for tag in ("plain", "banded"):
            await opcua.write(tag, value)
            async with asyncio.timeout(15):
                while value not in told:
                    told += [row[0] for row in take_rows(await driver.read(), tag).values()]
            told.clear()
    await driver.close()


async def test_history_of_a_server_is_read_between_two_instants(own_opcua: OpcuaRig) -> None:
    """asyncua's own history: both ends are exclusive, bad values are bad, and nothing else is given."""
    await own_opcua.start({"a": 0.0, "b": 0.0})
    assert own_opcua.server is not None
    await own_opcua.server.historize_node_data_change(own_opcua.nodes["a"])
    driver = build(own_opcua, {"a": "a", "b": "b"})
    await driver.connect()
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    start_ns = 1_795_402_800_000_000_000
    storage = own_opcua.server.iserver.history_manager.storage
    for step in range(1_200):
        status = ua.StatusCode(ua.UInt32(quality.BAD_SENSOR_FAILURE if step == 3 else 0))
        value = ua.DataValue(ua.Variant(float(step)), status, start + timedelta(seconds=step))
        await storage.save_node_value(own_opcua.nodes["a"].nodeid, value)
    frames = await driver.read_history(start_ns, start_ns + 1_100 * 10**9)
    rows = take_rows(frames, "a")
    await driver.close()
    assert sorted(rows) == [start_ns + step * 10**9 for step in range(1, 1_100)]
    assert rows[start_ns + 3 * 10**9] == (None, quality.BAD_SENSOR_FAILURE)
    assert rows[start_ns + 4 * 10**9] == (4.0, 0)
    assert take_rows(frames, "b") == {}


async def test_the_library_follows_subscriptions_too(
    opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the short way switched off every change comes by asyncua's own publish loop and objects."""
    monkeypatch.setattr(inside, "_IS_SHORT", False)
    await opcua.add({"a": 0.0, "text": "twelve"})
    driver = build(opcua, {"a": "a", "text": "text"})
    await driver.connect()
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    for step in range(1, 31):
        await opcua.write("a", float(step), source=start + timedelta(seconds=step))
    told: dict[int, tuple[Any, int]] = {}
    async with asyncio.timeout(15):
        while len(told) < 30:
            told |= {
                stamp: row
                for stamp, row in take_rows(await driver.read(), "a").items()
                if stamp < 1_795_402_831_000_000_000
            }
    assert [value for _, (value, _) in sorted(told.items())] == [float(step) for step in range(1, 31)]
    assert driver.take_gaps() == []
    await driver.close()


async def test_the_decoder_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a diagnosis by an environment variable; by itself where asyncua's inside is another."""
    assert inside.choose_decoder()
    monkeypatch.setattr("asyncua.__version__", "2.2.0")
    assert not inside.choose_decoder()
    monkeypatch.undo()
    monkeypatch.setenv(inside.DECODER_VARIABLE, "library")
    assert not inside.choose_decoder()


@pytest.mark.parametrize("decoder", ["ours", "library"])
async def test_only_a_connection_that_rests_is_asked_whether_it_lives(
    opcua: OpcuaRig, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While answers come there is nothing to ask; asyncua itself asks all the same."""
    monkeypatch.setattr(client, "WATCHDOG_S", 0.5)
    monkeypatch.setattr(inside, "_IS_SHORT", decoder == "ours")
    await opcua.add({"a": 1.0})
    asked: list[int] = []
    read = InternalSession.read

    async def note(session: InternalSession, wish: ua.ReadParameters) -> Any:
        asked.extend(int(one.NodeId.Identifier) for one in wish.NodesToRead if not one.NodeId.NamespaceIndex)
        return await read(session, wish)

    monkeypatch.setattr(InternalSession, "read", note)
    driver = build(opcua, {"a": "a"}, mode="poll")
    await driver.connect()
    asked.clear()
    end_s, answered_s, silence_s = monotonic() + 1.5, monotonic(), 0.0
    while monotonic() < end_s:
        await driver.read()
        silence_s, answered_s = max(silence_s, monotonic() - answered_s), monotonic()
        await asyncio.sleep(0.02)
    was_asked = ua.ObjectIds.Server_ServerStatus_State in asked
    assert was_asked is (decoder == "library") or silence_s > 0.4  # a busy computer is silent, too
    async with asyncio.timeout(15):
        while ua.ObjectIds.Server_ServerStatus_State not in asked:
            await asyncio.sleep(0.01)
    await driver.close()


async def test_nodes_are_asked_for_type_by_type(opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second Read on, since values of one type are read at once; each value stays its own tag's."""
    values = {f"t{at}": at % 2 == 1 if at % 3 else at + 0.5 for at in range(90)}
    await opcua.add(values)
    asked: list[list[str]] = []
    read = InternalSession.read

    async def note(session: InternalSession, wish: ua.ReadParameters) -> Any:
        asked.append([str(one.NodeId.Identifier).split(".")[1] for one in wish.NodesToRead])
        return await read(session, wish)

    driver = build(opcua, {name: name for name in values}, mode="poll")
    await driver.connect()
    monkeypatch.setattr(InternalSession, "read", note)
    told = {name: column[0] for frame in await driver.read() for name, column in frame.values.items()}
    assert told == {name: float(value) for name, value in values.items()}
    is_bool = [isinstance(values[name], bool) for name in asked[0]]
    assert is_bool == sorted(is_bool, reverse=True)
    await driver.close()
