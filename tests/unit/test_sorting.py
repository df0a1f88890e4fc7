"""Sorting what came in: repeats, poison and good batches told apart, and no good one taken for settled."""

import time

from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import Key, Settled
from cloud.ingest.sorting import sort_deliveries
from models.link import LinkMessage
from models.telemetry import (
    Batch,
    BatchTopic,
    Frame,
    MachinePath,
    StatusTopic,
    TopicRejected,
    Topics,
    encode_batch,
)

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
TOPICS = Topics()
EPOCH = "ab12"


def read_topic(topic: str) -> BatchTopic | StatusTopic | TopicRejected:
    """Parse as the ingester does."""
    try:
        return TOPICS.parse(topic)
    except TopicRejected as error:
        return error


def make_delivery(payload: bytes, topic: str = TOPICS.batch("pi-01", PUMP)) -> Delivery:
    """Return a delivery of now."""
    return Delivery(LinkMessage(topic, payload, 1, 1), 1, time.monotonic())


def make_payload(sequence: int, gateway: str = "pi-01") -> bytes:
    """Return a good batch with one value."""
    return encode_batch(Batch(gateway, EPOCH, sequence, [Frame([1], {"current": [float(sequence)]})]))


def sort_with(settled: dict[int, Settled], *payloads: bytes) -> tuple[list[int], list[int], list[str]]:
    """Return the sequences accepted, the sequences settled before, and the reasons of the poison."""

    def look_up(key: Key, sequence: int) -> Settled | None:
        assert key == ("pi-01", EPOCH)
        return settled.get(sequence)

    found = sort_deliveries([make_delivery(payload) for payload in payloads], read_topic, look_up)
    return (
        [one.sequence for one in found.accepted],
        [one.sequence for one in found.duplicates],
        [one.reason for one in found.poison],
    )


def test_a_batch_that_is_stored_is_a_repeat() -> None:
    """It is receipted again and not written again; twice in one drain it is written once."""
    assert sort_with({1: "stored"}, make_payload(1), make_payload(2), make_payload(2)) == ([2], [1, 2], [])


def test_poison_comes_once() -> None:
    """A message that was buried before is not buried again."""
    bad = make_payload(3, gateway="pi-99")
    assert sort_with({3: "dead_lettered"}, bad) == ([], [3], [])
    (accepted, repeats, (reason,)) = sort_with({}, bad)
    assert (accepted, repeats) == ([], [])
    assert "payload says gateway 'pi-99' on the topic of 'pi-01'" in reason


def test_a_good_batch_is_stored_although_its_number_was_buried() -> None:
    """Poison that claims another batch's number cannot make that batch disappear."""
    assert sort_with({3: "dead_lettered"}, make_payload(3)) == ([3], [], [])
    accepted, repeats, reasons = sort_with({}, make_payload(3, gateway="pi-99"), make_payload(3))
    assert (accepted, repeats, len(reasons)) == ([3], [], 1)
