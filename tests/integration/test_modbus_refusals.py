"""What each exception costs: a round, a register until its next try, the way to the unit; and timestamps."""

import asyncio
from collections.abc import AsyncIterator
from time import time_ns
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from edge.drivers import ExplainsTags, NotConnected
from edge.drivers.modbus.driver import ModbusDriver
from models.telemetry import quality
from tests.integration import modbus_drivers
from tests.integration.drivers_rig import HOST, ModbusRig
from tests.integration.modbus_drivers import flatten, tag
from tests.servers import find_free_port


@pytest.fixture
async def rig() -> AsyncIterator[ModbusRig]:
    """A server with 20 holding and 20 input registers; register n holds n."""
    rig = ModbusRig(find_free_port(), {table: {at: at for at in range(20)} for table in ("holding", "input")})
    await rig.start()
    yield rig
    await rig.stop()


def build(rig: ModbusRig, *places: tuple[str, int], **more: Any) -> ModbusDriver:
    """Return the driver of a machine with a tag in each of these places."""
    tags = [tag(f"{table} {at}", at, table) for table, at in places]
    return modbus_drivers.build(rig.port, tags, **more)


@pytest.mark.parametrize("code", [ExcCodes.ACKNOWLEDGE, ExcCodes.DEVICE_BUSY])
async def test_exceptions_5_and_6_cost_one_round(rig: ModbusRig, code: ExcCodes) -> None:
    """The rest flows in the same round; the next round asks again, and nothing has been put aside."""
    driver = build(rig, ("holding", 1), ("input", 1), ("input", 2))
    await driver.connect()
    rig.refuse = lambda table, *_: code if table == "input" else None
    for _ in range(2):
        rig.requests.clear()
        (frame,) = await driver.read()
        assert flatten([frame]) == {"holding 1": 1.0, "input 1": None, "input 2": None}
        assert frame.quality["input 1"] == {0: quality.BAD_RESOURCE_UNAVAILABLE}
        assert rig.requests == [("holding", 1, 1), ("input", 1, 2)]
    rig.refuse = lambda *_: None
    frames = await driver.read()
    assert flatten(frames) == {"holding 1": 1.0, "input 1": 1.0, "input 2": 2.0}
    assert not any(frame.quality for frame in frames)
    await driver.close()


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        (ExcCodes.ILLEGAL_FUNCTION, "exception 1 (illegal function)", quality.BAD_NOT_SUPPORTED),
        (ExcCodes.ILLEGAL_ADDRESS, "exception 2 (illegal data address)", quality.BAD_CONFIGURATION_ERROR),
        (ExcCodes.ILLEGAL_VALUE, "exception 3 (illegal data value)", quality.BAD_OUT_OF_RANGE),
        (ExcCodes.DEVICE_FAILURE, "exception 4 (device failure)", quality.BAD_DEVICE_FAILURE),
    ],
)
async def test_a_register_put_aside_says_the_exceptions_name(
    rig: ModbusRig, code: ExcCodes, name: str, status: int
) -> None:
    """Its tag is bad with a status code of the exception's own, and with its name; the others flow."""
    driver = build(rig, ("holding", 1), ("holding", 2), ("input", 1), ("input", 2))
    await driver.connect()
    rig.refuse = lambda table, first, count: (
        code if table == "holding" and (code == 1 or first <= 2 < first + count) else None
    )
    frames = await driver.read()
    refused = {"holding 1", "holding 2"} if code == 1 else {"holding 2"}
    assert {tag for tag, value in flatten(frames).items() if value is None} == refused
    assert driver.explain_tags() == dict.fromkeys(refused, name)
    assert frames[0].quality["holding 2"] == {0: status}
    await driver.close()


async def test_tags_of_all_intervals_are_explained(rig: ModbusRig) -> None:
    """A machine read at two paces tells of the refused registers of both."""
    rig.refuse = lambda *_: ExcCodes.ILLEGAL_ADDRESS
    driver = modbus_drivers.describe(rig.port, [tag(f"t{at}", at, interval_s=at) for at in (1, 2)]).build()
    assert isinstance(driver, ExplainsTags)
    await driver.connect()
    await driver.read()
    assert driver.explain_tags() == dict.fromkeys(("t1", "t2"), "exception 2 (illegal data address)")
    await driver.close()


@pytest.mark.parametrize("code", [ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE])
async def test_exceptions_10_and_11_count_against_the_way_to_the_unit(rig: ModbusRig, code: ExcCodes) -> None:
    """The machine counts as lost, by the exception's name; from the second on it is left alone awhile."""
    driver = build(rig, ("holding", 1), ("holding", 2))
    neighbour = build(rig, ("input", 1), unit_id=2)  # whoever shares the line must not wait for it
    rig.refuse = lambda *_: code
    await driver.connect()
    with pytest.raises(NotConnected, match=rf"exception {int(code)} \(gateway .*\) for unit 1"):
        await driver.read()
    assert len(rig.requests) == 1  # the way is at fault, no register: nothing is searched for
    await driver.close()
    with pytest.raises(NotConnected, match=rf"exception {int(code)} "):
        await driver.connect()
    with pytest.raises(NotConnected, match=r"has not answered 2 times: it is asked again in [45] s"):
        await driver.connect()
    assert len(rig.requests) == 2
    await neighbour.close()


async def test_a_register_put_aside_is_tried_again_ever_less_often(
    rig: ModbusRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 10 s, 20 s, 40 s ... 2 min; in between nobody asks for it, and the others flow every round."""
    now_s = 1_000
    monkeypatch.setattr("edge.drivers.modbus.driver.monotonic", lambda: float(now_s))
    rig.refuse = lambda _, first, count: ExcCodes.ILLEGAL_ADDRESS if first <= 5 < first + count else None
    driver = build(rig, *(("holding", at) for at in range(10)))
    await driver.connect()
    asked_at = []
    for second in range(400):
        now_s = 1_000 + second
        rig.requests.clear()
        values = flatten(await driver.read())
        assert values == {f"holding {at}": None if at == 5 else float(at) for at in range(10)}
        if any(first <= 5 < first + count for _, first, count in rig.requests):
            asked_at.append(second)
    assert asked_at == [0, 10, 30, 70, 150, 270, 390]
    await driver.close()


async def test_a_value_has_the_time_in_the_middle_of_its_exchange(rig: ModbusRig) -> None:
    """Between the request and the answer, however long that takes; no one knows it better."""
    driver = build(rig, ("holding", 1))
    await driver.connect()
    rig.delay_s, rig.delays_max = 0.4, 1
    begin_ns = time_ns()
    (frame,) = await driver.read()
    end_ns = time_ns()
    assert end_ns - begin_ns > 400_000_000
    assert abs(frame.timestamps[0] - (begin_ns + end_ns) // 2) < 100_000_000
    assert not frame.quality
    await driver.close()


async def test_a_connection_that_ends_under_a_request_is_noticed_at_once(rig: ModbusRig) -> None:
    """Not after two timeouts: the neighbours on the line wait as well, and a new connection may work."""
    driver = build(rig, ("holding", 1), timeout_s=20)
    await driver.connect()
    rig.delay_s, rig.delays_max = 60.0, 1
    begin_ns = time_ns()
    reading = asyncio.create_task(driver.read())
    while not rig.requests:
        await asyncio.sleep(0.01)
    await rig.stop()
    with pytest.raises(NotConnected, match=rf"{HOST}:{rig.port} closed the connection"):
        await reading
    assert time_ns() - begin_ns < 10_000_000_000
    await driver.close()
