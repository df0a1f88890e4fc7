"""Brings batches into the store in few large blocks, and finds what of them it will never take."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from cloud.ingest.inbox import Delivery
from cloud.ingest.shares import Share, make_shares
from cloud.ingest.sorting import Accepted, Poison
from cloud.stores import Block, Rejection, slicing
from models.telemetry import Batch, Frame, count_values, decode_batch, encode_batch

Write = Callable[[Sequence[Block]], list[Rejection]]


class Excerpt(msgspec.Struct, frozen=True):
    """What of a batch stays out of the store while all its rest is stored: `payload` is a batch of its own.

    The ledger counts its values as dead-lettered and the others as stored.
    """

    source: Accepted
    payload: bytes
    values: int
    reason: str


class Stowed(msgspec.Struct, frozen=True):
    """What became of some batches: all of `stored` is durable but for its `excerpts`; `poison` never will be.

    `blocks` hold what was stored.
    """

    stored: list[Accepted] = []
    blocks: list[Block] = []
    poison: list[Poison] = []
    excerpts: list[Excerpt] = []


def stow_batches(accepted: Sequence[Accepted], write: Write) -> Stowed:
    """Write the batches merged. Where the store rejects readings, only these stay out; where it rejects a
    block, it is written again batch by batch, so that a bad batch takes no other with it.

    The frames of `accepted` are used up.
    """
    done = Stowed()
    # A batch that holds only gaps has nothing for the store: its place is the records.
    done.stored.extend(one for one in accepted if not one.batch.frames)
    filled = [one for one in accepted if one.batch.frames]
    suspects = _write_shares(make_shares(filled), write, done)
    lone = [pair for pair in suspects if len(pair[0].sources) == 1]
    crowd = [one for share, _ in suspects if len(share.sources) > 1 for one in share.sources]
    for share, reason in lone + _write_shares(_make_single_shares(crowd), write, done):
        done.poison.append(_make_poison(share.sources[0], reason))
    return done


def _write_shares(shares: Sequence[Share], write: Write, done: Stowed) -> list[tuple[Share, str]]:
    """Write `shares`, note in `done` what is stored, return what is rejected whole and why."""
    if not shares:
        return []
    rejections = {rejection.index: rejection for rejection in write([share.block for share in shares])}
    suspects: list[tuple[Share, str]] = []
    for index, share in enumerate(shares):
        rejection = rejections.get(index)
        if rejection is None:
            done.stored.extend(share.sources)
            done.blocks.append(share.block)
        elif not rejection.frames:
            suspects.append((share, rejection.reason))
        else:
            _part_share(share, rejection, done)
    return suspects


def _part_share(share: Share, rejection: Rejection, done: Stowed) -> None:
    """Note in `done` which readings of each batch the store refused, and that the others are stored."""
    refused = slicing.list_readings(rejection.frames)
    _, kept = slicing.part_readings(share.block.frames, refused)
    if kept:
        done.blocks.append(msgspec.structs.replace(share.block, frames=kept))
    for one in share.sources:
        batch = decode_batch(one.delivery.message.payload)  # anew, since merging has used the frames up
        outside, inside = slicing.part_readings(batch.frames, refused)
        reason = f"the store rejected it: {rejection.reason}"
        if not outside:
            done.stored.append(one)
        elif not inside and not batch.gaps:
            done.poison.append(_make_poison(one, rejection.reason))
        else:
            excerpt = make_excerpt(one, outside, reason)
            done.excerpts.append(excerpt)
            done.stored.append(msgspec.structs.replace(one, values=one.values - excerpt.values))


def make_excerpt(one: Accepted, frames: list[Frame], reason: str) -> Excerpt:
    """Return the excerpt of a batch that holds `frames`; its gaps stay with the batch."""
    batch = Batch(one.batch.gateway, one.batch.epoch, one.sequence, frames)
    return Excerpt(one, encode_batch(batch), count_values(frames), reason)


def deliver_excerpt(excerpt: Excerpt) -> Poison:
    """Return the excerpt as the poison that its dead letter is made of."""
    delivery = excerpt.source.delivery
    message = msgspec.structs.replace(delivery.message, payload=excerpt.payload)
    cut = Delivery(message, delivery.connection, delivery.arrived_s)
    return Poison(cut, excerpt.reason, excerpt.source.key[0], excerpt=True)


def _make_single_shares(sources: Iterable[Accepted]) -> list[Share]:
    """Return one share per batch, decoded anew, since merging has used the frames up."""
    fresh = [
        msgspec.structs.replace(one, batch=decode_batch(one.delivery.message.payload)) for one in sources
    ]
    return [share for one in fresh for share in make_shares([one])]


def _make_poison(one: Accepted, reason: str) -> Poison:
    words = f"the store rejected it: {reason}"
    return Poison(one.delivery, words, one.key[0], one.key, one.sequence, one.values)
