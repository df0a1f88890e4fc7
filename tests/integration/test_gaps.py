"""Gaps at the edge: from machines that go away and gateways that are killed, and what history fills."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.agent import Agent
from edge.drivers import HistoryRefused, NotConnected
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.polling import poller
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from models.telemetry import Frame, Gap
from tests.integration.drivers_rig import HOST, ModbusRig
from tests.integration.edge_rig import PATH, CountingDriver, StandInCloud, make_settings, running, until
from tests.integration.test_edge_process import start_edge
from tests.servers import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "BACK_OFF_S_MIN", 0.05)


def list_told(cloud: StandInCloud, reason: str) -> list[Gap]:
    """Return the gaps of a reason that arrived, each as it was told last."""
    told = {
        (gap.first, tuple(gap.tags)): gap
        for batch in sorted(cloud.batches, key=lambda batch: batch.sequence)
        for gap in batch.gaps
        if gap.reason == reason
    }
    return sorted(told.values(), key=lambda gap: gap.first)


def list_times(cloud: StandInCloud) -> list[int]:
    """Return the timestamps of all values that arrived, in order."""
    return sorted(
        {time for batch in list(cloud.batches) for frame in batch.frames for time in frame.timestamps}
    )


async def test_a_machine_that_was_switched_off_leaves_exactly_one_gap(
    tmp_path: Path, mosquitto: Mosquitto, free_port: int
) -> None:
    """Real Modbus: the gap reaches from the last value before to the first one after, with its reason."""
    machine = ModbusRig(free_port, {"holding": {0: 7}})
    await machine.start()
    settings = ModbusMachineSettings.model_validate(
        {
            "kind": "modbus",
            "path": str(PATH),
            "host": HOST,
            "port": free_port,
            "interval_s": 0.1,
            "timeout_s": 0.5,
            "tags": [{"name": "count", "table": "holding", "address": 0, "type": "uint16"}],
        }
    )
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    agent = Agent(make_settings(tmp_path, mosquitto.settings), [MachineSource(PATH, settings.build())])
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        await until(lambda: len(cloud.counts) > 5, "values arrive")
        await machine.stop()
        await asyncio.sleep(1.0)
        seen = len(list_times(cloud))
        await machine.start()
        await until(lambda: len(list_times(cloud)) > seen + 5, "they arrive again")
        await until(lambda: bool(list_told(cloud, "connection_lost")), "and the gap")
    finally:
        stop.set()
        await task
        await machine.stop()
        cloud.stop()
    (gap,) = list_told(cloud, "connection_lost")
    times = list_times(cloud)
    assert (gap.first, gap.last) in list(pairwise(times))
    assert gap.last - gap.first > 0.9e9
    assert gap.detail


def test_a_killed_gateway_leaves_a_gap_from_its_last_commit(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """After kill -9 the next start tells the gap, exactly: between two values that arrived."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    edge = start_edge(tmp_path, mosquitto.port, 0)
    wait_until(lambda: len(cloud.counts) > 100, "values arrived", 60)
    edge.kill()
    edge.communicate()
    edge = start_edge(tmp_path, mosquitto.port, 1_000_000)
    wait_until(lambda: max(cloud.counts) > 1_000_100, "values arrived", 60)
    edge.kill()
    edge.communicate()
    cloud.stop()
    (gap,) = list_told(cloud, "gateway_down")
    assert (gap.first, gap.last) in list(pairwise(list_times(cloud)))


