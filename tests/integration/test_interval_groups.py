"""Tags of one Modbus machine at two intervals, against a real server."""

import asyncio

from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from tests.integration.drivers_rig import ModbusRig
from tests.integration.edge_rig import PATH, until


async def test_slow_tags_are_asked_for_less_often(free_port: int) -> None:
    """Each interval has requests of its own over the one connection; every value is the tag's own."""
    rig = ModbusRig(free_port, {"holding": {0: 11, 1: 22}})
    await rig.start()
    machine = ModbusMachineSettings.model_validate(
        {
            "kind": "modbus",
            "path": str(PATH),
            "host": "127.0.0.1",
            "port": free_port,
            "interval_s": 0.05,
            "tags": [
                {"name": "fast", "table": "holding", "address": 0, "type": "uint16"},
                {"name": "slow", "table": "holding", "address": 1, "type": "uint16", "interval_s": 0.5},
            ],
        }
    )
    collector, states = Collector(), MachineStates()
    task = asyncio.create_task(Poller(MachineSource(PATH, machine.build()), collector, states).run())
    try:
        await until(lambda: rig.requests.count(("holding", 1, 1)) >= 4, "the slow tag was read four times")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rig.stop()
    asked = {address: rig.requests.count(("holding", address, 1)) for address in (0, 1)}
    assert asked[0] >= 4 * asked[1], "ten times as often, on a computer that is not too busy"
    assert sum(asked.values()) == len(rig.requests)
    frames = [frame for _, taken in collector.take() for frame in taken]
    assert {value for frame in frames for value in frame.values.get("fast", [])} == {11.0}
    assert {value for frame in frames for value in frame.values.get("slow", [])} == {22.0}
    assert states.get(PATH).state == "connected"
