"""The Modbus driver against a real pymodbus server: blocks, refusals, retries, and never a write."""

import asyncio
import struct
from collections.abc import AsyncIterator
from time import time_ns
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from structlog.testing import capture_logs

from edge.drivers import NotConnected
from edge.drivers.modbus import driver as modbus_driver
from models.telemetry import quality
from tests.integration.drivers_rig import ModbusRig
from tests.integration.modbus_drivers import connect, flatten, tag
from tests.servers import find_free_port

BAD_CONFIGURATION = {0: quality.BAD_CONFIGURATION_ERROR}


@pytest.fixture
async def rig() -> AsyncIterator[ModbusRig]:
    """A server with 300 holding registers from 0 on (register n holds n), and a few of the other tables."""
    tables = {
        "holding": {at: at for at in range(300)},
        "input": {at: 1_000 + at for at in range(10)},
        "coil": {at: at % 2 for at in range(32)},
        "discrete": {at: at % 3 == 0 for at in range(32)},
    }
    rig = ModbusRig(find_free_port(), tables)
    await rig.start()
    yield rig
    await rig.stop()


def bit_tag(name: str, table: str, address: int) -> dict[str, Any]:
    return {"name": name, "table": table, "address": address}


async def test_all_four_tables_are_read(rig: ModbusRig) -> None:
    """Holding and input registers, coils and discrete inputs, each by its own function code."""
    rig.tables["holding"] |= dict(zip((10, 11), struct.unpack(">HH", struct.pack(">f", 12.3)), strict=True))
    driver = await connect(
        rig.port,
        [
            tag("current", 10, type="float32"),
            tag("level", 3, table="input"),
            *(bit_tag("on", "coil", 1), bit_tag("off", "coil", 2)),
            *(bit_tag("door", "discrete", 3), bit_tag("gate", "discrete", 4)),
        ],
    )
    values = flatten(await driver.read())
    assert values == {"current": 12.3, "level": 1_003.0, "on": 1.0, "off": 0.0, "door": 1.0, "gate": 0.0}
    await driver.close()


async def test_many_registers_take_few_requests_each_with_its_own_time(rig: ModbusRig) -> None:
    """300 registers are three requests and three frames, stamped within their exchange, ascending."""
    driver = await connect(rig.port, [tag(f"r{at}", at) for at in range(300)])
    begin_ns = time_ns()
    frames = await driver.read()
    assert rig.requests == [("holding", 0, 125), ("holding", 125, 125), ("holding", 250, 50)]
    assert flatten(frames) == {f"r{at}": float(at) for at in range(300)}
    stamps = [frame.timestamps[0] for frame in frames]
    assert begin_ns < stamps[0] < stamps[1] < stamps[2] < time_ns()
    await driver.close()


async def test_a_refused_register_is_found_and_put_aside(rig: ModbusRig) -> None:
    """One illegal register among forty costs its own tag only, at once; later rounds leave it out."""
    del rig.tables["holding"][17]
    await rig.stop()
    await rig.start()
    driver = await connect(rig.port, [tag(f"r{at}", at) for at in range(40)])
    with capture_logs() as logs:
        frames = await driver.read()
        values = flatten(frames)
        assert values == {f"r{at}": float(at) if at != 17 else None for at in range(40)}
        assert [frame.quality for frame in frames if frame.quality] == [{"r17": BAD_CONFIGURATION}]
        rig.requests.clear()
        assert flatten(await driver.read()) == values
    assert all(not address <= 17 < address + count for _, address, count in rig.requests)
    assert len(rig.requests) <= 12
    (line,) = logs
    assert (line["event"], line["tags"], line["machine"]) == ("registers_refused", ["r17"], "s/a/l/m")
    assert "exception 2 (illegal data address) to holding register 17" in line["reason"]
    await driver.close()


