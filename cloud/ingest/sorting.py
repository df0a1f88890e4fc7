"""Sorts what came in: batches to store, repeats of what is settled, poison. Pure: no clock, no database."""

from collections.abc import Callable, Collection, Sequence

import msgspec

from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import Key, Settled
from models.telemetry import (
    Batch,
    BatchRejected,
    BatchTopic,
    MachinePath,
    StatusTopic,
    TopicRejected,
    count_values,
    decode_batch,
)

TopicReader = Callable[[str], BatchTopic | StatusTopic | TopicRejected]
Lookup = Callable[[Key, int], Settled | None]


class Accepted(msgspec.Struct, frozen=True):
    """A batch that is fit to be stored. The topic says whose it is; the payload agreed."""

    delivery: Delivery
    key: Key
    sequence: int
    machine: MachinePath
    batch: Batch
    values: int


class Duplicate(msgspec.Struct, frozen=True):
    """A batch that came again; `settled` says what became of it the first time."""

    key: Key
    sequence: int
    settled: Settled


class Poison(msgspec.Struct, frozen=True):
    """A message that can never be stored; `key` and `sequence` when it says whose it is.

    `excerpt`: it is a part of a batch whose rest is stored.
    """

    delivery: Delivery
    reason: str
    gateway: str | None = None
    key: Key | None = None
    sequence: int = 0
    values: int = 0
    excerpt: bool = False


class Sorted(msgspec.Struct, frozen=True):
    """Everything of one drain, each message in exactly one list."""

    accepted: list[Accepted]
    duplicates: list[Duplicate]
    poison: list[Poison]


class _Header(msgspec.Struct, frozen=True):
    """What a receipt needs; read from payloads that are otherwise refused."""

    epoch: str
    sequence: int


_header_decoder = msgspec.json.Decoder(_Header)


def sort_deliveries(deliveries: Sequence[Delivery], read_topic: TopicReader, look_up: Lookup) -> Sorted:
    """Return `deliveries` sorted; a batch that comes twice among them is accepted once."""
    found = Sorted([], [], [])
    seen: set[tuple[Key, int]] = set()
    for delivery in deliveries:
        one = sort_delivery(delivery, read_topic)
        settled = _find_settled(one, look_up, seen)
        if settled is not None and one.key is not None:
            found.duplicates.append(Duplicate(one.key, one.sequence, settled))
        elif isinstance(one, Accepted):
            seen.add((one.key, one.sequence))
            found.accepted.append(one)
        else:
            found.poison.append(one)
    return found


def _find_settled(
    one: Accepted | Poison, look_up: Lookup, seen: Collection[tuple[Key, int]]
) -> Settled | None:
    """Return what became of the same batch before; `seen` are those of this drain.

    A good batch is settled by being stored only: poison may have claimed its number.
    """
    if one.key is None:
        return None
    settled = look_up(one.key, one.sequence)
    if isinstance(one, Poison):
        return settled
    return "stored" if settled == "stored" or (one.key, one.sequence) in seen else None


def sort_delivery(delivery: Delivery, read_topic: TopicReader) -> Accepted | Poison:
    """Decode one message and check that its payload agrees with its topic."""
    topic = read_topic(delivery.message.topic)
    if isinstance(topic, TopicRejected):
        return Poison(delivery, str(topic))
    assert isinstance(topic, BatchTopic)  # the ingester takes statuses out before
    try:
        batch = decode_batch(delivery.message.payload)
    except BatchRejected as error:
        return _bury(delivery, topic.gateway, str(error))
    if batch.gateway != topic.gateway:
        return _bury(
            delivery,
            topic.gateway,
            f"the payload says gateway {batch.gateway!r} on the topic of {topic.gateway!r}: "
            "give the gateway one name in its settings and at the broker",
        )
    key = (topic.gateway, batch.epoch)
    values = count_values(batch.frames)
    return Accepted(delivery, key, batch.sequence, topic.machine, batch, values)


def _bury(delivery: Delivery, gateway: str, reason: str) -> Poison:
    """Return the poison, with the (epoch, sequence) to receipt when the payload gives them.

    The receipt goes to the topic's gateway, which sent it, whatever name the payload claims.
    """
    try:
        header = _header_decoder.decode(delivery.message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Poison(delivery, reason, gateway)
    fits = header.epoch.isascii() and header.epoch.isalnum() and len(header.epoch) <= 64
    if not fits or not 1 <= header.sequence <= 2**53:
        return Poison(delivery, reason, gateway)
    return Poison(delivery, reason, gateway, (gateway, header.epoch), header.sequence)
