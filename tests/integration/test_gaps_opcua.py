"""A gap over real OPC UA: the server remembers what the gateway missed, and gives it back."""

import asyncio
from datetime import UTC, datetime

from edge.drivers import NotConnected
from edge.drivers.opcua.driver import OpcuaDriver
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from edge.sources import build_sources
from models.telemetry import Frame, Gap
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.integration.edge_rig import PATH, make_settings, until

STEP_S = 0.05


class Cable:
    """A real driver whose cable can be pulled."""

    def __init__(self, driver: OpcuaDriver) -> None:
        self.interval_s = driver.interval_s
        self.is_pulled = False
        self._driver = driver

    async def connect(self) -> None:
        """Connect, if there is a cable."""
        self._look()
        await self._driver.connect()

    async def read(self) -> list[Frame]:
        """Read, if there is a cable."""
        self._look()
        return await self._driver.read()

    async def close(self) -> None:
        """Close."""
        await self._driver.close()

    def take_gaps(self) -> list[Gap]:
        """Pass on what the driver knows."""
        return self._driver.take_gaps()

    async def read_history(self, first_ns: int, last_ns: int) -> list[Frame]:
        """Pass on what the server remembers."""
        return await self._driver.read_history(first_ns, last_ns)

    def _look(self) -> None:
        if self.is_pulled:
            raise NotConnected("the cable is pulled")


class Disk:
    """Everything that a collector gave."""

    def __init__(self, collector: Collector) -> None:
        self.values: list[float] = []
        self.gaps: list[Gap] = []
        self._collector = collector

    def flush(self) -> bool:
        """Take what is there."""
        taken = self._collector.take()
        coverage = self._collector.take_coverage(with_frames=bool(taken))
        for _, frames in taken:
            self.values += [value or 0.0 for frame in frames for value in frame.values["count"]]
        if coverage is not None:
            self.gaps += [gap for _, gaps in coverage.gaps for gap in gaps]
            self._collector.settle()
        return True


async def count_on(rig: OpcuaRig) -> None:
    """Write 1, 2, 3... with a source timestamp each."""
    number = 0
    while True:
        number += 1
        await rig.write("count", float(number), source=datetime.now(UTC))
        await asyncio.sleep(STEP_S)


async def test_the_servers_history_fills_the_gap(tmp_path: object, free_port: int) -> None:
    """Pulled for a while: one gap, between two values; afterwards no number is missing or doubled."""
    rig = OpcuaRig(free_port)
    await rig.start({"count": 0.0})
    assert rig.server is not None
    await rig.server.historize_node_data_change(rig.nodes["count"], period=None, count=2_000)
    settings = {
        "kind": "opcua",
        "path": str(PATH),
        "url": rig.url,
        "allow_insecure": True,
        "interval_s": 0.1,
        "tags": [{"name": "count", "node_id": f"nsu={NAMESPACE};s=pump-7.count"}],
    }
    machine = make_settings(tmp_path, {"port": free_port}, machines=[settings]).machines[0]  # type: ignore[arg-type]  # validated
    (source,) = build_sources([machine])
    assert isinstance(source.driver, OpcuaDriver)
    cable, collector = Cable(source.driver), Collector()
    disk, poller = (
        Disk(collector),
        Poller(MachineSource(PATH, cable, pace=source.pace), collector, MachineStates()),
    )
    tasks = [asyncio.create_task(count_on(rig)), asyncio.create_task(poller.run())]
    try:
        await until(lambda: disk.flush() and len(disk.values) > 10, "values come", 40)
        cable.is_pulled = True
        await until(lambda: disk.flush() and collector.gaps.has_open(), "it is lost", 40)
        await asyncio.sleep(1.5)
        cable.is_pulled = False
        await until(lambda: disk.flush() and any(gap.filled for gap in disk.gaps), "it is filled", 40)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await rig.stop()
    first, last = disk.gaps[0], disk.gaps[-1]
    assert (first.first, first.reason, first.filled) == (last.first, "connection_lost", 0)
    assert last.filled >= 20
    numbers = sorted({value for value in disk.values if value})
    assert numbers == [float(number) for number in range(int(numbers[0]), int(numbers[-1]) + 1)]
