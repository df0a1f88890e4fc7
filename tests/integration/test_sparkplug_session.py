"""A gateway as Sparkplug edge node on a real Mosquitto: births, wills, rebirths, deaths."""

import json
from pathlib import Path

import pytest

from edge.sparkplug.payload import BOOLEAN, INT64
from tests.integration.edge_rig import StandInCloud, until
from tests.integration.sparkplug_gateway import start_gateway
from tests.integration.sparkplug_rig import (
    DEVICE,
    FlakyDriver,
    SparkplugHost,
    find_bdseq,
    make_sparkplug_settings,
    running_gateway,
)
from tests.servers import Mosquitto, find_peer, wait_until
from tests.unit.sparkplug_rig import ask_npm


async def test_tck_id_payloads_dbirth_order_on_a_broker(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """NBIRTH, DBIRTH, values: QoS 0, not retained, numbered without a hole; Forewarn's cloud has all too."""
    host = SparkplugHost(mosquitto.settings)
    cloud = StandInCloud(mosquitto.settings)
    host.start()
    cloud.start()
    driver = FlakyDriver()
    async with running_gateway(make_sparkplug_settings(tmp_path, mosquitto.settings), driver):
        await until(lambda: len(host.of("DDATA")) >= 5, "values came")
    await until(lambda: host.counts == set(range(1, driver.count + 1)), "every value came to the host")
    await until(lambda: set(cloud.counts) == set(range(1, driver.count + 1)), "and to Forewarn's cloud")
    host.stop()
    cloud.stop()
    assert host.kinds[:2] == ["NBIRTH", "DBIRTH"]
    assert host.heard[1].topic == f"spBv1.0/riverside/DBIRTH/pi-01/{DEVICE}"
    alive = [heard for heard in host.heard if heard.kind != "NDEATH"]
    assert [heard.payload.seq for heard in alive] == [count % 256 for count in range(len(alive))]
    assert {(heard.qos, heard.retain) for heard in alive} == {(0, False)}
    assert [value for value, historical in host.list_counts() if not historical] == sorted(host.counts)
    late = SparkplugHost(mosquitto.settings, "late")
    late.start()
    late.say_online(True)
    late.stop()
    assert late.heard == []


async def test_tck_id_operational_behavior_edge_node_intentional_disconnect_ndeath(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """NDEATH, and tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt50 has the will said too."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    async with running_gateway(make_sparkplug_settings(tmp_path, mosquitto.settings), FlakyDriver()):
        await until(lambda: len(host.of("DDATA")) >= 2, "values came")
    await until(lambda: host.kinds[-2:] == ["NDEATH", "NDEATH"], "the farewell, and the will with it")
    host.stop()
    assert [find_bdseq(death) for death in host.of("NDEATH")] == [0, 0]
    assert all(death.payload.seq is None and not death.retain for death in host.of("NDEATH"))


def test_tck_id_message_flow_edge_node_birth_publish_will_message(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Killed (-9), the broker says NDEATH with the birth's bdSeq at QoS 1; the next birth has one more."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    for lives in (1, 2):
        gateway = start_gateway(tmp_path, mosquitto.port)
        try:
            wait_until(lambda lives=lives: len(host.of("NBIRTH")) == lives, "the node was born")
        finally:
            gateway.kill()
            gateway.wait(10)
        wait_until(lambda lives=lives: len(host.of("NDEATH")) == lives, "the broker said that it is dead")
    host.stop()
    assert host.bdseqs == [0, 1]
    assert [find_bdseq(death) for death in host.of("NDEATH")] == [0, 1]
    [metric] = host.of("NDEATH")[0].payload.metrics
    assert (metric.name, metric.datatype) == ("bdSeq", INT64)
    assert {(death.qos, death.retain) for death in host.of("NDEATH")} == {(1, False)}


async def test_tck_id_operational_behavior_data_commands_rebirth_action_3(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """A rebirth, asked for by npm's encoder, has the same bdSeq and begins at 0; nothing is lost by it."""
    asked = {
        "timestamp": 1,
        "metrics": [{"name": "Node Control/Rebirth", "type": "Boolean", "value": True}],
    }
    [line] = ask_npm(find_peer("sparkplug-payload"), [f"encode {json.dumps(asked)}"])
    host = SparkplugHost(mosquitto.settings)
    host.start()
    driver = FlakyDriver()
    async with running_gateway(make_sparkplug_settings(tmp_path, mosquitto.settings), driver):
        await until(lambda: len(host.of("DDATA")) >= 2, "values came")
        for _ in range(5):
            host.ask_rebirth(bytes.fromhex(line))
        await until(lambda: len(host.of("NBIRTH")) >= 2, "the node was born again")
        again = host.kinds.index("NBIRTH", 1)
        await until(lambda: host.kinds[again:].count("DDATA") >= 2, "and goes on")
    await until(lambda: host.counts == set(range(1, driver.count + 1)), "no value was lost")
    host.stop()
    assert host.kinds[again : again + 2] == ["NBIRTH", "DBIRTH"]
    assert len(host.bdseqs) == 2
    assert set(host.bdseqs) == {0}
    assert host.heard[again].payload.seq == 0
    rebirth = next(m for m in host.heard[again].payload.metrics if m.name == "Node Control/Rebirth")
    assert (rebirth.datatype, rebirth.value) == (BOOLEAN, False)


async def test_tck_id_operational_behavior_device_ddeath_on_a_broker(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """A machine that is unplugged dies, and is born with its next value; no value is lost."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    driver = FlakyDriver()
    async with running_gateway(make_sparkplug_settings(tmp_path, mosquitto.settings), driver):
        await until(lambda: len(host.of("DDATA")) >= 2, "values came")
        driver.is_plugged = False
        await until(lambda: len(host.of("DDEATH")) == 1, "the machine died")
        driver.is_plugged = True
        await until(lambda: len(host.of("DBIRTH")) == 2, "and was born again")
    await until(lambda: host.counts == set(range(1, driver.count + 1)), "no value was lost")
    host.stop()
    assert host.of("DDEATH")[0].topic == f"spBv1.0/riverside/DDEATH/pi-01/{DEVICE}"
    assert len(host.of("NBIRTH")) == 1


@pytest.mark.parametrize("names", ["births", "always"])
async def test_npms_decoder_reads_a_whole_session(tmp_path: Path, mosquitto: Mosquitto, names: str) -> None:
    """Every message that went over the broker, in one node process."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings, metric_names=names)
    async with running_gateway(settings, FlakyDriver()):
        await until(lambda: len(host.of("DDATA")) >= 5, "values came")
    await until(lambda: "NDEATH" in host.kinds, "the end")
    host.stop()
    lines = ask_npm(find_peer("sparkplug-payload"), [heard.raw.hex() for heard in host.heard])
    assert len(lines) == len(host.heard)
    for heard, line in zip(host.heard, lines, strict=True):
        read = json.loads(line)
        assert [metric["wireValue"] for metric in read["metrics"]] == [
            metric.value for metric in heard.payload.metrics
        ]
        if heard.kind == "DDATA" and names == "always":
            assert {(metric["name"], metric["type"]) for metric in read["metrics"]} == {("count", "Double")}
