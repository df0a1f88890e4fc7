"""The watcher: takes what was stored, judges every machine's new rows, and tells the alert book."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Engine

from cloud.stores import Block, StoreReader, StoreUnavailable, StoreWriter
from cloud.transactions import RecordsUnavailable
from cloud.watch.machine_states import MachineStates
from cloud.watch.observations import Observation
from cloud.watch.watched import WatchedMachine
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import BundleDamaged, BundleMissing, find_current, load_current
from models.anomaly.grid import NS_PER_S
from models.telemetry import MachinePath

TURN_S = 0.2
WRITE_EVERY_S = 1.0
UNWRITTEN_BLOCKS_MAX = 3_000
UNTOLD_MAX = 50_000
FUTURE_NS_MAX = 24 * 3600 * NS_PER_S
"""A clock that is further ahead is broken: one such value would make all right ones look late."""
STORE_AWAY = "the store does not answer: the event store_lost says why, and so does /healthz"
"""The ingester says the store's own words, once for the whole service."""

log = structlog.get_logger()


class Book(Protocol):
    """What the watcher tells its observations to."""

    def observe(self, observations: Sequence[Observation]) -> None:
        """Take observations, oldest first per machine; `RecordsUnavailable` asks for the same call again."""


class Watcher:
    """Judges machines in a thread of its own; `feed` hands it blocks from any other.

    What the queue cannot hold is dropped, counted, and read back from the store. `reader` is used by the
    watcher's thread only; `writer` may be shared when it says so.
    """

    def __init__(  # six parts, each of a type of its own
        self,
        reader: StoreReader,
        writer: StoreWriter,
        bundles: Path,
        book: Book,
        engine: Engine,
        settings: WatchSettings,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bundles = bundles
        self._book = book
        self._states = MachineStates(engine)
        self._settings = settings
        self._clock_ns = clock_ns
        self._machines: dict[MachinePath, WatchedMachine] = {}
        self._tried: dict[MachinePath, Path] = {}
        self._arrived_s: dict[MachinePath, float] = {}
        self._silent: set[MachinePath] = set()
        self._latest: dict[MachinePath, Observation] = {}
        self._unwritten: deque[Block] = deque(maxlen=UNWRITTEN_BLOCKS_MAX)
        self._untold: deque[Observation] = deque(maxlen=UNTOLD_MAX)
        self._store_away = self._records_away = False
        self._wake = threading.Condition()
        self._queue: deque[Block] = deque()
        self._behind: set[MachinePath] = set()
        self._checked_s = self._written_s = 0.0
        self.dropped_blocks_total = 0
        self.late_values_total = 0
        self.unwritten_blocks_total = 0
        self.untold_observations_total = 0

    def feed(self, blocks: Sequence[Block]) -> None:
        """Take blocks that the store has committed; returns at once."""
        with self._wake:
            for block in blocks:
                if block.measurement != "telemetry":
                    continue
                if len(self._queue) >= self._settings.queue_blocks_max:
                    self.dropped_blocks_total += 1
                    self._behind.add(block.machine)
                else:
                    self._queue.append(block)
            self._wake.notify()

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        self._meet_stored_machines()
        while not stop.is_set():
            with self._wake:
                if not self._queue:
                    self._wake.wait(TURN_S)
            self.turn(time.monotonic())
        self._write_scores()

    def turn(self, now_s: float) -> None:
        """Take what is queued, judge what is due, and say so; `now_s` is a monotonic clock's."""
        with self._wake:
            blocks, behind = list(self._queue), set(self._behind)
            self._queue.clear()
            self._behind.clear()
        for block in blocks:
            self._take(block, now_s)
        self._catch_up(behind)
        self._judge()
        self._tell()
        if now_s - self._checked_s >= self._settings.bundle_check_s:
            self._checked_s = now_s
            for machine in self._machines.values():
                self._check_bundle(machine)
        if now_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = now_s
            self._find_silent(now_s)
            self._write_scores()
            self._keep_states()

    def _meet_stored_machines(self) -> None:
        """Know the machines of before the start, so that one that never comes back is seen to be silent."""
        try:
            stored = self._reader.list_machines()
        except StoreUnavailable:
            log.warning("watcher_starts_without_store", reason=STORE_AWAY)
            return
        now_ns, now_s = self._clock_ns(), time.monotonic()
        for known in stored:
            if known.machine not in self._machines:
                machine = self._meet(known.machine)
                machine.newest_ns = min(known.last_ns, now_ns)
                self._arrived_s[known.machine] = now_s - (now_ns - machine.newest_ns) / NS_PER_S

    def _meet(self, path: MachinePath) -> WatchedMachine:
        machine = WatchedMachine(path, round(self._settings.lateness_s * NS_PER_S))
        self._machines[path] = machine
        return machine

    def _take(self, block: Block, now_s: float) -> None:
        horizon_ns = self._clock_ns() + FUTURE_NS_MAX
        frames = [frame for frame in block.frames if frame.timestamps[-1] <= horizon_ns]
        if not frames:
            return
        machine = self._machines.get(block.machine) or self._meet(block.machine)
        if not machine.has_begun:
            self._check_bundle(machine, min(frame.timestamps[0] for frame in frames))
        late_before = machine.late_total
        machine.put(frames)
        self.late_values_total += machine.late_total - late_before
        self._arrived_s[block.machine] = now_s
        if block.machine in self._silent:
            self._silent.discard(block.machine)
            log.info("machine_speaks_again", machine=str(block.machine))

    def _check_bundle(self, machine: WatchedMachine, until_ns: int | None = None) -> None:
        """Put the machine's current bundle in charge when it is new; a damaged one never takes charge."""
        try:
            folder = find_current(self._bundles, machine.machine)
            if self._tried.get(machine.machine) == folder:
                return
            self._tried[machine.machine] = folder
            bundle = load_current(self._bundles, machine.machine)
        except BundleMissing:
            return
        except BundleDamaged as error:
            if machine.trouble != str(error):
                machine.trouble = str(error)
                log.warning("bundle_refused", machine=str(machine.machine), reason=str(error))
            return
        machine.take_charge(bundle)
        self._warm_up(machine, until_ns or machine.newest_ns + 1)
        provisional = bundle.card.limit.provisional
        log.info(
            "bundle_in_charge", machine=str(machine.machine), bundle=folder.name, provisional=provisional
        )

    def _warm_up(self, machine: WatchedMachine, until_ns: int) -> None:
        """Fill the machine's windows from the store, up to `until_ns`."""
        try:
            start_ns = max(0, min(until_ns, machine.newest_ns or until_ns) - machine.reach_ns)
            table = self._reader.read("telemetry", machine.machine, start_ns, until_ns)
        except StoreUnavailable:
            log.warning("watching_without_past", machine=str(machine.machine), reason=STORE_AWAY)
            return
        machine.warm_up(table)

    def _catch_up(self, behind: set[MachinePath]) -> None:
        """Read back from the store what the queue had no room for."""
        for path in behind:
            machine = self._machines.get(path) or self._meet(path)
            log.warning("watcher_behind", machine=str(path), dropped_blocks=self.dropped_blocks_total)
            self._check_bundle(machine)
            self._warm_up(machine, self._clock_ns() + FUTURE_NS_MAX)

    def _judge(self) -> None:
        for machine in self._machines.values():
            if machine.bundle is None:
                if machine.has_begun:
                    self._latest[machine.machine] = machine.say_learning()
                continue
            seen, blocks = machine.observe()
            if seen:
                self._tell_later(seen)
                self._latest[machine.machine] = seen[-1]
                self._write_later(blocks)

    def _tell(self) -> None:
        """Tell the book; while the records are away observations wait, the oldest giving way."""
        if not self._untold:
            return
        try:
            self._book.observe(list(self._untold))
        except RecordsUnavailable as error:
            self._say_records_away(error)
            return
        self._untold.clear()

    def _keep_states(self) -> None:
        try:
            self._states.put(list(self._latest.values()))
        except RecordsUnavailable as error:
            self._say_records_away(error)
            return
        self._latest.clear()
        if self._records_away:
            self._records_away = False
            log.info("records_are_back", observations_lost=self.untold_observations_total)

    def _say_records_away(self, error: RecordsUnavailable) -> None:
        if not self._records_away:
            self._records_away = True
            log.warning("observations_wait_for_records", reason=str(error))

    def _find_silent(self, now_s: float) -> None:
        for path, arrived_s in self._arrived_s.items():
            if now_s - arrived_s < self._settings.silent_after_s:
                continue
            seen = self._machines[path].say_silent()
            self._latest[path] = seen
            if path not in self._silent:
                self._silent.add(path)
                self._tell_later([seen])
                log.warning("machine_silent", machine=str(path), reason=seen.reason)

    def _tell_later(self, observations: Sequence[Observation]) -> None:
        self.untold_observations_total += max(0, len(self._untold) + len(observations) - UNTOLD_MAX)
        self._untold.extend(observations)

    def _write_later(self, blocks: Sequence[Block]) -> None:
        self.unwritten_blocks_total += max(0, len(self._unwritten) + len(blocks) - UNWRITTEN_BLOCKS_MAX)
        self._unwritten.extend(blocks)

    def _write_scores(self) -> None:
        """Store scores; while the store is away they wait, the oldest giving way."""
        if not self._unwritten:
            return
        blocks = list(self._unwritten)
        try:
            rejected = self._writer.write(blocks)
        except StoreUnavailable:
            if not self._store_away:
                self._store_away = True
                log.warning("scores_wait_for_store", reason=STORE_AWAY)
            return
        if self._store_away:
            self._store_away = False
            log.info("scores_stored_again", blocks=len(blocks), lost=self.unwritten_blocks_total)
        for rejection in rejected:
            machine = str(blocks[rejection.index].machine)
            log.warning("score_rejected", machine=machine, reason=rejection.reason)
        self._unwritten.clear()
