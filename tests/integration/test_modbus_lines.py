"""Several units behind one line, and every kind of line: turns, silent units, serial ports, TLS."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest

from edge.drivers import NotConnected
from edge.drivers.modbus.driver import ModbusDriver
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from models.telemetry import MachinePath, quality
from tests.integration import modbus_drivers
from tests.integration.modbus_drivers import flatten, tag
from tests.integration.modbus_rig import HOST, UnitsRig
from tests.servers import find_free_port

TIMEOUT_S = 0.25


@pytest.fixture
async def rig() -> AsyncIterator[UnitsRig]:
    """Units 1, 2 and 3 behind one TCP port."""
    rig = UnitsRig(1, 2, 3)
    await rig.start_tcp()
    yield rig
    await rig.stop()


def build(rig: UnitsRig, unit_id: int, **more: Any) -> ModbusDriver:
    """Return the driver of a machine with a tag in each of two blocks."""
    tags = [tag("a", 1), tag("b", 2, "input")]
    machine = {"path": f"s/a/l/unit-{unit_id}", "unit_id": unit_id, "timeout_s": TIMEOUT_S}
    return modbus_drivers.build(rig.port, tags, **(machine | more))


def expect(unit_id: int) -> dict[str, float]:
    return {"a": 1000.0 * unit_id + 1, "b": 1000.0 * unit_id + 2}


async def test_units_share_one_connection_and_take_turns(rig: UnitsRig) -> None:
    """Three machines read at once over one connection, and no request goes out before the last answer."""
    drivers = [build(rig, unit) for unit in (1, 2, 3)]
    await asyncio.gather(*(driver.connect() for driver in drivers))
    for _ in range(3):
        read = await asyncio.gather(*(driver.read() for driver in drivers))
        assert [flatten(frames) for frames in read] == [expect(unit) for unit in (1, 2, 3)]
    assert (rig.connections, rig.overlaps) == (1, 0)
    # First come, first served: nobody is asked twice before everybody had a turn.
    assert [unit for unit, *_ in rig.requests[:6]] == [1, 2, 3, 1, 2, 3]
    for driver in drivers:
        await driver.close()


async def test_who_leaves_does_not_take_the_line_along(rig: UnitsRig) -> None:
    """The connection stays while anybody uses it, and ends with the last."""
    one, two = build(rig, 1), build(rig, 2)
    await one.connect()
    await two.connect()
    await one.close()
    assert flatten(await two.read()) == expect(2)
    with pytest.raises(NotConnected, match="is closed"):
        await one.read()
    await two.close()
    await one.connect()
    assert flatten(await one.read()) == expect(1)
    assert rig.connections == 2
    await one.close()


async def test_a_silent_unit_costs_its_neighbours_one_timeout_per_probe(rig: UnitsRig) -> None:
    """After two misses nobody waits for it but for one request, now and then; once back it is read again."""
    well, ill = build(rig, 1), build(rig, 2)
    await well.connect()
    await ill.connect()
    rig.silent = {2}
    with pytest.raises(NotConnected, match=r"unit 2 at .* has not answered for 0\.5 s"):
        await ill.read()
    await ill.close()
    rig.requests.clear()
    with pytest.raises(NotConnected, match=r"has not answered for 0\.25 s"):
        await ill.connect()
    assert [unit for unit, *_ in rig.requests] == [2]
    for _ in range(5):
        begin = monotonic()
        with pytest.raises(
            NotConnected, match=r"unit 2 at .* asked again in [45] s, so that the other units"
        ):
            await ill.connect()
        assert flatten(await well.read()) == expect(1)
        assert monotonic() - begin < TIMEOUT_S
    assert [unit for unit, *_ in rig.requests if unit == 2] == [2]
    assert rig.connections == 1
    rig.silent.clear()
    ill._line._breakers[2]._probe_at_s = monotonic()  # as if the wait were over
    await ill.connect()
    assert flatten(await ill.read()) == expect(2)
    await ill.close()
    await well.close()


async def test_neighbours_of_silent_units_keep_their_schedule(rig: UnitsRig) -> None:
    """Polled as the gateway polls: two units that are off delay the third by a few requests and no more."""
    rig.silent = {2, 3}
    drivers = [build(rig, unit, interval_s=0.05) for unit in (1, 2, 3)]
    states = MachineStates()
    sources = [MachineSource(MachinePath.parse(f"s/a/l/unit-{driver.unit_id}"), driver) for driver in drivers]
    tasks = [asyncio.create_task(Poller(source, Collector(), states).run()) for source in sources]

    def count(unit_id: int) -> int:
        return sum(unit == unit_id for unit, *_ in rig.requests)

    async with asyncio.timeout(30):
        while count(1) < 100 or count(2) < 3 or count(3) < 3:
            await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    silent = count(2) + count(3)
    assert silent <= 8  # two tries, then one probe each, and at most one more after five seconds
    polled = zip(rig.times_s, rig.requests, strict=True)
    polls_s = [at for at, (unit, function, *_) in polled if (unit, function) == (1, 3)]
    assert sum(right - left > TIMEOUT_S for left, right in pairwise(polls_s)) <= silent
    assert [states.get(source.path).state for source in sources] == ["connected", "lost", "lost"]
    assert rig.overlaps == 0


async def test_a_lone_unit_is_never_left_alone(rig: UnitsRig) -> None:
    """Where no other unit uses the line, every connect asks: a machine is back as soon as it answers."""
    driver, same_unit = build(rig, 1), build(rig, 1)
    await driver.connect()
    rig.silent = {1}
    with pytest.raises(NotConnected):
        await driver.read()
    for _ in range(3):
        with pytest.raises(NotConnected, match=r"has not answered for 0\.25 s"):
            await driver.connect()
    rig.silent.clear()
    await driver.connect()
    assert flatten(await driver.read()) == expect(1)
    await same_unit.connect()
    assert flatten(await same_unit.read()) == expect(1)
    await driver.close()
    await same_unit.close()


async def test_a_line_on_which_all_are_silent_is_opened_anew(rig: UnitsRig) -> None:
    """A connection that died without a word is told from units that are off: nobody answers on it."""
    drivers = [build(rig, 1), build(rig, 2)]
    for driver in drivers:
        await driver.connect()
    rig.silent = {1, 2}
    for driver in drivers:
        with pytest.raises(NotConnected, match="has not answered"):
            await driver.read()
    rig.silent.clear()
    with pytest.raises(NotConnected, match="is closed"):
        await drivers[0].read()
    for driver in drivers:
        await driver.connect()
        await driver.read()
    assert rig.connections == 2
    for driver in drivers:
        await driver.close()


async def test_an_unreachable_line_is_knocked_at_once_for_all() -> None:
    """Machines that wait for the same line learn of its failure together, not one timeout after the other."""
    rig = UnitsRig()
    rig.port = find_free_port()
    drivers = [build(rig, unit) for unit in range(1, 6)]
    refusals = await asyncio.gather(*(driver.connect() for driver in drivers), return_exceptions=True)
    (reason,) = {str(refusal) for refusal in refusals}
    assert reason.startswith(f"{HOST}:{rig.port} refuses the connection")
    assert drivers[0]._line._failures == 1


async def test_a_probe_costs_the_neighbours_one_short_timeout(
    rig: UnitsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured: whoever waits behind a probe waits a few of the unit's usual answers, not a whole timeout."""
    monkeypatch.setattr("edge.drivers.modbus.breaker.PROBE_S_MIN", 0.2)
    timeout_s = 2.0
    well, ill = build(rig, 1, timeout_s=timeout_s), build(rig, 2, timeout_s=timeout_s)
    await well.connect()
    await ill.connect()
    await well.read()
    await ill.read()
    rig.silent = {2}
    ill._line._breakers[2].misses = 1  # the first miss, with its second try, is waited for in full
    with pytest.raises(NotConnected):
        await ill.read()
    rig.requests.clear()
    rig.times_s.clear()
    for _ in range(2):
        await asyncio.sleep(ill._line._breakers[2].count_wait_s(monotonic()))
        allowed_s = ill._line._breakers[2].choose_timeout_s(timeout_s)
        assert allowed_s < timeout_s / 2
        probing = asyncio.create_task(ill.connect())
        await asyncio.sleep(0)
        begin_s = monotonic()
        assert flatten(await well.read()) == expect(1)
        waited_s = monotonic() - begin_s
        assert 0.5 * allowed_s < waited_s < allowed_s + 0.5 * timeout_s
        with pytest.raises(NotConnected, match=r"unit 2 at .* has not answered"):
            await probing
    assert [unit for unit, *_ in rig.requests] == [2, 1, 1, 2, 1, 1]
    await ill.close()
    await well.close()


