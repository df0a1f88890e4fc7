"""Fills gaps from what machines remember: in the background, page by page, beside the live values."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from edge.drivers import Driver, HasHistory, HistoryRefused, NotConnected
from edge.ending import end_tasks
from edge.polling.collector import Collector
from edge.polling.gaps import NS_PER_S, count_frames
from models.telemetry import Frame, Gap, MachinePath
from models.words import say_duration

HISTORY_S_MAX = 86_400.0
"""A machine is asked for the last so many seconds of a gap."""
FILLS_WAITING_MAX = 32
PAGE_S_MIN, PAGE_S_START, PAGE_S_MAX = 1.0, 60.0, 3600.0
PAGE_VALUES = 20_000
"""A page is made shorter when it brings more, and longer when it brings less."""
PAGE_TIMEOUT_S = 60.0
PAUSE_S = 0.05
"""Between two pages the live values have the machine to themselves."""

log = structlog.get_logger()


class _Fill(msgspec.Struct):
    """A gap to be filled, from where it is not filled yet."""

    gap: Gap
    first_ns: int
    filled: int = 0


class HistoryFiller:
    """Reads one machine's history for its gaps while `running`. Gaps that have to wait are few (the newest).

    What comes is late: it goes to the outbox as it is. A gap is recorded again once it is filled as far as
    can be, with how many values came back.
    """

    def __init__(self, machine: MachinePath, driver: Driver, collector: Collector, s_max: float) -> None:
        self.values_total = 0
        """How many values and readings without one came back."""
        self._machine = machine
        self._driver = driver if isinstance(driver, HasHistory) and s_max > 0 else None
        self._collector = collector
        self._ns_max = round(s_max * NS_PER_S)
        self._fills: deque[_Fill] = deque()
        self._filling: _Fill | None = None
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._page_s = PAGE_S_START
        self._refusal_said = False

    def look(self) -> None:
        """Take on the gaps that have just ended; raise what the filling died of."""
        ended = self._collector.gaps.take_ended(self._machine)
        if self._driver is None:
            return
        for gap in ended:
            self._fills.append(_Fill(gap, max(gap.first, gap.last - self._ns_max)))
            if len(self._fills) > FILLS_WAITING_MAX:
                self._leave(self._fills.popleft().gap)
        if ended:
            self._asked.set()
        if self._task is not None and self._task.done():
            self._task.result()

    def _leave(self, gap: Gap) -> None:
        log.warning(
            "history_left",
            machine=str(self._machine),
            span=say_duration((gap.last - gap.first) / NS_PER_S),
            reason=f"more than {FILLS_WAITING_MAX} gaps wait to be filled: the oldest stays as it is",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fill gaps for as long as the connection lasts."""
        if self._driver is None:
            yield
            return
        self._task = asyncio.create_task(self._run(self._driver), name=f"history {self._machine}")
        try:
            yield
        finally:
            task, self._task = self._task, None
            await end_tasks([task])

    async def _run(self, driver: HasHistory) -> None:
        try:
            while True:
                while self._filling is not None or self._fills:
                    self._filling = self._filling or self._fills.popleft()
                    await self._fill(driver, self._filling)
                    self._filling = None
                self._asked.clear()
                await self._asked.wait()
        except NotConnected:  # the poller hears it, too: what is left goes on with the next connection
            return
        except HistoryRefused as refusal:
            self._filling = None
            self._fills.clear()
            if not self._refusal_said:
                self._refusal_said = True
                log.info("history_refused", machine=str(self._machine), reason=str(refusal))

    async def _fill(self, driver: HasHistory, fill: _Fill) -> None:
        gap = fill.gap
        try:
            while fill.first_ns < gap.last - 1:
                await self._fill_page(driver, fill)
        except TimeoutError:
            log.warning(
                "history_given_up",
                machine=str(self._machine),
                reason=f"the machine took longer than {PAGE_TIMEOUT_S:g} s for a page of its history",
            )
        finally:
            if fill.filled:
                told = msgspec.structs.replace(gap, filled=fill.filled)
                self._collector.gaps.add(self._machine, [told])
        if fill.filled:
            span = say_duration((gap.last - gap.first) / NS_PER_S)
            log.info("gap_filled", machine=str(self._machine), values=fill.filled, span=span)

    async def _fill_page(self, driver: HasHistory, fill: _Fill) -> None:
        if self._collector.crowded.is_set():  # what is live goes first
            await asyncio.sleep(PAUSE_S)
            return
        # One nanosecond more than asked for: both ends are exclusive, and pages must leave nothing between.
        last_ns = min(fill.gap.last, fill.first_ns + round(self._page_s * NS_PER_S) + 1)
        async with asyncio.timeout(PAGE_TIMEOUT_S):
            frames = await driver.read_history(fill.first_ns, last_ns)
        kept = [part for frame in frames if (part := cut_frame(frame, fill.first_ns, last_ns)) is not None]
        count = count_frames(kept)
        self._collector.add_late(self._machine, kept)
        fill.filled += count
        fill.first_ns = last_ns - 1
        self.values_total += count
        if count > PAGE_VALUES:
            self._page_s = max(PAGE_S_MIN, self._page_s / 2)
        elif count < PAGE_VALUES / 4:
            self._page_s = min(PAGE_S_MAX, self._page_s * 2)
        await asyncio.sleep(PAUSE_S)


def cut_frame(frame: Frame, first_ns: int, last_ns: int) -> Frame | None:
    """Return the rows between the two instants, both exclusive; None where there are none."""
    times = frame.timestamps
    if times[0] > first_ns and times[-1] < last_ns:
        return frame
    rows = [row for row, time in enumerate(times) if first_ns < time < last_ns]
    if not rows:
        return None
    start, end = rows[0], rows[-1] + 1
    codes = {
        tag: {row - start: code for row, code in marks.items() if start <= row < end}
        for tag, marks in frame.quality.items()
    }
    values = {tag: column[start:end] for tag, column in frame.values.items()}
    return Frame(times[start:end], values, {tag: marks for tag, marks in codes.items() if marks})
