"""The edge agent around a real broker: custody, outages, machines that are not there."""

import asyncio
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from edge.agent import Agent
from edge.outbox.file import OutboxBusy, OutboxCorrupt, OutboxUnavailable
from edge.outbox.glance import glance
from edge.outbox.outbox import Outbox
from edge.polling.poller import MachineSource
from edge.settings import EdgeSettings
from models.link import BrokerSettings, Link
from models.telemetry import Frame, Receipt, encode_receipt
from tests.integration.edge_rig import (
    PATH,
    BrokenDriver,
    CountingDriver,
    DeadDriver,
    StandInCloud,
    look_beside,
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


async def test_a_killed_broker_loses_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Broker killed (-9) for some seconds: every value arrives."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = CountingDriver()
    async with running(settings, driver):
        await until(lambda: len(cloud.counts) > 20, "values arrived before the outage")
        await asyncio.to_thread(mosquitto.kill)
        before = driver.count
        await until(lambda: driver.count > before + 150, "the machine was read on during the outage")
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: len(set(cloud.counts)) >= before + 150, "the backlog arrived")
        await until(lambda: set(range(1, before + 150)) <= set(cloud.counts), "nothing is missing")
    cloud.stop()
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


async def read_problem(settings: EdgeSettings) -> str:
    """Return the first problem that the gateway names over HTTP; empty when there is none."""
    async with httpx.AsyncClient() as client:
        body = (await client.get(f"http://127.0.0.1:{settings.health.port}/healthz")).json()
    return str(next(iter(body["problems"]), ""))


async def test_without_a_subscriber_everything_is_kept_and_said_once(
    tmp_path: Path, mosquitto: Mosquitto, free_port: int
) -> None:
    """PUBACK 16 is no delivery: the values wait, one line says so, and all arrive when the cloud comes."""
    settings = make_settings(tmp_path, mosquitto.settings, health={"port": free_port})
    driver = CountingDriver()
    cloud = StandInCloud(mosquitto.settings)
    with capture_logs() as said:
        async with running(settings, driver):
            await until(lambda: driver.count > 100, "the machine was read")
            waits = [line for line in said if line["event"] == "delivery_waits"]
            assert [line["reason"] for line in waits] == ["nobody subscribes to this gateway's batches"]
            assert "keeping values in the outbox" in waits[0]["keeping"]
            assert await read_problem(settings) == (
                "values wait in the outbox: nobody subscribes to this gateway's batches: "
                "is forewarn cloud running, with the same namespace and broker?"
            )
            cloud.start()
            await until(lambda: set(range(1, 101)) <= set(cloud.counts), "the backlog arrived")
            await until(lambda: any(line["event"] == "delivery_goes_on" for line in said), "said so")
            assert "outbox" not in await read_problem(settings)
    cloud.stop()
    assert not [line for line in said if line["event"] == "part_died"]