@pytest.mark.parametrize("transport", ["rtu", "rtu-over-tcp"])
async def test_serial_frames_are_spoken(transport: str) -> None:
    """Units on a serial line, here or behind a converter, share it as they would a connection."""
    rig = UnitsRig(1, 2)
    await (rig.start_rtu() if transport == "rtu" else rig.start_rtu_over_tcp())
    more: dict[str, Any] = {"transport": transport}
    if transport == "rtu":
        more["serial"] = {"device": rig.device, "baudrate": 115_200, "parity": "none"}
    drivers = [build(rig, unit, **more) for unit in (1, 2)]
    await asyncio.gather(*(driver.connect() for driver in drivers))
    for _ in range(3):
        read = await asyncio.gather(*(driver.read() for driver in drivers))
        assert [flatten(frames) for frames in read] == [expect(1), expect(2)]
    assert (rig.connections, rig.overlaps) == (1, 0)
    rig.silent = {2}
    with pytest.raises(NotConnected, match=r"unit 2 at .* has not answered"):
        await drivers[1].read()
    assert flatten(await drivers[0].read()) == expect(1)
    for driver in drivers:
        await driver.close()
    await rig.stop()


async def test_a_late_answer_on_a_serial_line_is_never_a_certain_value() -> None:
    """Serial frames carry no number: after a silence the next answer may belong to the request before."""
    rig = UnitsRig(1, 2)
    await rig.start_rtu_over_tcp()
    driver, neighbour = build(rig, 1, transport="rtu-over-tcp"), build(rig, 2, transport="rtu-over-tcp")
    await driver.connect()
    await neighbour.connect()
    rig.silent = {1}
    with pytest.raises(NotConnected):
        await driver.read()
    rig.silent.clear()
    assert not any(frame.quality for frame in await neighbour.read())
    first, second = await driver.read()
    assert first.quality == {"a": {0: quality.UNCERTAIN}}
    assert second.quality == {}
    await driver.close()
    await neighbour.close()
    await rig.stop()


@pytest.mark.parametrize(
    ("device", "reason"),
    [("/dev/no-such-port", "is not there: is the adapter plugged in"), ("/dev/null", "is no serial port")],
)
async def test_a_port_that_cannot_be_opened_is_said(device: str, reason: str) -> None:
    """What is wrong with the port, and where to look."""
    driver = build(UnitsRig(), 1, transport="rtu", serial={"device": device})
    with pytest.raises(NotConnected, match=f"{device} .*{reason}"):
        await driver.connect()


async def test_a_port_that_does_not_take_its_settings_is_said() -> None:
    """Pseudo terminals know no parity: some systems refuse it, which is no fault of the program."""
    rig = UnitsRig(1)
    await rig.start_rtu()
    driver = build(rig, 1, transport="rtu", serial={"device": rig.device, "parity": "odd"})
    (refusal,) = await asyncio.gather(driver.connect(), return_exceptions=True)
    assert refusal is None or isinstance(refusal, NotConnected)
    assert refusal is None or "does not take the settings under serial" in str(refusal)
    await driver.close()
    await rig.stop()