async def test_a_machine_that_never_came_back_is_recorded_at_the_end(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Open gaps are told when the gateway stops, and the next one begins where they end."""

    class Dying(CountingDriver):
        async def connect(self) -> None:
            if self.count:
                raise NotConnected("10.0.0.9 does not answer")

        async def read(self) -> list[Frame]:
            if self.count == 3:
                raise NotConnected("10.0.0.9 does not answer")
            return await super().read()

    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    async with running(settings, Dying()):
        await until(lambda: len(cloud.counts) == 3, "it came")
        await asyncio.sleep(0.3)
    async with running(settings, CountingDriver()):
        await until(lambda: len(cloud.counts) > 5, "it is back")
    await until(lambda: bool(list_told(cloud, "gateway_down")), "all is told")
    cloud.stop()
    ((lost,), (down,)) = list_told(cloud, "connection_lost"), list_told(cloud, "gateway_down")
    times = list_times(cloud)
    assert (lost.first, down.last) == (times[2], times[3])
    assert lost.first < down.first < lost.last < down.last, "no instant lies between the two"


class Remembering(CountingDriver):
    """A machine that counts on while the link is away, and remembers every number; without a link twice."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__(0.02)
        self.remembered: list[tuple[int, float]] = []
        self.asked: list[tuple[int, int]] = []
        self.refuses = refuses
        self.lost = 0

    async def connect(self) -> None:
        """The machine has worked on meanwhile."""
        while self.lost and len(self.remembered) < self.lost + 500:
            (frame,) = await CountingDriver.read(self)
            self.remembered.append((frame.timestamps[0], frame.values["count"][0] or 0.0))

    async def read(self) -> list[Frame]:
        """Return the next number, or lose the link."""
        if not self.lost and self.count == 20:
            self.lost = self.count
            raise NotConnected("cable pulled")
        frames = await super().read()
        self.remembered.append((frames[0].timestamps[0], frames[0].values["count"][0] or 0.0))
        return frames

    async def read_history(self, first_ns: int, last_ns: int) -> list[Frame]:
        """Return what was counted between."""
        self.asked.append((first_ns, last_ns))
        if self.refuses:
            raise HistoryRefused("it keeps none")
        rows = [row for row in self.remembered if first_ns < row[0] < last_ns]
        return [Frame([at for at, _ in rows], {"count": [number for _, number in rows]})] if rows else []


async def test_history_fills_a_gap_beside_the_live_values(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Nothing is missing at the end; the gap stays on record, with how many values came back."""
    cloud, driver = StandInCloud(mosquitto.settings), Remembering()
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    async with running(make_settings(tmp_path, mosquitto.settings), driver):
        await until(lambda: any(gap.filled for gap in list_told(cloud, "connection_lost")), "it is filled")
        last = driver.count
        await until(lambda: set(range(1, last + 1)) <= set(cloud.counts), "nothing is missing")
    cloud.stop()
    (gap,) = list_told(cloud, "connection_lost")
    assert gap.filled == 500
    assert sorted(cloud.counts) == sorted(set(cloud.counts)), "nothing came twice"


async def test_a_machine_without_history_is_asked_and_left_alone() -> None:
    """The refusal is said once; the values go on."""
    collector, states, driver = Collector(), MachineStates(), Remembering(refuses=True)
    task = asyncio.create_task(Poller(MachineSource(PATH, driver), collector, states).run())
    with capture_logs() as said:
        await until(lambda: bool(driver.asked) and driver.count > 600, "it was asked")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [line["reason"] for line in said if line["event"] == "history_refused"] == ["it keeps none"]
    assert len(driver.asked) == 1


async def test_what_a_driver_knows_to_be_missing_is_passed_on() -> None:
    """A queue that overflowed: the driver's own gap, beside the values of that read."""

    class Overflowing(CountingDriver):
        def take_gaps(self) -> list[Gap]:
            return [Gap(100, 200, "overflow", ["count"], 7)] if self.count == 2 else []

    collector, driver = Collector(), Overflowing()
    task = asyncio.create_task(Poller(MachineSource(PATH, driver), collector, MachineStates()).run())
    await until(lambda: driver.count > 2, "it was read")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    coverage = collector.take_coverage(with_frames=True)
    assert coverage is not None
    assert [gap for _, gaps in coverage.gaps for gap in gaps] == [Gap(100, 200, "overflow", ["count"], 7)]
