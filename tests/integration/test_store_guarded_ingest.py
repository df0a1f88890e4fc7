"""From the broker to a guarded store: what is refused is a dead letter, receipted, and can be replayed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.stores.embedded import EmbeddedStoreSettings
from tests.integration.ingest_rig import EPOCH, PUMP, CloudRig, Gateway, MemoryStore
from tests.integration.scripted_influx import TAKEN, Answer, ScriptedInflux
from tests.integration.test_cloud_service import CloudService
from tests.servers import Mosquitto, wait_until


@pytest.fixture
def service(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[CloudService]:
    """A running cloud service that allows a gateway two new series an hour."""
    service = CloudService(mosquitto, tmp_path)
    text = service.config.read_text()
    service.config.write_text(f"{text}ingest: {{new_series_per_hour_max: 2}}\n")
    service.start()
    yield service
    if service.running is not None and service.running.poll() is None:
        service.running.kill()
        service.running.wait(10)


def read_tags(service: CloudService) -> dict[str, int]:
    """Return how many values the store has of each tag."""
    reader = EmbeddedStoreSettings(kind="embedded", path=service.folder / "store.sqlite").build_reader()
    table = reader.read("telemetry", PUMP, 0, 2**63 - 1)
    reader.close()
    return {tag: int((column == column).sum()) for tag, column in table.values.items()}  # not NaN


def read_account(service: CloudService) -> tuple[int, int, int]:
    """Return the values of pi-01 that are stored, dead-lettered and missing."""
    (account,) = json.loads(service.call("verify", "--gateway", "pi-01", "--json").stdout)["gateways"]
    return account["values_stored"], account["values_dead_lettered"], account["values_missing"]


def test_a_gateway_beyond_its_budget_loses_nothing_and_harms_nobody(
    service: CloudService, mosquitto: Mosquitto
) -> None:
    """Known tags go on, new ones wait in the dead letters; another gateway's are stored; a replay heals."""
    loud, quiet = Gateway(mosquitto.settings), Gateway(mosquitto.settings, "pi-02")
    loud.send(1, a=[1.0], b=[1.0])
    loud.wait_stored(1)
    for sequence in range(2, 12):
        loud.send(sequence, a=[1.0], c=[1.0], d=[1.0])
    loud.send(12, e=[1.0])
    quiet.send(13, x=[1.0], y=[1.0])
    quiet.wait_stored(1)
    loud.wait_stored(11)
    wait_until(lambda: 12 in loud.dead_lettered, "the batch of new tags alone is receipted", 30)
    assert read_tags(service) == {"a": 11, "b": 1, "x": 1, "y": 1}
    loud.say_status(sequence_last=12, values_total=33)
    listed = service.call("dead-letters", "list", "--gateway", "pi-01").stdout
    assert "gateway pi-01 has made its 2 new series" in listed
    assert "11 dead letters" in listed
    wait_until(
        lambda: '"reported":true' in service.call("verify", "--gateway", "pi-01", "--json").stdout,
        "the status is there",
    )
    (account,) = json.loads(service.call("verify", "--gateway", "pi-01", "--json").stdout)["gateways"]
    assert (account["values_stored"], account["values_dead_lettered"], account["values_missing"]) == (
        12,
        21,
        0,
    )
    replayed = service.call("dead-letters", "replay", "--gateway", "pi-01")
    assert replayed.stdout.endswith("11 of 11 are stored\n")
    (account,) = json.loads(service.call("verify", "--gateway", "pi-01", "--json").stdout)["gateways"]
    assert (account["values_stored"], account["values_dead_lettered"], account["values_missing"]) == (
        33,
        0,
        0,
    )
    assert read_tags(service) == {"a": 11, "b": 1, "c": 10, "d": 10, "e": 1, "x": 1, "y": 1}
    loud.link.stop()
    quiet.link.stop()


def test_readings_that_influxdb_refuses_are_receipted_and_kept(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """One tag of a type that the database knows otherwise: its readings are letters, all else is stored."""
    server = ScriptedInflux()

    def judge(lines: list[str]) -> Answer:
        clash = any(" clash=" in line or ",clash=" in line for line in lines)
        return (422, {}, "field type conflict") if clash else TAKEN

    server.judge = judge
    server.upcoming = [(503, {"Retry-After": "0.3"}, "busy")]
    writer = server.make_settings().build_writer()
    cloud = CloudRig(mosquitto.settings, tmp_path, writer)  # type: ignore[arg-type]  # any writer will do
    gateway = Gateway(mosquitto.settings)
    try:
        gateway.send(1, x=[1.0, 2.0], clash=[3.0, 4.0])
        gateway.send(2, x=[5.0])
        gateway.send(3, clash=[6.0])
        gateway.wait_stored(2)
        wait_until(lambda: 3 in gateway.dead_lettered, "the third is receipted as dead-lettered", 30)
    finally:
        cloud.stop()
        gateway.link.stop()
        server.close()
    letters = [cloud.dead_letters.get(one.id) for one in cloud.dead_letters.list_newest()]
    assert all("field type conflict" in letter.reason for letter in letters)
    values = [json.loads(letter.payload)["frames"][0]["values"] for letter in letters]
    assert sorted(values, key=str) == [{"clash": [3.0, 4.0]}, {"clash": [6.0]}]
    account = cloud.ledger._accounts["pi-01", EPOCH]
    assert (account.values_stored, account.values_dead_lettered) == (3, 3)
    assert {line.split(" ")[1] for line in server.lines} == {"x=1.0", "x=2.0", "x=5.0"}


def test_a_store_that_asks_for_a_pause_gets_it_and_statuses_go_on(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Retry-After holds the writes back, not the gateways' words about themselves."""
    server = ScriptedInflux()
    server.upcoming = [(429, {"Retry-After": "5"}, "slow down")]
    cloud = CloudRig(mosquitto.settings, tmp_path, server.make_settings().build_writer())  # type: ignore[arg-type]  # any writer will do
    gateway = Gateway(mosquitto.settings)
    try:
        gateway.send(1)
        wait_until(lambda: len(server.asked_s) == 1, "the store was asked")
        begun = time.monotonic()
        gateway.say_status(sequence_last=1)
        wait_until(lambda: len(cloud.ledger._accounts) == 1, "the status is noted meanwhile")
        assert time.monotonic() - begun < 4.5
        gateway.wait_stored(1)
    finally:
        cloud.stop()
        gateway.link.stop()
        server.close()
    assert 5.0 <= server.asked_s[1] - server.asked_s[0] < 15.0


def test_one_receipt_a_gateway_and_write(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Many batches of several gateways that wait together are one write and one receipt for each gateway."""
    store = MemoryStore()
    cloud = CloudRig(mosquitto.settings, tmp_path, store, linger_s=0.5)
    gateways = [Gateway(mosquitto.settings, name) for name in ("pi-01", "pi-02")]
    try:
        store.away.set()
        gateways[0].send(1)  # holds the writer while the others come in
        wait_until(lambda: store.refusals > 0, "the writer is held")
        for sequence in range(2, 42):
            for gateway in gateways:
                gateway.send(sequence)
        wait_until(lambda: len(cloud.ingester._intake._inbox) == 80, "all wait")
        store.away.clear()
        gateways[0].wait_stored(41)
        gateways[1].wait_stored(40)
    finally:
        cloud.stop()
        for gateway in gateways:
            gateway.link.stop()
    assert [gateway.receipts for gateway in gateways] == [2, 1]
