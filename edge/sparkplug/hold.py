"""Keeps batches in memory for Sparkplug's hosts while Forewarn's own cloud has custody of them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from edge.outbox.outbox import StoredBatch
from models.errors import ForewarnError
from models.telemetry import Frame, count_values

Ranges = Sequence[tuple[int, int]]


class BatchUnreadable(ForewarnError):
    """The batch is not what was written: leave it where it is and go on."""


class _Content(msgspec.Struct):
    """What of a batch goes to Sparkplug's hosts."""

    frames: list[Frame]


_decoder = msgspec.json.Decoder(_Content)


def read_frames(batch: StoredBatch) -> list[Frame]:
    """Return the frames of a batch that this gateway has written itself; raise `BatchUnreadable`.

    Shapes and names were checked before they were written: looking again would cost more than all else here.
    """
    try:
        return _decoder.decode(batch.payload).frames
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BatchUnreadable(str(error)) from error


class Keep(Protocol):
    """Where batches lie until they may be let go: the outbox itself, or a `MemoryHold`."""

    async def read(self, ranges: Ranges, count_max: int, bytes_max: int) -> tuple[list[StoredBatch], bool]:
        """See `Outbox.read`."""

    async def release(self, receipted: Ranges) -> int:
        """Let go of the batches in the ranges; return how many there were."""


class MemoryHold:
    """At most `hold_bytes_max` of payloads; the oldest go first, and every loss is counted."""

    def __init__(self, hold_bytes_max: int) -> None:
        self.hold_bytes_max = hold_bytes_max
        self.values_dropped_total = 0
        self._held: dict[int, StoredBatch] = {}
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """How many bytes of payloads are kept now."""
        return self._bytes

    def add(self, batch: StoredBatch) -> list[int]:
        """Keep a batch; return the sequences of those that had to go for it."""
        self._held[batch.sequence] = batch
        self._bytes += len(batch.payload)
        gone = []
        while self._bytes > self.hold_bytes_max and self._held:
            oldest = next(iter(self._held))
            self.values_dropped_total += count_values(read_frames(self._held[oldest]))
            self._remove(oldest)
            gone.append(oldest)
        return gone

    async def read(self, ranges: Ranges, count_max: int, bytes_max: int) -> tuple[list[StoredBatch], bool]:
        """Return the batches in `ranges`, in order, and whether those are all."""
        found: list[StoredBatch] = []
        size = 0
        for first, last in ranges:
            for sequence in range(first, last + 1):
                batch = self._held.get(sequence)
                if batch is None:
                    continue
                size += len(batch.payload)
                if found and (len(found) == count_max or size > bytes_max):
                    return found, False
                found.append(batch)
        return found, True

    async def release(self, receipted: Ranges) -> int:
        """Let go of the batches in the ranges; return how many there were."""
        before = len(self._held)
        for first, last in receipted:
            for sequence in range(first, last + 1):
                if sequence in self._held:
                    self._remove(sequence)
        return before - len(self._held)

    def _remove(self, sequence: int) -> None:
        self._bytes -= len(self._held.pop(sequence).payload)
