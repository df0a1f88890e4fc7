"""Takes to the disk what waits for the clock, and from there into batches once the clock is right."""

import time
from collections.abc import Callable
from contextlib import suppress

from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Put
from edge.outbox.thread import OutboxThread
from edge.polling.clock import read_boot_id, read_clocks
from edge.polling.clock_keeper import ClockKeeper
from edge.polling.clock_news import ClockNews

NOTE_S = 60.0
"""How often the time is written down: no right clock ever shows less."""


class ClockCustody:
    """Between the keeper's memory and the outbox's file. `on_put` gets what became batches."""

    def __init__(
        self,
        keeper: ClockKeeper,
        outbox: OutboxThread,
        on_put: Callable[[Put], None],
        *,
        boot_id: str | None = None,
        clocks: Callable[[], tuple[int, int]] = read_clocks,
    ) -> None:
        self.dropped_total = 0
        """Values that had to go from the disk for newer ones."""
        self.unknown_total = 0
        """Values whose time nobody can tell any more."""
        self._keeper = keeper
        self._outbox = outbox
        self._on_put = on_put
        self._boot_id = boot_id or read_boot_id()
        self._read_clocks = clocks
        self._news = ClockNews()
        self._noted_at = float("-inf")

    @property
    def values_waiting(self) -> int:
        """How many values wait for the clock, in memory and on the disk."""
        return self._keeper.values_held + self._outbox.held_values

    async def carry(self) -> bool:
        """Do what is due, once per flush; return whether the disk took anything.

        Raises `OutboxUnavailable`; nothing is lost by it.
        """
        now_ns, boot_ns = self._read_clocks()
        if self._keeper.judge.look(now_ns, boot_ns):
            moved = await self._settle(now_ns - boot_ns, now_ns) or await self._note_time(now_ns)
        else:
            moved = await self._keep()
        self._news.tell(self._keeper, self.dropped_total)
        return moved

    def tell_end(self) -> None:
        """Say what becomes of what still waits."""
        self._news.tell_end(self._keeper, self._outbox.held_values)

    async def _keep(self) -> bool:
        held, lost = self._keeper.take_held()
        if not held and not lost:
            return False
        seen_ns = self._keeper.judge.floor_ns
        try:
            self.dropped_total += await self._outbox.hold(self._boot_id, held, lost, seen_ns)
        except OutboxUnavailable:
            self._keeper.give_back(held, lost)
            raise
        return True

    async def _settle(self, offset_ns: int, now_ns: int) -> bool:
        moved, restamped = False, 0
        while self._outbox.holds_any:
            settled = await self._outbox.settle(self._boot_id, offset_ns, now_ns)
            if settled is None:
                break
            moved = True
            restamped += settled.restamped
            self._on_put(settled.put)
            self._keeper.values_restamped_total += settled.restamped
            self.unknown_total += sum(one.count for one in settled.unknown)
            self._news.tell_unknown(settled.unknown)
        self._news.tell_restamped(restamped)
        return moved

    async def _note_time(self, now_ns: int) -> bool:
        if time.monotonic() - self._noted_at < NOTE_S:
            return False
        self._noted_at = time.monotonic()
        with suppress(OutboxUnavailable):  # it says so itself where it takes no values
            await self._outbox.note_time(now_ns)
        return False