async def test_a_refused_register_is_tried_again(rig: ModbusRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its time has come the register is asked again; when it answers, it flows with the others."""
    monkeypatch.setattr("edge.drivers.probing.PROBE_DELAY_S", 0.2)
    rig.refuse = lambda _, first, count: ExcCodes.ILLEGAL_ADDRESS if first <= 5 < first + count else None
    driver = await connect(rig.port, [tag(f"r{at}", at) for at in range(10)])
    assert flatten(await driver.read())["r5"] is None
    rig.refuse = lambda *_: None
    assert flatten(await driver.read())["r5"] is None
    await asyncio.sleep(0.25)
    rig.requests.clear()
    with capture_logs() as logs:
        assert flatten(await driver.read()) == {f"r{at}": float(at) for at in range(10)}
    assert rig.requests == [("holding", 0, 10)]
    assert [(line["event"], line["tags"]) for line in logs] == [("registers_answer_again", ["r5"])]
    await driver.close()


async def test_a_gap_that_may_not_be_read_is_left_unread(rig: ModbusRig) -> None:
    """Where only the hole between two values is illegal, both values flow, each by its own request."""
    rig.refuse = lambda _, first, count: ExcCodes.ILLEGAL_ADDRESS if first <= 3 < first + count else None
    driver = await connect(rig.port, [tag("left", 2), tag("right", 4)])
    frames = await driver.read()
    assert flatten(frames) == {"left": 2.0, "right": 4.0}
    assert not any(frame.quality for frame in frames)
    await driver.close()


async def test_a_search_for_refused_registers_is_bounded(rig: ModbusRig) -> None:
    """With every register refused a round stays bounded; the undecided are decided in later rounds."""
    rig.refuse = lambda *_: ExcCodes.ILLEGAL_ADDRESS
    driver = await connect(rig.port, [tag(f"r{at}", at) for at in range(100)])
    frames = await driver.read()
    assert len(rig.requests) == 1 + modbus_driver.SEARCH_REQUESTS_MAX
    codes = {code for frame in frames for rows in frame.quality.values() for code in rows.values()}
    assert codes == {quality.BAD_CONFIGURATION_ERROR, quality.BAD_WAITING_FOR_INITIAL_DATA}
    for _ in range(4):
        frames = await driver.read()
    assert flatten(frames) == {f"r{at}": None for at in range(100)}
    assert all(rows == BAD_CONFIGURATION for frame in frames for rows in frame.quality.values())
    await driver.close()


async def test_a_busy_device_is_asked_again_in_the_next_round(rig: ModbusRig) -> None:
    """Exception 6 costs one round, and no search."""
    rig.refuse = lambda table, *_: ExcCodes.DEVICE_BUSY if table == "input" else None
    driver = await connect(rig.port, [tag("a", 1), tag("b", 1, table="input"), tag("c", 2, table="input")])
    (frame,) = await driver.read()
    assert flatten([frame]) == {"a": 1.0, "b": None, "c": None}
    assert frame.quality["b"] == {0: quality.BAD_RESOURCE_UNAVAILABLE}
    assert len(rig.requests) == 2
    rig.refuse = lambda *_: None
    assert flatten(await driver.read()) == {"a": 1.0, "b": 1_001.0, "c": 1_002.0}
    await driver.close()


async def test_a_short_answer_is_never_taken_for_values(rig: ModbusRig) -> None:
    """A device that cuts its answers short loses what was cut, and no other value is wrong."""
    rig.cut_answers_from = 4
    driver = await connect(
        rig.port, [tag(f"r{at}", at) for at in range(16)] + [tag("wide", 20, type="uint64")]
    )
    values = flatten(await driver.read())
    assert values == {f"r{at}": float(at) for at in range(16)} | {"wide": float(0x0014_0015_0016_0017)}
    rig.cut_answers_from = 3
    (frame,) = [frame for frame in await driver.read() if "wide" in frame.values]
    assert frame.values["wide"] == (None,)
    assert frame.quality["wide"] == {0: quality.BAD_COMMUNICATION_ERROR}
    await driver.close()


async def test_a_value_that_needed_a_second_request_is_uncertain(rig: ModbusRig) -> None:
    """The answer may belong to the first request: its time is not known for certain."""
    rig.delay_s, rig.delays_max = 0.4, 1
    driver = await connect(rig.port, [tag("a", 1)], timeout_s=0.25)
    (frame,) = await driver.read()
    assert frame.values == {"a": (1.0,)}
    assert frame.quality == {"a": {0: quality.UNCERTAIN}}
    (frame,) = await driver.read()
    assert frame.quality == {}
    await driver.close()


async def test_a_wrong_unit_id_is_said_as_such(rig: ModbusRig) -> None:
    """A gateway's exception 11 means that the unit is not there: not a matter of tags."""
    driver = await connect(rig.port, [tag("a", 1)], unit_id=7)
    with pytest.raises(NotConnected, match=r"exception 11 .* for unit 7: is the unit id right"):
        await driver.read()
    await driver.close()


async def test_a_unit_that_does_not_answer_is_said_within_its_time(rig: ModbusRig) -> None:
    """Two timeouts and no more, whatever pymodbus' own patience is."""
    rig.delay_s, rig.delays_max = 30.0, 1_000
    driver = await connect(rig.port, [tag("a", 1)], timeout_s=0.2)
    async with asyncio.timeout(5):
        with pytest.raises(NotConnected, match=r"unit 1 at .* has not answered for 0\.4 s"):
            await driver.read()
    await driver.close()


async def test_a_name_that_does_not_resolve_is_said() -> None:
    """The reason of a failed connect is the system's own, with what to check."""
    with pytest.raises(NotConnected, match=r"no-such-host\.invalid:502 cannot be reached"):
        await connect(0, [tag("a", 1)], host="no-such-host.invalid")
