"""Lets batches that the cloud has go from the outbox, many at once: each commit is a write to the disk."""

import asyncio
from collections.abc import Sequence

from edge.outbox.file import OutboxUnavailable
from edge.outbox.thread import OutboxThread
from edge.publishing.news import Outage
from models.telemetry import SequenceRanges
from models.telemetry.ranges import Range

PAUSE_S = 0.05
RETRY_S = 1.0
WAIT_S_MAX = 10.0
"""An SD card wears with every write: few receipts wait so long for more of them."""

COMPANY_S_MAX = 3.0
"""Then they go with the next put, if one comes within so long."""

AT_ONCE = 100


class Releasing:
    """Receipted ranges on their way out of the outbox. `review` is called now and then by whoever ticks.

    They go with a put where values flow (see `Receipted`), else by a write of their own.
    """

    def __init__(self, outbox: OutboxThread) -> None:
        self.outage = Outage("outbox_release_waits", "outbox_release_goes_on")
        self._outbox = outbox
        self._ranges = SequenceRanges()
        self._due = asyncio.Event()
        self._due_at = 0.0
        self._ripe_at: float | None = None
        outbox.receipted = self

    def add(self, receipted: list[Range]) -> None:
        """The cloud has these."""
        self._ranges.update(receipted)
        if self._ranges.total >= AT_ONCE:
            self._due.set()

    def review(self, now: float) -> None:
        """Let go of what has waited long enough, and at once of anything while the outbox is half full."""
        if not len(self._ranges):
            return
        crowded = 2 * self._outbox.waiting_bytes > self._outbox.bytes_max
        if crowded or (self._ripe_at is not None and now - self._ripe_at >= COMPANY_S_MAX):
            self._due.set()
        elif self._ripe_at is None and now >= self._due_at:
            self._ripe_at = now

    def take_ripe(self) -> list[Range]:
        """See `Receipted`."""
        if self._ripe_at is None:
            return []
        ranges, self._ranges = self._ranges, SequenceRanges()
        return list(ranges)

    def end(self, ranges: Sequence[Range], *, has_gone: bool) -> None:
        """See `Receipted`. Where a put fails, a write that only deletes may still succeed."""
        if has_gone:
            self._rest()
        else:
            self._ranges.update(ranges)
            self._due.set()

    async def run(self) -> None:
        """Let go for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._due.wait()
            await asyncio.sleep(PAUSE_S)  # receipts come in swarms
            self._due.clear()
            try:
                await self.release()
            except OutboxUnavailable as error:
                self.outage.begin(
                    loop.time(), str(error), keeping="what is delivered stays in the outbox meanwhile"
                )
                self._due.set()
                await asyncio.sleep(RETRY_S)
            else:
                self._rest()

    async def release(self) -> None:
        """Delete from the outbox what the cloud has; raise `OutboxUnavailable`, and keep it in mind."""
        ranges, self._ranges = self._ranges, SequenceRanges()
        if not len(ranges):
            return
        try:
            await self._outbox.release(list(ranges))
        except OutboxUnavailable:
            self._ranges.update(ranges)
            raise

    def _rest(self) -> None:
        """What comes next waits for company again."""
        now = asyncio.get_running_loop().time()
        self.outage.end(now)
        self._due_at, self._ripe_at = now + WAIT_S_MAX, None
