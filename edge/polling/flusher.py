"""Takes to the disk, every flush, what the pollers collected, and hands it on to be published."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from edge.chores import Chores
from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Put
from edge.outbox.thread import OutboxThread
from edge.polling.clock_custody import ClockCustody
from edge.polling.collector import Collector
from edge.polling.progress import DISK, Progress
from models.telemetry import MachinePath
from models.words import say_duration

SAY_AGAIN_S = 60.0
HANG_S = 60.0
"""A flush that takes longer than this hangs; a slow SD card is busy for seconds, not for a minute."""
RATE_MEMORY_S = 60.0
PACE = 0.9
"""Flushes are at least this part of flush_s apart, so that a machine read every flush_s finds us waiting."""
REST_S = 1.0
SETTLE_S = 0.02
"""Machines that are read at the same time answer within so long: one flush takes them all."""

log = structlog.get_logger()


class Flusher:
    """Owns the pace of the outbox. While the disk fails, the collector keeps what it can, counted."""

    def __init__(
        self,
        collector: Collector,
        outbox: OutboxThread,
        flush_s: float,
        on_put: Callable[[Put], None],
        progress: Progress | None = None,
        chores: Chores | None = None,
    ) -> None:
        self.bytes_per_s = 0.0
        """How fast the outbox would fill if nothing were delivered, over the last minute or so."""
        self.trouble = ""
        """Why the disk takes nothing now; empty while it does."""
        self._progress = progress or Progress()
        self._chores = chores or Chores()
        self.clock = ClockCustody(collector.keeper, outbox, on_put)
        """Takes what waits for the clock to the disk, and on from there."""
        self._collector = collector
        self._outbox = outbox
        self._flush_s = flush_s
        self._on_put = on_put
        self._writing: asyncio.Future[None] | None = None
        self._flushed_at: float | None = None
        self._failing_since: float | None = None
        self._dropped_said = 0
        self._dropped_said_at = float("-inf")
        self._full_said_at = float("-inf")
        self._given_up = 0
        self._at_end = False

    async def begin(self, machines: Iterable[MachinePath]) -> None:
        """Learn how far the machines were acquired, and write down from when on the new ones are."""
        self._collector.gaps.load(await self._outbox.read_reached())
        fresh = self._collector.expect(machines)
        if fresh.reached:
            with suppress(OutboxUnavailable):  # the next flush does it
                await self._outbox.put([], fresh)

    async def finish(self) -> None:
        """Flush for the last time, open gaps too, and say what cannot be kept."""
        self._at_end = True
        await self.flush()
        if self._collector.values_pending:
            log.error(
                "values_lost",
                values=self._collector.values_pending,
                reason=self.trouble,
                mend="they were in memory only: let the disk take values before you stop the agent",
            )
        self.clock.tell_end()

    @property
    def values_dropped_total(self) -> int:
        """How many values memory had no room for, or a fault of ours cost."""
        return self._collector.values_dropped_total

    async def run(self) -> None:
        """Flush for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A disk that refuses is a turn all the same: a restart would only lose what memory keeps.
            self._progress.promise(DISK, loop.time(), 2 * self._flush_s + HANG_S)
            due = max(due + PACE * self._flush_s, loop.time())
            await self._collector.arrived.wait_until(due + self._choose_rest_s())
            if loop.time() < due:
                await self._collector.crowded.wait_until(due)
            else:
                # What comes after a silence has waited for nothing yet: it goes, and the pace begins there.
                if self._collector.expects_more:
                    await asyncio.sleep(min(SETTLE_S, self._flush_s))
                due = loop.time()
            if not self._collector.values_pending:
                due -= PACE * self._flush_s  # a flush without values delays nobody
            await self.flush()
            self._chores.come_by()

    def _choose_rest_s(self) -> float:
        """Return how long to wait for values before looking after gaps and what waits for the clock."""
        return self._flush_s if self._collector.keeper.is_doubtful else max(self._flush_s, REST_S)

    async def flush(self) -> None:
        """Put everything that was collected into the outbox, as one transaction."""
        if self._writing is not None and not self._writing.done():
            # A flush whose caller was cancelled goes on: nothing taken is forgotten.
            await asyncio.wait([self._writing])
        self._writing = asyncio.ensure_future(self._write())
        await asyncio.shield(self._writing)

    async def _write(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            if await self.clock.carry():
                self._say_working(now)
        except OutboxUnavailable as error:
            self._say_failing(now, str(error))
        taken, safe = self._collector.take(), False
        coverage = self._collector.take_coverage(with_frames=bool(taken), at_end=self._at_end)
        if taken or coverage is not None:
            try:
                put = await self._outbox.put(taken, coverage)
            except OutboxUnavailable as error:
                self._collector.give_back(taken)
                safe = True
                self._say_failing(now, str(error))
                await asyncio.sleep(min(1.0, self._flush_s))
            else:
                safe = True
                self._collector.settle()
                self._say_working(now)
                self._measure(now, put)
                self._on_put(put)
                self._say_full(now, put)
            finally:
                if not safe:  # a fault of ours, which the supervisor logs: count what it cost
                    self._collector.count_lost(taken)
        self._say_dropped(now)

    def _measure(self, now: float, put: Put) -> None:
        if self._flushed_at is not None and now > self._flushed_at:
            elapsed = now - self._flushed_at
            rate = sum(len(batch.payload) for batch in put.batches) / elapsed
            weight = min(1.0, elapsed / RATE_MEMORY_S) if self.bytes_per_s else 1.0
            self.bytes_per_s += weight * (rate - self.bytes_per_s)
        self._flushed_at = now

    def _say_failing(self, now: float, reason: str) -> None:
        self.trouble = reason
        if self._failing_since is None:
            self._failing_since = now
            log.error(
                "outbox_unwritable",
                reason=reason,
                keeping=f"keeping the last {self._collector.values_pending_max} values in memory",
            )

    def _say_working(self, now: float) -> None:
        self.trouble = ""
        if self._failing_since is not None:
            log.info("outbox_writable", after=say_duration(now - self._failing_since))
            self._failing_since = None

    def _say_full(self, now: float, put: Put) -> None:
        self._given_up += sum(gone.values for gone in put.dropped)
        if put.dropped and now - self._full_said_at >= SAY_AGAIN_S:
            given_up, self._given_up, self._full_said_at = self._given_up, 0, now
            log.error(
                "outbox_full",
                dropped_values=given_up,
                sequences=[(gone.first, gone.last) for gone in put.dropped],
                reason=put.dropped[0].reason,
                mend="the oldest go first: bring broker and cloud back, or raise what edge.yaml allows",
            )

    def _say_dropped(self, now: float) -> None:
        total = self._collector.values_dropped_total
        if total > self._dropped_said and now - self._dropped_said_at >= SAY_AGAIN_S:
            log.error(
                "values_dropped",
                values=total - self._dropped_said,
                values_total=total,
                reason=self.trouble or "more values came than the disk takes",
                mend="they are lost: mend the disk"
                if self.trouble
                else "read less often, or use a faster disk",
            )
            self._dropped_said, self._dropped_said_at = total, now
