"""What every driver on the shelf promises, tried against real servers."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic, time_ns
from typing import Any, get_args

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from edge.drivers import Driver, NotConnected
from edge.drivers.shelf import MachineSettings
from models.telemetry import Frame, quality
from tests.integration.drivers_rig import HOST, NAMESPACE, ModbusRig, OpcuaRig, SilentProxy
from tests.servers import find_free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 15.0


class ModbusMachine:
    """Tags `first` and `second` over Modbus; `bad` is an address that the machine refuses."""

    kind = "modbus"

    def __init__(self) -> None:
        self.port = find_free_port()
        self._words = {0: 10, 1: 20}
        self._rig = ModbusRig(self.port, {"holding": self._words})

    def describe(self, *, bad: bool, port: int) -> dict[str, Any]:
        tags = [
            {"name": "first", "table": "holding", "address": 0, "type": "uint16"},
            {"name": "second", "table": "holding", "address": 1, "type": "uint16"},
        ]
        if bad:
            tags.insert(1, {"name": "bad", "table": "holding", "address": 2, "type": "uint16"})
        return {"kind": "modbus", "host": HOST, "port": port, "timeout_s": 0.5, "tags": tags}

    async def start(self) -> None:
        self._rig = ModbusRig(self.port, {"holding": self._words})
        await self._rig.start()

    async def change(self, first: float, second: float) -> None:
        self._words |= {0: int(first), 1: int(second)}

    async def stop(self) -> None:
        await self._rig.stop()


class OpcuaMachine:
    """The same tags over OPC UA; `bad` is a node that is not there."""

    kind = "opcua"
    mode = "poll"

    def __init__(self) -> None:
        self.port = find_free_port()
        self._rig = OpcuaRig(self.port)

    def describe(self, *, bad: bool, port: int) -> dict[str, Any]:
        names = ["first", "bad", "second"] if bad else ["first", "second"]
        tags = [{"name": name, "node_id": f"nsu={NAMESPACE};s=pump-7.{name}"} for name in names]
        url = self._rig.url.replace(str(self.port), str(port))
        return {
            "kind": "opcua",
            "url": url,
            "mode": self.mode,
            "interval_s": 0.1,
            "timeout_s": 1.0,
            "allow_insecure": True,
            "tags": tags,
        }

    async def start(self) -> None:
        self._rig = OpcuaRig(self.port)
        await self._rig.start({"first": 10.0, "second": 20.0})

    async def change(self, first: float, second: float) -> None:
        await self._rig.write("first", first)
        await self._rig.write("second", second)

    async def stop(self) -> None:
        await self._rig.stop()


class SubscribedMachine(OpcuaMachine):
    """OPC UA by subscription."""

    mode = "subscription"


MACHINES = [ModbusMachine, OpcuaMachine, SubscribedMachine]
Machine = ModbusMachine | OpcuaMachine


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=MACHINES, ids=lambda kind: kind.__name__)
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    """One machine of every kind; an OPC UA server takes seconds to start, so it serves all tests."""
    machine: Machine = request.param()
    await machine.start()
    yield machine
    await machine.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def machine(running: Machine) -> Machine:
    """The machine, with `first` at 10 and `second` at 20."""
    await running.change(10.0, 20.0)
    return running


def build(machine: Machine, *, bad: bool = False, port: int = 0) -> Driver:
    description = {"path": "site/area/line/machine", **machine.describe(bad=bad, port=port or machine.port)}
    return TypeAdapter(MachineSettings).validate_python(description).build()


def take_last(frames: list[Frame]) -> dict[str, tuple[Any, int]]:
    """Return the last value and quality of each tag."""
    return {
        tag: (column[-1], frame.quality.get(tag, {}).get(len(column) - 1, 0))
        for frame in frames
        for tag, column in frame.values.items()
    }


async def read_until(driver: Driver, expected: dict[str, float]) -> list[Frame]:
    """Read until the tags have these values; return all frames on the way."""
    frames: list[Frame] = []
    end = monotonic() + PATIENCE_S
    seen: dict[str, Any] = {}
    while monotonic() < end:
        fresh = await driver.read()
        frames += fresh
        seen |= {tag: value for tag, (value, _) in take_last(fresh).items()}
        if expected.items() <= seen.items():
            return frames
        await asyncio.sleep(0.02)
    pytest.fail(f"expected {expected}, read {seen}")


async def read_on(driver: Driver) -> None:
    """Read as long as there is patience."""
    end = monotonic() + 2 * PATIENCE_S
    while monotonic() < end:
        await driver.read()
        await asyncio.sleep(0.02)


async def test_every_driver_of_the_shelf_is_tried_here() -> None:
    """A new kind of machine is covered the moment its settings are on the shelf."""
    union = get_args(MachineSettings)[0]
    kinds = {get_args(settings.model_fields["kind"].annotation)[0] for settings in get_args(union)}
    assert kinds == {machine.kind for machine in MACHINES}


async def test_values_arrive_with_ascending_timestamps(machine: Machine) -> None:
    """What changes is read; timestamps ascend strictly within a frame, and never fall from frame to frame."""
    driver = build(machine)
    begin_ns = time_ns()
    await driver.connect()
    frames = await read_until(driver, {"first": 10.0, "second": 20.0})
    for step in range(1, 6):
        await machine.change(10.0 + step, 20.0 + step)
        frames += await read_until(driver, {"first": 10.0 + step, "second": 20.0 + step})
    await driver.close()
    last: dict[str, int] = {}
    for frame in frames:
        assert frame.timestamps == sorted(set(frame.timestamps))
        assert all(len(column) == len(frame.timestamps) for column in frame.values.values())
        for tag in frame.values:
            assert frame.timestamps[0] > last.get(tag, 0)
            last[tag] = frame.timestamps[-1]
    assert all(begin_ns - 60e9 < newest <= time_ns() for newest in last.values())


async def test_a_bad_tag_never_harms_the_others(machine: Machine) -> None:
    """A tag that is not there is None with a bad quality; the others flow in the same round, and after it."""
    driver = build(machine, bad=True)
    await driver.connect()
    frames = await read_until(driver, {"first": 10.0, "second": 20.0, "bad": None})
    value, code = take_last(frames)["bad"]
    assert value is None
    assert quality.is_bad(code)
    await machine.change(11.0, 21.0)
    await read_until(driver, {"first": 11.0, "second": 21.0})
    await driver.close()


async def test_a_machine_that_goes_away_is_said_and_comes_back(machine: Machine) -> None:
    """A lost machine raises NotConnected with a reason; once it is back, connect and read work again."""
    driver = build(machine)
    await driver.connect()
    await read_until(driver, {"first": 10.0})
    await machine.stop()
    with pytest.raises(NotConnected, match=str(machine.port)):
        await read_on(driver)
    with pytest.raises(NotConnected, match="refuses the connection"):
        await driver.connect()
    await machine.start()
    await machine.change(12.0, 22.0)
    await driver.connect()
    await read_until(driver, {"first": 12.0, "second": 22.0})
    await driver.close()


async def test_a_machine_that_falls_silent_is_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stands while nothing answers ends as NotConnected, not as a wait for ever."""
    monkeypatch.setattr("edge.drivers.opcua.client.WATCHDOG_S", 1.0)
    proxy = SilentProxy(machine.port)
    await proxy.start()
    driver = build(machine, port=proxy.port)
    await driver.connect()
    await read_until(driver, {"first": 10.0})
    proxy.silent = True
    with pytest.raises(NotConnected):
        await read_on(driver)
    await driver.close()
    await proxy.stop()


async def test_close_may_be_called_at_any_time(machine: Machine) -> None:
    """Before connect, twice, and after a failure: close does not raise; a read after it is NotConnected."""
    driver = build(machine)
    await driver.close()
    with pytest.raises(NotConnected):
        await driver.read()
    await driver.connect()
    await driver.close()
    await driver.close()
    with pytest.raises(NotConnected):
        await driver.read()
    await driver.connect()
    await read_until(driver, {"first": 10.0})
    await driver.close()
