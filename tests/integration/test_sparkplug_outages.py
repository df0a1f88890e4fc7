"""Sparkplug while the broker or the primary host is away: what is kept, sent as history, and let go."""

import time
from pathlib import Path

from structlog.testing import capture_logs

from edge.agent import Agent
from edge.outbox.outbox import Outbox
from edge.settings import EdgeSettings
from edge.sparkplug.vitals import SparkplugVitals
from models.telemetry import decode_batch
from tests.integration.edge_rig import StandInCloud, look_beside, look_into, until
from tests.integration.sparkplug_gateway import start_gateway
from tests.integration.sparkplug_rig import (
    FlakyDriver,
    SparkplugHost,
    find_bdseq,
    make_sparkplug_settings,
    running_gateway,
)
from tests.servers import Mosquitto, find_free_port, wait_until


def vitals_of(agent: Agent) -> SparkplugVitals:
    """Return how the Sparkplug part of a running gateway fares."""
    assert agent.sparkplug is not None
    return agent.sparkplug.look()


async def all_arrived(host: SparkplugHost, driver: FlakyDriver) -> None:
    """Return once the host has every number that the machine ever said."""
    everything = set(range(1, driver.count + 1))
    await until(lambda: host.counts >= everything, "no value is missing")
    assert host.counts == everything