async def test_a_silent_cloud_keeps_the_outbox_full(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Acknowledged by the broker is not stored: without receipts nothing is let go, and it is sent again."""
    settings = make_settings(tmp_path, mosquitto.settings, receipt_timeout_s=1)
    cloud = StandInCloud(mosquitto.settings)
    cloud.gives_receipts = False
    cloud.start()
    driver = CountingDriver()
    async with running(settings, driver):
        await until(lambda: cloud.sequences.count(1) >= 2, "an unreceipted batch was sent again")
        seen = glance(settings.outbox.path)
        assert sum(machine.batches for machine in seen.machines) == seen.sequence_last
        cloud.gives_receipts = True
        await until(lambda: 1 not in dict(look_beside(settings)), "the receipts came and released them")
    cloud.stop()
    assert set(cloud.counts) == set(range(1, driver.count + 1))


async def test_a_receipt_for_another_outbox_releases_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Sequences of another epoch are other batches; nonsense on the receipt topic is passed over."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.gives_receipts = False
    cloud.start()
    with capture_logs() as said:
        async with running(settings, CountingDriver()):
            await until(lambda: len(cloud.sequences) >= 3, "batches arrived")
            cloud.say(encode_receipt(Receipt(1, "0" * 32, [(1, 1000)])))
            cloud.say(b"\xff nonsense")
            await until(lambda: {"receipt_foreign", "receipt_rejected"} <= {m["event"] for m in said}, "said")
            seen = glance(settings.outbox.path)
            assert sum(machine.batches for machine in seen.machines) == seen.sequence_last
            epoch = cloud.batches[0].epoch
            cloud.say(encode_receipt(Receipt(1, epoch, [(1, 1)], [(2, 2)])))
            await until(lambda: look_beside(settings)[0][0] == 3, "dead letters are released too")
    cloud.stop()
    lost = [line["sequences"] for line in said if line["event"] == "batches_dead_lettered"]
    assert lost == [[(2, 2)]]


async def test_the_status_says_how_the_gateway_fares(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Online with its counts while it runs, offline after an orderly end."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = CountingDriver()
    async with running(make_settings(tmp_path, mosquitto.settings), driver):
        await until(lambda: any(status.values_total for status in cloud.statuses), "a status with counts")
    await until(lambda: cloud.statuses[-1].state == "offline", "the last word")
    cloud.stop()
    online = next(status for status in cloud.statuses if status.values_total)
    assert (online.state, online.gateway, online.machines[0].state) == ("online", "pi-01", "connected")
    last = cloud.statuses[-1]
    assert (last.epoch, last.values_total) == (online.epoch, driver.count)
    assert last.waiting == []


async def test_a_machine_that_breaks_our_code_does_not_end_the_agent(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """A driver's bug is logged with its trace, that machine is tried again, the others never notice."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    broken, driver = BrokenDriver(), CountingDriver()
    with capture_logs() as said:
        async with running(make_settings(tmp_path, mosquitto.settings), broken, driver):
            await until(lambda: broken.count >= 2, "the broken one was tried again")
            count = driver.count
            await until(lambda: driver.count > count + 5, "the other one was read on")
            await until(lambda: any(s.machines for s in cloud.statuses), "a status")
    cloud.stop()
    died = [line for line in said if line["event"] == "part_died"]
    assert died[0]["error"] == "integer division or modulo by zero"
    assert died[0]["exc_info"]
    told = cloud.statuses[-1].machines[0]
    assert told.state == "lost"
    assert "a fault in the program" in told.reason


async def test_a_second_agent_on_the_same_outbox_is_refused(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """It ends at once with the reason, and the first goes on."""
    settings = make_settings(tmp_path, mosquitto.settings)
    async with running(settings, CountingDriver()) as first:
        await until(settings.outbox.path.exists, "the first has opened it")
        with pytest.raises(OutboxBusy, match="in use by another edge agent"):
            await Agent(settings, []).run(asyncio.Event())
        assert first


async def test_a_broker_that_takes_small_packets_only_gets_small_ones(tmp_path: Path) -> None:
    """Batches written before it said so are cut again; without that, paho would send them for ever."""
    settings = make_settings(tmp_path, BrokerSettings(port=1))
    outbox = Outbox(settings.outbox.path, "pi-01", 10**9)
    outbox.open()
    big = Frame(list(range(1, 2001)), {"count": [float(number) for number in range(1, 2001)]})
    outbox.put([(PATH, [big])], 1)
    outbox.close()
    broker = Mosquitto(tmp_path, "max_packet_size 5000")
    broker.start()
    cloud = StandInCloud(broker.settings)
    cloud.start()
    async with running(make_settings(tmp_path, broker.settings)):
        await until(lambda: len(cloud.counts) >= 2000, "the parts arrived")
    cloud.stop()
    broker.stop()
    assert sorted(cloud.counts) == big.values["count"]
    assert 1 not in cloud.sequences
    left = look_into(settings)
    assert (left.waiting, left.values_total) == ([], 2000)


async def test_a_damaged_outbox_ends_the_program(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to wait for: the agent ends with the mend, and its next start begins anew."""

    def find_damage(*_: object, **__: object) -> None:
        raise OutboxCorrupt("outbox.sqlite is damaged: start the agent again")

    monkeypatch.setattr(Outbox, "put", find_damage)
    sources = [MachineSource(PATH, CountingDriver())]
    with pytest.raises(OutboxCorrupt, match="start the agent again"):
        await Agent(make_settings(tmp_path, mosquitto.settings), sources).run(asyncio.Event())


async def test_a_full_disk_keeps_values_in_memory(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk takes nothing that is said once; when it does again, every value follows."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    put, driver = Outbox.put, CountingDriver()

    def refuse(*_: object, **__: object) -> None:
        raise OutboxUnavailable("outbox.sqlite: database or disk is full")

    with capture_logs() as said:
        async with running(settings, driver):
            await until(lambda: len(cloud.counts) > 5, "values flow")
            monkeypatch.setattr(Outbox, "put", refuse)
            before = driver.count
            await until(lambda: driver.count > before + 50, "the machine was read on")
            monkeypatch.setattr(Outbox, "put", put)
            await until(lambda: max(cloud.counts) > before + 50, "values flow again")
    await until(lambda: len(cloud.counts) >= driver.count, "the rest arrived")
    cloud.stop()
    assert sorted(cloud.counts) == list(range(1, driver.count + 1))
    events = [line["event"] for line in said]
    assert (events.count("outbox_unwritable"), events.count("outbox_writable")) == (1, 1)


async def test_the_status_is_renewed_at_every_connect(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """After a broker's restart its memory of us is gone: the status comes again though nothing changed."""
    settings = make_settings(tmp_path, mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    async with running(settings):
        await until(lambda: bool(cloud.statuses), "the first status")
        await asyncio.to_thread(mosquitto.kill)
        await until(lambda: not cloud.is_connected(), "the broker is gone")
        cloud.statuses.clear()
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: bool(cloud.statuses), "the status came again")
    cloud.stop()


async def test_a_dead_link_is_replaced(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody serves any more is noticed and made anew; nothing is lost on the way."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver, links = CountingDriver(), []

    def is_alive(link: Link) -> bool:
        if link not in links:
            links.append(link)
        return link is not links[0]

    monkeypatch.setattr(Link, "is_alive", is_alive)
    with capture_logs() as said:
        async with running(make_settings(tmp_path, mosquitto.settings), driver):
            await until(lambda: len(links) == 2, "a second link")
            before = driver.count
            await until(lambda: max(cloud.counts, default=0) > before, "values flow over it")
            await until(lambda: set(range(1, before)) <= set(cloud.counts), "nothing is missing")
    cloud.stop()
    died = [line["error"] for line in said if line["event"] == "part_died"]
    assert died == ["the MQTT link ended unexpectedly: a new one is made"]
