"""A gap over real OPC UA: the server remembers what the gateway missed, and gives it back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edge import sources
from edge.drivers import NotConnected
from edge.drivers.opcua import subscription
from edge.drivers.opcua.driver import OpcuaDriver
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from edge.sources import build_sources
from models.telemetry import Frame, Gap
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig, SilentProxy
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
        self.times: set[int] = set()
        self.gaps: list[Gap] = []
        self._collector = collector

    def flush(self) -> bool:
        """Take what is there."""
        taken = self._collector.take()
        coverage = self._collector.take_coverage(with_frames=bool(taken))
        for _, frames in taken:
            self.values += [value or 0.0 for frame in frames for value in frame.values["count"]]
            self.times |= {time for frame in frames for time in frame.timestamps}
        if coverage is not None:
            self.gaps += [gap for _, gaps in coverage.gaps for gap in gaps]
            self._collector.settle()
        return True


def make_source(folder: object, port: int, url: str, **more: object) -> MachineSource:
    """Return the machine as the settings of a gateway would make it."""
    settings = {
        "kind": "opcua",
        "path": str(PATH),
        "url": url,
        "allow_insecure": True,
        "interval_s": 0.1,
        "tags": [{"name": "count", "node_id": f"nsu={NAMESPACE};s=pump-7.count"}],
        **more,
    }
    machines = make_settings(folder, {"port": port}, machines=[settings]).machines  # type: ignore[arg-type]  # validated
    (source,) = build_sources(machines)
    return source


async def write(rig: OpcuaRig, number: int) -> int:
    """Write a number now; return its source timestamp."""
    now = datetime.now(UTC)
    await rig.write("count", float(number), source=now)
    return (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


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
    source = make_source(tmp_path, free_port, rig.url)
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


async def test_what_a_dead_cable_swallowed_is_covered_though_it_had_been_silent_before(
    tmp_path: object, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep-alives say that there was nothing; what came after the last of them nobody heard."""
    monkeypatch.setattr(subscription, "KEEP_ALIVE_S", 0.5)
    monkeypatch.setattr(sources, "QUIET_NS", 0)
    rig = OpcuaRig(free_port)
    await rig.start({"count": 0.0})
    proxy = SilentProxy(free_port)
    await proxy.start()
    url = f"opc.tcp://127.0.0.1:{proxy.port}/forewarn"
    source = make_source(tmp_path, free_port, url, timeout_s=0.5, history="off")
    collector = Collector()
    disk, poller = Disk(collector), Poller(source, collector, MachineStates())
    task = asyncio.create_task(poller.run())
    try:
        await until(lambda: disk.flush() and bool(disk.values), "it is read", 40)
        issued = {await write(rig, 1)}
        await until(lambda: disk.flush() and 1.0 in disk.values, "values come", 40)
        reached = collector.gaps.reached_ns(PATH)
        await until(lambda: collector.gaps.reached_ns(PATH) > reached + 1_200_000_000, "silence counts", 40)
        proxy.silent = True
        for number in range(2, 5):
            issued.add(await write(rig, number))
            await asyncio.sleep(0.3)
        await until(lambda: disk.flush() and collector.gaps.has_open(), "it is lost", 40)
        proxy.silent = False
        await write(rig, 9)
        await until(lambda: disk.flush() and 9.0 in disk.values and len(disk.gaps) > 0, "it is back", 40)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await proxy.stop()
        await rig.stop()
    swallowed = issued - disk.times
    assert len(swallowed) >= 2
    assert all(any(gap.first < time < gap.last for gap in disk.gaps) for time in swallowed)
    assert not any(gap.first < time < gap.last for gap in disk.gaps for time in disk.times)
