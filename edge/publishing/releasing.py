"""Lets batches that the cloud has go from the outbox, many at once: each commit is a write to the disk."""

import asyncio

from edge.outbox.file import OutboxUnavailable
from edge.outbox.thread import OutboxThread
from edge.publishing.news import Outage
from models.telemetry import SequenceRanges
from models.telemetry.ranges import Range

PAUSE_S = 0.05
RETRY_S = 1.0
WAIT_S_MAX = 10.0
"""An SD card wears with every write: few receipts wait so long for more of them."""
AT_ONCE = 100


class Releasing:
    """Receipted ranges on their way out of the outbox. `review` is called now and then by whoever ticks."""

    def __init__(self, outbox: OutboxThread) -> None:
        self.outage = Outage("outbox_release_waits", "outbox_release_goes_on")
        self._outbox = outbox
        self._ranges = SequenceRanges()
        self._due = asyncio.Event()
        self._due_at = 0.0

    def add(self, receipted: list[Range]) -> None:
        """The cloud has these."""
        self._ranges.update(receipted)
        if self._ranges.total >= AT_ONCE:
            self._due.set()

    def review(self, now: float) -> None:
        """Let go of what has waited long enough, and at once of anything while the outbox is half full."""
        crowded = 2 * self._outbox.waiting_bytes > self._outbox.bytes_max
        if len(self._ranges) and (crowded or now >= self._due_at):
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
                self.outage.end(loop.time())
                self._due_at = loop.time() + WAIT_S_MAX

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
