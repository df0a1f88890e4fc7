"""From a real broker to the store: stored first, then receipted; poison, repeats and outages lose nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.gateways import Gateways
from cloud.ingest.ledger import list_accounts
from cloud.stores import Block
from models.telemetry import MachinePath, encode_batch
from tests.integration.ingest_rig import EPOCH, PUMP, START_NS, CloudRig, Gateway, MemoryStore, make_batch
from tests.servers import Mosquitto, wait_until


@pytest.fixture
def store() -> MemoryStore:
    """A store in memory."""
    return MemoryStore()


@pytest.fixture
def cloud(mosquitto: Mosquitto, tmp_path: Path, store: MemoryStore) -> Iterator[CloudRig]:
    """An ingester that is connected and subscribed."""
    rig = CloudRig(mosquitto.settings, tmp_path, store)
    yield rig
    rig.stop()


@pytest.fixture
def gateway(cloud: CloudRig, mosquitto: Mosquitto) -> Iterator[Gateway]:
    """A gateway whose first batch has been receipted, so that everybody is subscribed."""
    rig = Gateway(mosquitto.settings)

    def receipted() -> bool:
        rig.send(1)
        return bool(rig.stored.total)

    wait_until(receipted, "the first receipt")
    yield rig
    rig.link.stop()


def test_batches_are_stored_receipted_and_acknowledged(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """Every batch is stored, in the ledger and receipted; more pass than the receive maximum: acks flow."""
    for sequence in range(2, 1001):
        gateway.send(sequence, current=[float(sequence), 2.0, None])
    gateway.wait_stored(1000)
    assert list(gateway.stored) == [(1, 1000)]
    for sequence in range(2, 1001):
        assert store.values[PUMP, "current", START_NS + sequence * 10**9] == sequence
    (account,) = list_accounts(cloud.engine)
    assert list(account.stored) == [(1, 1000)]
    assert account.values_stored == 999 * 2 + 1


def test_receipts_cover_ranges_not_single_batches(gateway: Gateway) -> None:
    """Many batches are answered by few receipts."""
    before = gateway.receipts
    for sequence in range(2, 402):
        gateway.send(sequence)
    gateway.wait_stored(401)
    assert gateway.receipts - before <= 100


def test_a_flood_of_poison_does_not_block_good_batches(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """Poison is kept with its reason and receipted where it says whose it is; good ones pass between."""
    broken = encode_batch(make_batch(1000)).replace(b'"v":1', b'"v":7')
    for sequence in range(2, 302):
        gateway.publish(b'{"v":1, "gateway"' + str(sequence).encode())
        gateway.send(sequence)
    gateway.publish(broken)
    gateway.wait_stored(301)
    wait_until(lambda: 1000 in gateway.dead_lettered, "the poison with a number is receipted")
    assert list(gateway.stored) == [(1, 301)]
    letters = cloud.dead_letters.list_newest()
    assert len(letters) == 301
    assert "schema version 7 is not known here" in letters[0].reason
    assert cloud.dead_letters.get(letters[0].id).payload == broken


def test_the_store_rejects_one_batch_and_keeps_its_neighbours(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """A batch that the store cannot take is dead-lettered alone, although it was written with others."""
    for sequence in range(2, 30):
        columns: dict[str, list[float | None]] = {"poison": [1.0]} if sequence == 11 else {"current": [1.0]}
        gateway.send(sequence, **columns)
    gateway.wait_stored(28)
    wait_until(lambda: 11 in gateway.dead_lettered, "the bad batch is receipted as dead-lettered")
    assert list(gateway.stored) == [(1, 10), (12, 29)]
    (letter,) = cloud.dead_letters.list_newest()
    assert letter.reason == "the store rejected it: a tag that the store cannot take"


def test_a_gateway_cannot_speak_for_another(cloud: CloudRig, gateway: Gateway, store: MemoryStore) -> None:
    """A payload with another gateway's name is dead-lettered to the account of the topic's gateway."""
    gateway.publish(encode_batch(make_batch(5, gateway="pi-99", current=[66.0])))
    wait_until(lambda: 5 in gateway.dead_lettered, "the spoofed batch is receipted as dead-lettered")
    (letter,) = cloud.dead_letters.list_newest()
    assert "the payload says gateway 'pi-99' on the topic of 'pi-01'" in letter.reason
    assert (PUMP, "current", START_NS + 5 * 10**9) not in store.values
    assert [account.gateway for account in list_accounts(cloud.engine)] == ["pi-01"]


def test_a_wrong_topic_is_a_dead_letter(cloud: CloudRig, gateway: Gateway) -> None:
    """A machine path that is none is kept with the reason, and nothing waits for it."""
    gateway.link.publish("forewarn/v1/pi-01/data/Riverside/x", encode_batch(make_batch(2)))
    wait_until(lambda: bool(cloud.dead_letters.list_newest()), "the dead letter")
    assert "is not site/area/line/machine" in cloud.dead_letters.list_newest()[0].reason


def test_a_repeat_is_receipted_again_and_not_stored_twice(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """A gateway that missed its receipt gets it again; the store sees the values once."""
    gateway.send(2)
    gateway.wait_stored(2)
    (before,) = list_accounts(cloud.engine)
    written, receipts = store.values_written, gateway.receipts
    for _ in range(3):
        gateway.send(2)
    wait_until(lambda: list_accounts(cloud.engine)[0].duplicates >= before.duplicates + 3, "counted")
    wait_until(lambda: gateway.receipts > receipts, "receipted again")
    assert store.values_written == written
    assert list_accounts(cloud.engine)[0].values_stored == before.values_stored


def test_nothing_is_receipted_before_the_store_has_it(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """While the store is away nothing is receipted or recorded; later everything is, without a new send."""
    store.away.set()
    for sequence in range(2, 602):
        gateway.send(sequence)
    wait_until(lambda: store.refusals >= 5, "the write is repeated")
    assert list(gateway.stored) == [(1, 1)]
    assert list_accounts(cloud.engine)[0].stored.total == 1
    assert cloud.counts("store_available") == 0
    store.away.clear()
    gateway.wait_stored(601)
    assert cloud.counts("store_available") == 1
    assert len({instant for _, _, instant in store.values}) == 2 * 601


def test_statuses_pass_while_the_store_is_away(cloud: CloudRig, gateway: Gateway, store: MemoryStore) -> None:
    """What a gateway says of itself is seen although no batch can be stored."""
    store.away.set()
    gateway.send(2)
    wait_until(lambda: store.refusals > 0, "the store is missed")
    gateway.say_status(sequence_last=2, values_total=2, waiting=[(2, 2)], waiting_values=1)
    wait_until(lambda: bool(Gateways(cloud.engine).list()), "the status is there")
    assert list_accounts(cloud.engine)[0].missing().total == 0
    store.away.clear()
    gateway.wait_stored(2)


def test_a_batch_that_nobody_has_is_missing(cloud: CloudRig, gateway: Gateway) -> None:
    """What the gateway produced and neither side has is named."""
    gateway.send(4)
    gateway.wait_stored(2)
    gateway.say_status(sequence_last=5, values_total=5, waiting=[(5, 5)], waiting_values=1)
    wait_until(lambda: list_accounts(cloud.engine)[0].sequence_last == 5, "the status is in the ledger")
    assert list(list_accounts(cloud.engine)[0].missing()) == [(2, 3)]


def test_a_killed_broker_loses_nothing(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore, mosquitto: Mosquitto
) -> None:
    """Batches of before the kill are sent again by the gateway, recognised, and receipted once more."""
    for sequence in range(2, 50):
        gateway.send(sequence)
    gateway.wait_stored(49)
    mosquitto.kill()
    wait_until(lambda: cloud.counts("broker_connected") == 0, "the loss is noticed")
    mosquitto.start()
    wait_until(gateway.link.is_connected, "the gateway is back")
    receipts = gateway.receipts

    def answered() -> bool:
        gateway.send(49)
        gateway.send(50)
        return 50 in gateway.stored

    wait_until(answered, "receipted by the new connection")
    assert gateway.receipts > receipts
    assert list(list_accounts(cloud.engine)[0].stored) == [(1, 50)]


def test_sinks_get_what_is_stored(mosquitto: Mosquitto, tmp_path: Path, store: MemoryStore) -> None:
    """The watcher is fed the stored blocks, and never a rejected one."""
    fed: list[Block] = []
    cloud = CloudRig(mosquitto.settings, tmp_path, store, [fed.extend])
    gateway = Gateway(mosquitto.settings)
    gateway.send(1, current=[1.0])
    gateway.send(2, poison=[1.0])
    gateway.send(3, current=[3.0])
    gateway.wait_stored(2)
    wait_until(lambda: bool(fed), "fed")
    cloud.stop()
    gateway.link.stop()
    assert {tag for block in fed for frame in block.frames for tag in frame.values} == {"current"}
    assert sum(len(frame.timestamps) for block in fed for frame in block.frames) == 2


def test_a_tag_may_have_any_name(cloud: CloudRig, gateway: Gateway, store: MemoryStore) -> None:
    """A tag named like a script is stored as it is."""
    name = "<script>alert(1)</script>"
    gateway.send(2, **{name: [1.5]})
    gateway.wait_stored(2)
    assert store.values[PUMP, name, START_NS + 2 * 10**9] == 1.5


def test_two_machines_of_one_drain_are_kept_apart(
    cloud: CloudRig, gateway: Gateway, store: MemoryStore
) -> None:
    """The topic says which machine a batch belongs to."""
    gateway.publish(encode_batch(make_batch(2, current=[2.0])), "riverside/hall-1/water/motor-3")
    gateway.publish(encode_batch(make_batch(3, current=[3.0])), str(PUMP))
    gateway.wait_stored(3)
    motor = MachinePath.parse("riverside/hall-1/water/motor-3")
    assert store.values[motor, "current", START_NS + 2 * 10**9] == 2.0
    assert store.values[PUMP, "current", START_NS + 3 * 10**9] == 3.0
    assert list_accounts(cloud.engine)[0].epoch == EPOCH
