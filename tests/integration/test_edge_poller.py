"""One machine's poller: its words, its timeouts, its schedule."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from edge.drivers import NotConnected
from edge.polling import poller
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from edge.polling.tag_filter import TagFilter
from edge.polling.tag_watches import TagRules
from models.telemetry import Frame, quality
from tests.integration.edge_rig import PATH, CountingDriver, until


class Rig:
    """A poller over a driver, without an agent."""

    def __init__(self, driver: CountingDriver) -> None:
        self.collector = Collector()
        self.states = MachineStates()
        self.poller = Poller(MachineSource(PATH, driver), self.collector, self.states)

    async def run_until(self, condition: object, what: str) -> None:
        """Run until the condition holds, then end the poller."""
        task = asyncio.create_task(self.poller.run())
        try:
            await until(condition, what)  # type: ignore[arg-type]  # a callable
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


class Flapping(CountingDriver):
    """Refuses twice, answers three times, breaks off, refuses once, answers."""

    def __init__(self) -> None:
        super().__init__(0.01)
        self.connects = 0
        self.closes = 0

    async def connect(self) -> None:
        """Refuse at attempts 1, 2 and 4."""
        self.connects += 1
        if self.connects in (1, 2, 4):
            raise NotConnected(f"refused {self.connects}")

    async def read(self) -> list[Frame]:
        """Break off after the third."""
        if self.count == 3 and self.connects == 3:
            raise NotConnected("cable pulled")
        return await super().read()

    async def close(self) -> None:
        """Count."""
        self.closes += 1


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "BACK_OFF_S_MIN", 0.02)


async def test_a_lost_link_is_said_once_and_so_is_its_return() -> None:
    """However often it is tried in between; every attempt's connection is closed."""
    driver = Flapping()
    rig = Rig(driver)
    with capture_logs() as said:
        await rig.run_until(lambda: driver.count >= 6, "it came back")
    words = [(line["event"], line.get("reason")) for line in said]
    assert words == [
        ("link_lost", "refused 1"),
        ("link_back", None),
        ("link_lost", "cable pulled"),
        ("link_back", None),
    ]
    assert driver.closes == driver.connects == 5
    assert rig.states.get(PATH).state == "connected"


class Hanging(CountingDriver):
    """Never answers a connect."""

    async def connect(self) -> None:
        """Hang."""
        await asyncio.Event().wait()


async def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes for ever is a lost link with a reason, not a poller that stands still."""
    monkeypatch.setattr(poller, "CONNECT_TIMEOUT_S", 0.05)
    rig = Rig(Hanging())
    await rig.run_until(lambda: rig.states.get(PATH).state == "lost", "it was given up")
    assert rig.states.get(PATH).reason == ("connecting took longer than 0.05 s: is the machine overloaded?")


class Slow(CountingDriver):
    """Takes two and a half cycles now and then."""

    async def read(self) -> list[Frame]:
        """Every fifth read is slow."""
        if self.count % 5 == 4:
            await asyncio.sleep(2.5 * (self.interval_s or 0))
        return await super().read()


async def test_missed_cycles_are_counted() -> None:
    """A slow read costs the cycles that it covers, and they show in the status."""
    driver = Slow(0.05)
    rig = Rig(driver)
    began = time.monotonic()
    await rig.run_until(lambda: driver.count >= 15, "fifteen reads")
    cycles = (time.monotonic() - began) / 0.05
    missed = rig.states.get(PATH).missed_cycles_total
    assert missed >= 3
    assert abs(driver.count + missed - cycles) <= 4


class OfTheFuture(CountingDriver):
    """Its clock is two hours ahead for five reads, then right."""

    async def read(self) -> list[Frame]:
        """Count, by that clock."""
        (frame,) = await super().read()
        ahead_ns = 7_200_000_000_000 if self.count <= 5 else 0
        return [Frame([frame.timestamps[0] + ahead_ns], frame.values)]


async def test_a_clock_that_was_hours_ahead_is_said_and_counted_once_it_is_right() -> None:
    """What it stamped stays in the future; from then on values have their true time."""
    driver = OfTheFuture(0.005)
    rig = Rig(driver)
    with capture_logs() as said:
        await rig.run_until(lambda: driver.count >= 12, "it was set back")
    [line] = [line for line in said if line["event"] == "clock_set_back"]
    assert "more than 5 min in the future" in line["reason"]
    counted = rig.states.counters[PATH]
    assert (counted.set_back_total, counted.clamped_total) == (1, 0)


class BadTag(CountingDriver):
    """One of two tags is bad until the tenth read."""

    async def read(self) -> list[Frame]:
        """Return both tags."""
        (frame,) = await super().read()
        bad = self.count < 10
        codes = {"torque": {0: quality.BAD_NODE_ID_UNKNOWN}} if bad else {}
        return [Frame(frame.timestamps, {**frame.values, "torque": [None if bad else 1.0]}, codes)]


async def test_a_bad_tag_is_said_once_and_stops_nothing() -> None:
    """Its quality goes with it, the tag beside it flows, and its recovery is said."""
    driver = BadTag(0.005)
    rig = Rig(driver)
    with capture_logs() as said:
        await rig.run_until(lambda: driver.count >= 12, "it recovered")
    words = [(line["event"], line.get("tag"), line.get("quality")) for line in said[1:]]
    assert words == [("tag_bad", "torque", "BadNodeIdUnknown"), ("tag_good", "torque", None)]
    frames = [frame for _, taken in rig.collector.take() for frame in taken]
    assert [frame.values["count"][0] for frame in frames][:12] == [float(n) for n in range(1, 13)]
    assert frames[0].quality == {"torque": {0: quality.BAD_NODE_ID_UNKNOWN}}


class Steady(CountingDriver):
    """A tag that trembles and then stands, beside one that counts."""

    async def read(self) -> list[Frame]:
        """Return both tags."""
        (frame,) = await super().read()
        values = {**frame.values, "flow": [5.0 + 0.1 * (self.count % 2) if self.count < 50 else 7.0]}
        return [Frame(frame.timestamps, values)]


async def test_a_tags_rules_are_applied_to_what_is_read() -> None:
    """The deadband leaves out the trembling of its tag only; standing still is said; all of it is counted."""
    driver = Steady(0.005)
    rig = Rig(driver)
    rules = TagRules(deadband=0.5, stuck_ns=100_000_000)
    source = MachineSource(PATH, driver, TagFilter({"flow": rules}))
    rig.poller = Poller(source, rig.collector, rig.states)
    with capture_logs() as said:
        await rig.run_until(lambda: any(line["event"] == "tag_stuck" for line in said), "it is stuck")
    frames = [frame for _, taken in rig.collector.take() for frame in taken]
    flow = [value for frame in frames for value in frame.values.get("flow", [])]
    counts = [value for frame in frames for value in frame.values.get("count", [])]
    assert counts == [float(number) for number in range(1, len(counts) + 1)]
    assert len(counts) >= 60
    assert flow[0] in (5.0, 5.1)
    assert flow[2:] == [7.0, 7.0, 7.0]  # the step behind its foot; the last before the mark; the mark
    counted = rig.states.counters[PATH]
    assert counted.suppressed_total >= 55
    (stuck,) = [line for line in said if line["event"] == "tag_stuck"]
    assert (stuck["machine"], stuck["tag"], stuck["value"]) == (str(PATH), "flow", 7.0)
