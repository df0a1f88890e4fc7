"""Keeps one machine connected and reads it on time, whatever the other machines are at."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import structlog

from edge.drivers import Driver, ExplainsTags, NotConnected, TellsGaps, TellsSilence
from edge.garbage import GarbageSweep
from edge.polling.clock import CLAMP_S_MAX, Timeline
from edge.polling.collector import Collector
from edge.polling.gaps import Pace
from edge.polling.gate import GatedDriver, PollingStopped
from edge.polling.history import HISTORY_S_MAX, HistoryFiller
from edge.polling.machine_states import MachineStates
from edge.polling.progress import Progress
from edge.polling.tag_filter import TagFilter
from edge.polling.tag_news import say_tag_news
from models.backoff import Backoff
from models.telemetry import Frame, MachinePath, quality
from models.words import say_duration

BACK_OFF_S_MIN = 1.0
BACK_OFF_S_MAX = 10.0
CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S_MIN = 10.0
CLOSE_TIMEOUT_S = 5.0
GRACE_S = 30.0
"""How much later than it should a poller may turn before it counts as hanging."""

FAULT_S_MAX = 90.0
"""Longer than the supervisor waits before it begins a poller again that broke."""

SWEEP = GarbageSweep()
"""One for all pollers of the program."""

Result = TypeVar("Result")
log = structlog.get_logger()


class MachineSource(msgspec.Struct, frozen=True):
    """A machine, the driver that reaches it, and the rules of its tags where some have any.

    `history_s_max`: so much of a gap may be filled from what the machine remembers; 0 for nothing.
    """

    path: MachinePath
    driver: Driver
    filter: TagFilter | None = None
    pace: Pace = Pace()
    history_s_max: float = HISTORY_S_MAX


class Schedule:
    """When to poll: at start + n * interval, so delays never add up; what is over is not made up for."""

    def __init__(self, start_s: float, interval_s: float) -> None:
        self._start_s = start_s
        self._interval_s = interval_s
        self._cycle = 0

    def next(self, now_s: float) -> tuple[float, int]:
        """Return how long to wait for the next poll, and how many were missed since the last."""
        due = self._cycle + 1
        passed = int((now_s - self._start_s) / self._interval_s)
        missed = max(0, passed - due)
        self._cycle = due + missed
        return max(0.0, self._start_s + self._cycle * self._interval_s - now_s), missed


class Poller:
    """One task per machine: connect, read until the link is lost, say so once, back off, connect again."""

    def __init__(
        self,
        source: MachineSource,
        collector: Collector,
        states: MachineStates,
        progress: Progress | None = None,
    ) -> None:
        self._path = source.path
        self._driver = GatedDriver(source.driver, collector.gate)
        self._teller = source.driver if isinstance(source.driver, TellsGaps) else None
        self._explain = (
            source.driver.explain_tags if isinstance(source.driver, ExplainsTags) else dict[str, str]
        )
        self._listener = source.driver if isinstance(source.driver, TellsSilence) else None
        self._filler = HistoryFiller(source.path, source.driver, collector, source.history_s_max)
        self._filter = source.filter
        self._collector = collector
        self._states = states
        self._progress = progress or Progress()
        self._timeline = Timeline()
        self._clamped_said = 0
        self._set_back_said = 0
        self._bad_said: dict[str, int] = {}
        states.begin(source.path, time.time_ns())
        collector.begin(source.path, source.pace, comes_whole=source.driver.interval_s is not None)
        self._counters = states.counters[source.path]

    async def run(self) -> None:
        """Poll for ever."""
        backoff = Backoff(BACK_OFF_S_MIN, BACK_OFF_S_MAX)
        while True:
            self._promise(CONNECT_TIMEOUT_S + CLOSE_TIMEOUT_S + BACK_OFF_S_MAX)
            try:
                await self._limited(self._driver.connect(), CONNECT_TIMEOUT_S, "connecting")
                backoff.reset()
                self._say_connected()
                async with self._filler.running():
                    await self._read_on()
            except NotConnected as error:
                self._take_gaps()
                stopped = isinstance(error, PollingStopped)
                self._collector.lose(
                    self._path, "polling_stopped" if stopped else "connection_lost", str(error)
                )
                self._say_lost(str(error))
            finally:
                await self._close()
                SWEEP.sweep(time.monotonic())
            await asyncio.sleep(backoff.next_delay_s())

    def note_fault(self, error: str) -> None:
        """Put into the status that this poller broke on a fault of ours and will begin again."""
        self._promise(FAULT_S_MAX)
        reason = f"a fault in the program: {error}"
        self._collector.lose(self._path, "connection_lost", reason)
        self._states.lose(self._path, time.time_ns(), reason)

    def end(self) -> None:
        """Be forgotten: the machine is not read any more."""
        self._progress.forget(str(self._path))
        self._collector.end(self._path)
        self._states.forget(self._path)

    def _promise(self, within_s: float | None) -> None:
        """Say by when this loop will have turned again; None: not before the machine has news."""
        now_s = asyncio.get_running_loop().time()
        self._progress.promise(str(self._path), now_s, None if within_s is None else within_s + GRACE_S)

    async def _read_on(self) -> None:
        interval_s = self._driver.interval_s
        if interval_s is None:
            self._promise(None)
            while True:
                self._keep(await self._driver.read())
                await asyncio.sleep(0)  # news without end must not keep the other machines waiting
        loop = asyncio.get_running_loop()
        schedule = Schedule(loop.time(), interval_s)
        timeout_s = max(READ_TIMEOUT_S_MIN, 2 * interval_s)
        while True:
            self._promise(timeout_s + interval_s)
            self._keep(await self._limited(self._driver.read(), timeout_s, "a read"))
            wait_s, missed = schedule.next(loop.time())
            if missed:
                self._states.miss(self._path, missed)
                self._collector.miss(self._path, missed, interval_s)
            await asyncio.sleep(wait_s)

    def _keep(self, frames: list[Frame]) -> None:
        now_ns = time.time_ns()
        admitted = [kept for frame in frames for kept in self._timeline.admit(frame, now_ns)]
        seen_ns = 0
        if self._filter is not None:
            seen_ns = max((frame.timestamps[-1] for frame in admitted), default=0)
            admitted = self._filter.apply(admitted)
            say_tag_news(self._path, self._filter.take_news())
        self._count(frames)
        self._take_gaps()
        self._collector.add(self._path, admitted, seen_ns, self._measure_silence())
        self._filler.look()
        self._states.observe(self._path, frames, self._explain)
        self._say_bad_tags()
        self._say_backwards()

    def _measure_silence(self) -> float:
        """Return how old the machine's last sign of life is: only with one, no news are good news."""
        if self._driver.interval_s is not None:
            return 0.0
        return float("inf") if self._listener is None else self._listener.read_silence_s()

    def _take_gaps(self) -> None:
        """Pass on what the driver itself knows to be missing."""
        if self._teller is not None:
            self._collector.gaps.add(self._path, self._teller.take_gaps())

    def _count(self, frames: list[Frame]) -> None:
        counted = self._counters
        counted.reads_total += 1
        counted.values_total += sum(len(frame.timestamps) * len(frame.values) for frame in frames)
        counted.repeats_total = self._timeline.repeats_total
        counted.clamped_total = self._timeline.clamped_total
        counted.set_back_total = self._timeline.set_back_total
        counted.gaps_total = self._collector.gaps.gaps_total.get(self._path, 0)
        counted.history_values_total = self._filler.values_total
        if self._filter is not None:
            counted.suppressed_total = self._filter.suppressed_total
            counted.implausible_total = self._filter.implausible_total

    async def _limited(self, call: Awaitable[Result], timeout_s: float, what: str) -> Result:
        try:
            # Not wait_for: Python 3.11's can swallow a cancellation, and the poller would never end.
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError as error:
            raise NotConnected(
                f"{what} took longer than {timeout_s:g} s: is the machine overloaded?"
            ) from error

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._driver.close()
        except TimeoutError:
            log.warning("close_timed_out", machine=str(self._path), after_s=CLOSE_TIMEOUT_S)

    def _say_connected(self) -> None:
        if self._filter is not None:
            self._filter.begin_again()
        now_ns = time.time_ns()
        self._collector.connect(self._path)
        before = self._states.get(self._path)
        self._states.connect(self._path, now_ns)
        if before.state == "lost":
            log.info(
                "link_back",
                machine=str(self._path),
                after=say_duration(max(0, now_ns - before.since) / 1e9),
            )
        else:
            log.info("machine_connected", machine=str(self._path))

    def _say_lost(self, reason: str) -> None:
        self._counters.losses_total += 1
        if self._states.lose(self._path, time.time_ns(), reason):
            log.warning("link_lost", machine=str(self._path), reason=reason)

    def _say_backwards(self) -> None:
        clamped, set_back = self._timeline.clamped_total, self._timeline.set_back_total
        if clamped and not self._clamped_said:
            log.warning(
                "clock_went_backwards",
                machine=str(self._path),
                reason="values came with older timestamps than those before; they are kept just after those",
            )
        if set_back > self._set_back_said:
            log.warning(
                "clock_set_back",
                machine=str(self._path),
                tags=set_back - self._set_back_said,
                reason=f"the values before were stamped more than {say_duration(CLAMP_S_MAX)} in the future",
                keeping="these stay where they are; values carry their true time from now on, before those",
            )
        self._clamped_said, self._set_back_said = clamped, set_back

    def _say_bad_tags(self) -> None:
        state = self._states.get(self._path)
        bad, reasons = state.bad_tags, state.bad_reasons
        if bad == self._bad_said:
            return
        for tag in bad.keys() - self._bad_said.keys():
            why = {"reason": reasons[tag]} if tag in reasons else {}
            log.warning(
                "tag_bad", machine=str(self._path), tag=tag, quality=quality.describe(bad[tag]), **why
            )
        for tag in self._bad_said.keys() - bad.keys():
            log.info("tag_good", machine=str(self._path), tag=tag)
        self._bad_said = dict(bad)
