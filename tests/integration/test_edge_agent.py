"""The edge agent around a real broker: custody, outages, machines that are not there."""

import asyncio
from pathlib import Path

from tests.integration.edge_rig import (
    CountingDriver,
    DeadDriver,
    StandInCloud,
    look_into,
    make_settings,
    running,
    until,
)
from tests.servers import Mosquitto


async def test_values_flow_and_receipts_release_them(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Every value that a machine gave arrives once and in order, and the outbox ends empty."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = CountingDriver()
    async with running(settings, driver):
        await until(lambda: len(cloud.counts) > 50, "50 values arrived")
    await until(lambda: len(cloud.counts) >= driver.count, "the rest arrived")
    cloud.stop()
    assert cloud.counts == [float(number) for number in range(1, driver.count + 1)]
    left = look_into(settings)
    assert (left.waiting, left.waiting_bytes, left.waiting_values) == ([], 0, 0)
    assert left.values_total == driver.count


async def test_a_killed_broker_loses_nothing_and_live_values_go_first_afterwards(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Broker killed (-9) for some seconds: all values arrive, the freshest before the backlog."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = CountingDriver()
    async with running(settings, driver):
        await until(lambda: len(cloud.counts) > 20, "values arrived before the outage")
        await asyncio.to_thread(mosquitto.kill)
        before = driver.count
        await until(lambda: driver.count > before + 150, "the machine was read on during the outage")
        arrived = len(cloud.sequences)
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: len(set(cloud.counts)) >= before + 150, "the backlog arrived")
        await until(lambda: set(range(1, before + 150)) <= set(cloud.counts), "nothing is missing")
    cloud.stop()
    after = cloud.sequences[arrived:]
    newest_at_return = max(after[:30])
    assert after.index(newest_at_return) < after.index(sorted(set(after))[len(set(after)) // 2])
    assert look_into(settings).dropped == []


async def test_a_dead_machine_does_not_delay_the_others(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """A machine that never answers is said in the status with its reason; its neighbour is read on time."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = CountingDriver(interval_s=0.05)
    async with running(make_settings(tmp_path, mosquitto.settings), DeadDriver(), driver):
        await until(lambda: driver.count >= 40, "the neighbour was read")
        await until(lambda: any("refused" in m.reason for s in cloud.statuses for m in s.machines), "status")
    cloud.stop()
    dead, alive = next(s for s in reversed(cloud.statuses) if s.machines).machines
    assert (dead.state, alive.state) == ("lost", "connected")
    assert alive.missed_cycles_total <= 5