async def test_tck_id_message_flow_edge_node_birth_publish_will_message_payload_bdseq(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """After a broker's restart the bdSeq is one more, and what it may have lost comes again as history."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = FlakyDriver()
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, settle_s=5)
    async with running_gateway(settings, driver) as agent:
        await until(lambda: len(host.of("DDATA")) >= 3, "values came")
        mosquitto.kill()
        away = driver.count
        await until(lambda: driver.count > away + 30, "the machine was read meanwhile")
        mosquitto.start()
        await until(lambda: len(host.bdseqs) >= 2, "the node was born again", 40)
        await until(lambda: vitals_of(agent).batches_waiting == 0, "history was sent")
        await until(lambda: any(value == away + 20 for value, _ in host.list_counts()), "it came")
    await all_arrived(host, driver)
    host.stop()
    cloud.stop()
    assert host.bdseqs == [0, 1]
    assert (float(away + 20), True) in host.list_counts()


async def test_tck_id_operational_behavior_edge_node_termination_host_offline(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """The primary host leaves: NDEATH, a connection anew, nothing published; it comes back: history."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, primary_host="scada", settle_s=0)
    driver = FlakyDriver()
    with capture_logs() as said:
        async with running_gateway(settings, driver) as agent:
            await until(lambda: vitals_of(agent).broker_connected and driver.count > 10, "it is connected")
            assert host.kinds == []
            host.say_online(True)
            await until(lambda: len(host.of("DDATA")) >= 3, "the node was born and values came")
            await until(lambda: 1.0 in host.counts, "those from before too")
            host.say_online(False)
            await until(lambda: "NDEATH" in host.kinds, "the node said goodbye")
            away = driver.count
            death = host.kinds.index("NDEATH")
            await until(lambda: vitals_of(agent).broker_connected and driver.count > away + 30, "read on")
            assert set(host.kinds[death:]) == {"NDEATH"}
            assert vitals_of(agent).host_state == "offline"
            host.say_online(True)
            await until(lambda: vitals_of(agent).batches_waiting == 0 and len(host.bdseqs) == 2, "born again")
            await until(lambda: any(value == away + 20 for value, _ in host.list_counts()), "history came")
    await all_arrived(host, driver)
    host.stop()
    assert (float(away + 20), True) in host.list_counts()
    assert host.bdseqs == [0, 1]
    assert {find_bdseq(heard) for heard in host.of("NDEATH")[:2]} == {0}
    events = [line["event"] for line in said if line["event"].startswith("sparkplug_host")]
    assert events[-2:] == ["sparkplug_host_away", "sparkplug_host_back"]


async def test_a_stale_offline_of_the_host_is_passed_over(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """tck-id-operational-behavior-edge-node-termination-host-offline-timestamp: a late will is none."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, primary_host="scada")
    async with running_gateway(settings, FlakyDriver()):
        host.say_online(True, 2_000)
        await until(lambda: "DDATA" in host.kinds, "values came")
        host.say_online(False, 1_000)
        seen = len(host.heard)
        await until(lambda: len(host.heard) > seen + 3, "it goes on")
        assert "NDEATH" not in host.kinds
    host.stop()


async def test_with_the_brokers_custody_the_outbox_lets_go_of_what_settled(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """No Forewarn cloud: values wait in the outbox, over a restart, and leave it after the host had them."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(
        tmp_path, mosquitto.settings, primary_host="scada", custody="broker", settle_s=0.3
    )
    driver = FlakyDriver()
    with capture_logs() as said:
        async with running_gateway(settings, driver):
            await until(lambda: driver.count > 20, "read without a host")
        kept = look_into(settings)
        assert kept.waiting == [(1, kept.sequence_last)]
        async with running_gateway(settings, driver) as agent:
            host.say_online(True)
            await until(lambda: 1.0 in host.counts, "what was kept came")
            await until(lambda: len(look_beside(settings)) < 6 and driver.count > 50, "and was let go", 40)
            assert vitals_of(agent).custody == "broker"
    await all_arrived(host, driver)
    host.stop()
    assert (1.0, True) in host.list_counts()
    started = next(line for line in said if line["event"] == "sparkplug_started")
    assert started["log_level"] == "warning"
    assert "Not promised: that the host got it" in started["promise"]


async def test_with_the_brokers_custody_nothing_is_let_go_while_the_host_is_away(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """What was sent shortly before the host left is sent again when it is back."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    host.say_online(True)
    settings = make_sparkplug_settings(
        tmp_path, mosquitto.settings, primary_host="scada", custody="broker", settle_s=600
    )
    driver = FlakyDriver()
    async with running_gateway(settings, driver):
        await until(lambda: len(host.of("DDATA")) >= 3, "values came")
        host.say_online(False)
        await until(lambda: "NDEATH" in host.kinds, "the node said goodbye")
        host.heard.clear()
        host.say_online(True)
        await until(lambda: {1.0, 2.0, 3.0} <= host.counts, "what was sent before came again")
        assert (1.0, True) in host.list_counts()
    host.stop()
    totals = look_into(settings)
    assert totals.waiting == [(1, totals.sequence_last)]


async def test_hosts_on_another_broker_do_not_hold_the_cloud_up(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """A copy's broker that is not there costs Forewarn's cloud nothing; what it costs the copy is counted."""
    elsewhere = {"host": "127.0.0.1", "port": find_free_port()}
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, broker=elsewhere)
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    driver = FlakyDriver()
    with capture_logs() as said:
        async with running_gateway(settings, driver) as agent:
            await until(lambda: len(cloud.counts) > 50, "the cloud has values")
            await until(lambda: vitals_of(agent).batches_waiting > 3, "the copy waits")
            assert not vitals_of(agent).broker_connected
    cloud.stop()
    assert set(cloud.counts) == set(range(1, driver.count + 1))
    assert look_into(settings).waiting == []
    lost = [line for line in said if line["event"] == "sparkplug_broker_lost"]
    assert len(lost) == 1
    assert "refused the connection" in lost[0]["reason"]


def list_waiting(settings: EdgeSettings) -> set[float]:
    """Return the numbers in the outbox of a gateway that was killed."""
    outbox = Outbox(settings.outbox.path, settings.gateway, settings.outbox.bytes_max)
    outbox.open()
    try:
        batches, complete = outbox.read(outbox.totals().waiting, 100_000, 10**9)
    finally:
        outbox.close()
    assert complete
    return {
        value
        for batch in batches
        for frame in decode_batch(batch.payload).frames
        for value in frame.values["count"]
        if value is not None
    }


def test_with_the_brokers_custody_a_killed_gateway_loses_nothing_it_had_committed(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """kill -9 while the host is online: what was in the outbox comes, some of it twice, all of it once."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    host.say_online(True)
    section = {"primary_host": "scada", "custody": "broker", "settle_s": 0.3}
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, **section)
    gateway = start_gateway(tmp_path, mosquitto.port, **section)
    wait_until(lambda: len(host.counts) > 100, "values came")
    gateway.kill()
    gateway.wait(10)
    committed = list_waiting(settings) | host.counts
    gateway = start_gateway(tmp_path, mosquitto.port, 1_000_000, **section)
    try:
        wait_until(lambda: max(host.counts) > 1_000_050 and committed <= host.counts, "all of it came")
    finally:
        gateway.kill()
        gateway.wait(10)
    host.stop()
    assert committed == set(range(1, int(max(committed)) + 1))
    assert host.bdseqs == [0, 1]


async def test_a_broker_with_an_access_list_lets_a_gateway_speak_under_its_own_name(tmp_path: Path) -> None:
    """The lines that configs/mosquitto/acl shows: births, values, the will, commands and STATE pass."""
    shown = (Path(__file__).parents[2] / "configs" / "mosquitto" / "acl").read_text()
    own = [line.removeprefix("# ") for line in shown.splitlines() if "spBv1.0" in line]
    everything = ["user scada", "topic readwrite spBv1.0/#"]
    (tmp_path / "acl").write_text("\n".join([*own, *everything]) + "\n")
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}")
    broker.start()
    host = SparkplugHost(broker.settings, user="scada")
    host.start()
    host.say_online(True)
    mqtt = broker.settings.model_copy(update={"username": "pi-01"})
    section = {"primary_host": "scada", "custody": "broker"}
    async with running_gateway(make_sparkplug_settings(tmp_path, mqtt, **section), FlakyDriver()):
        await until(lambda: "DDATA" in host.kinds, "values came")
        host.ask_rebirth()
        await until(lambda: len(host.of("NBIRTH")) == 2, "the command came")
    await until(lambda: host.kinds.count("NDEATH") == 2, "the end")
    host.stop()
    broker.stop()


async def test_history_goes_out_at_the_pace_that_was_set(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """400 values at 200 a second take more than a second, and current values come meanwhile."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(
        tmp_path, mosquitto.settings, primary_host="scada", history_values_per_s=200
    )
    driver = FlakyDriver(0.005)
    async with running_gateway(settings, driver) as agent:
        await until(lambda: vitals_of(agent).broker_connected and driver.count > 400, "values wait")
        waited = driver.count
        host.say_online(True)
        began = time.monotonic()
        await until(lambda: any(value == 1.0 for value, _ in host.list_counts()), "history begins")
        live = [historical for value, historical in host.list_counts() if value > waited + 20]
        await until(lambda: any(value > waited + 20 for value, _ in host.list_counts()), "current ones come")
        await until(lambda: {float(n) for n in range(1, waited - 50)} <= host.counts, "all history came", 60)
        took = time.monotonic() - began
    host.stop()
    assert not any(live)
    assert took > 1.0
