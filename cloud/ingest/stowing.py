"""Brings batches into the store in few large blocks, and finds the batches that it will never take."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from cloud.ingest.shares import Share, make_shares
from cloud.ingest.sorting import Accepted, Poison
from cloud.stores import Block, Rejection
from models.telemetry import decode_batch

Write = Callable[[Sequence[Block]], list[Rejection]]


class Stowed(msgspec.Struct, frozen=True):
    """What became of some batches: all of `stored` is durable, as `blocks`; `poison` never will be."""

    stored: list[Accepted] = []
    blocks: list[Block] = []
    poison: list[Poison] = []


def stow_batches(accepted: Sequence[Accepted], write: Write) -> Stowed:
    """Write the batches merged. What the store rejects is written again batch by batch, so that a bad batch
    takes no other with it. The frames of `accepted` are used up."""
    done = Stowed()
    suspects = _write_shares(make_shares(accepted), write, done)
    lone = [pair for pair in suspects if len(pair[0].sources) == 1]
    crowd = [one for share, _ in suspects if len(share.sources) > 1 for one in share.sources]
    for share, reason in lone + _write_shares(_make_single_shares(crowd), write, done):
        done.poison.append(_make_poison(share.sources[0], reason))
    return done


def _write_shares(shares: Sequence[Share], write: Write, done: Stowed) -> list[tuple[Share, str]]:
    """Write `shares`, note in `done` what is stored, return what is rejected and why."""
    if not shares:
        return []
    reasons = {rejection.index: rejection.reason for rejection in write([share.block for share in shares])}
    for index, share in enumerate(shares):
        if index not in reasons:
            done.stored.extend(share.sources)
            done.blocks.append(share.block)
    return [(shares[index], reason) for index, reason in reasons.items()]


def _make_single_shares(sources: Iterable[Accepted]) -> list[Share]:
    """Return one share per batch, decoded anew, since merging has used the frames up."""
    fresh = [
        msgspec.structs.replace(one, batch=decode_batch(one.delivery.message.payload)) for one in sources
    ]
    return [share for one in fresh for share in make_shares([one])]


def _make_poison(one: Accepted, reason: str) -> Poison:
    words = f"the store rejected it: {reason}"
    return Poison(one.delivery, words, one.key[0], one.key, one.sequence, one.values)
