"""The outbox for the event loop: every SQLite call waits in one thread of its own, never in the loop."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from edge.outbox.clerk import Clerk
from edge.outbox.encoding import make_ready
from edge.outbox.file import Identity, OutboxAtCap
from edge.outbox.outbox import Outbox, OutboxTotals, Put, StoredBatch
from edge.outbox.settling import Settled, settle_held
from edge.outbox.stored import Coverage
from edge.polling.clock_keeper import Held, Lost
from edge.polling.gaps import count_frames
from edge.polling.gate import PollingGate
from edge.polling.packing import merge_frames
from models.telemetry import DroppedRange, Frame, MachinePath
from models.telemetry.ranges import Range

Result = TypeVar("Result")
Ranges = Sequence[Range]


AT_ONCE_VALUES_MAX = 5_000
"""So few are encoded in the loop, where the processor has them at hand; more would hold it up."""


class Receipted(Protocol):
    """What others answer for by now, and what may go with the next put rather than by a write of its own."""

    def take_ripe(self) -> list[Range]:
        """Return it, and forget it."""

    def end(self, ranges: Sequence[Range], *, has_gone: bool) -> None:
        """It has gone, or could not."""


class OutboxThread:
    """`Outbox`, awaited. The errors are the same. `gate` is closed while it takes nothing more."""

    def __init__(self, outbox: Outbox, gate: PollingGate | None = None) -> None:
        self._outbox = outbox
        self._gate = gate or PollingGate()
        self._clerk = Clerk("outbox")
        self.receipted: Receipted | None = None
        """Whoever knows what may go with a put."""

    @property
    def identity(self) -> Identity:
        """Whose outbox this is; known after `open`."""
        return self._outbox.identity

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of payloads lie here now."""
        return self._outbox.waiting_bytes

    @property
    def bytes_max(self) -> int:
        """How many bytes of payloads may lie here."""
        return self._outbox.bytes_max

    @property
    def moved_to(self) -> tuple[int, int]:
        """The last sequence and the bytes that wait: whoever sees the same again has missed nothing."""
        return self._outbox.sequence_last, self._outbox.waiting_bytes

    @property
    def dropped(self) -> list[DroppedRange]:
        """What was given up, ever."""
        return self._outbox.dropped

    async def open(self) -> None:
        """See `Outbox.open`."""
        await self._call(self._outbox.open)

    async def put(
        self, flush: Sequence[tuple[MachinePath, list[Frame]]], coverage: Coverage | None = None
    ) -> Put:
        """See `Outbox.put`; the frames of a machine are merged first."""
        values = sum(count_frames(frames) for _, frames in flush)
        at_once = _merge(flush) if values <= AT_ONCE_VALUES_MAX else None
        ready = [make_ready(frames) for _, frames in at_once or ()]

        def put() -> Put:
            merged = _merge(flush) if at_once is None else at_once
            return self._outbox.put(merged, time.time_ns(), coverage=coverage, ready=ready, receipted=ripe)

        ripe = self.receipted.take_ripe() if self.receipted is not None else []
        done: Put | None = None
        try:
            done = await self._call(put)
        except OutboxAtCap as error:
            self._gate.close(str(error))
            raise
        finally:
            if ripe and self.receipted is not None:
                self.receipted.end(ripe, has_gone=done is not None)
        self._gate.review(self.waiting_bytes, self.bytes_max)
        return done

    async def read_reached(self) -> dict[str, int]:
        """See `Outbox.read_reached`."""
        return await self._call(self._outbox.read_reached)

    async def read(self, ranges: Ranges, count_max: int, bytes_max: int) -> tuple[list[StoredBatch], bool]:
        """See `Outbox.read`."""
        return await self._call(lambda: self._outbox.read(ranges, count_max, bytes_max))

    @property
    def payload_bytes_max(self) -> int:
        """How large a payload may be."""
        return self._outbox.payload_bytes_max

    def limit_payloads(self, bytes_max: int) -> None:
        """From the next put on no payload is larger."""
        self._outbox.payload_bytes_max = bytes_max

    async def recut(self, sequence: int) -> Put:
        """See `Outbox.recut`."""
        return await self._call(lambda: self._outbox.recut(sequence, time.time_ns()))

    async def release(self, receipted: Ranges) -> int:
        """See `Outbox.release`."""
        count = await self._call(lambda: self._outbox.release(receipted))
        self._gate.review(self.waiting_bytes, self.bytes_max)
        return count

    async def totals(self) -> OutboxTotals:
        """See `Outbox.totals`."""
        if self._clerk.is_idle:
            return self._outbox.totals()
        return await self._call(self._outbox.totals)

    @property
    def holds_any(self) -> bool:
        """Whether anything waits here for the clock, or was lost while it did."""
        return self._outbox.held.holds_any

    @property
    def held_values(self) -> int:
        """How many values wait here for the clock."""
        return self._outbox.held.values

    async def hold(self, boot: str, held: Sequence[Held], lost: Sequence[Lost], seen_ns: int) -> int:
        """See `HeldTable.add`."""
        return await self._call(lambda: self._outbox.held.add(boot, held, lost, seen_ns))

    async def settle(self, boot: str, offset_ns: int, now_ns: int) -> Settled | None:
        """See `settle_held`."""
        return await self._call(lambda: settle_held(self._outbox, boot, offset_ns, now_ns))

    async def note_time(self, seen_ns: int) -> None:
        """See `HeldTable.note_time`."""
        await self._call(lambda: self._outbox.held.note_time(seen_ns))

    async def read_seen_ns(self) -> int:
        """See `HeldTable.read_seen_ns`."""
        return await self._call(self._outbox.held.read_seen_ns)

    async def close(self) -> None:
        """See `Outbox.close`; the thread ends."""
        await self._call(self._outbox.close)
        self._clerk.end()

    async def _call(self, statement: Callable[[], Result]) -> Result:
        return await self._clerk.ask(statement)


def _merge(flush: Sequence[tuple[MachinePath, list[Frame]]]) -> list[tuple[MachinePath, list[Frame]]]:
    return [(machine, merge_frames(frames)) for machine, frames in flush]
