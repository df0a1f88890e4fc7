"""The watcher: takes what was stored, judges every machine's new rows, and tells the alert book."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Engine

from cloud.ingest.gaps import StoredGap, list_gaps
from cloud.stores import Block, StoreReader, StoreUnavailable, StoreWriter
from cloud.transactions import RecordsUnavailable
from cloud.watch.bundle_desk import BundleDesk
from cloud.watch.history import HistoryDesk
from cloud.watch.learning_book import LearningBook
from cloud.watch.past import Past
from cloud.watch.progress import Progress
from cloud.watch.rounds import judge_due
from cloud.watch.scores import STORE_AWAY, ScoreQueue
from cloud.watch.telling import Book, TellingDesk
from cloud.watch.watched import WatchedMachine
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Bundle
from models.anomaly.detectors import Detector
from models.anomaly.grid import NS_PER_S, step_ns
from models.anomaly.together import Seating
from models.telemetry import Gap, MachinePath

TURN_S = 0.2
WRITE_EVERY_S = 1.0
GAPS_A_TURN_MAX = 2_000
FUTURE_NS_MAX = 24 * 3600 * NS_PER_S
"""A clock that is further ahead is broken: one such value would make all right ones look late."""

log = structlog.get_logger()


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
        self._scores = ScoreQueue(writer)
        self._engine = engine
        self._desk = TellingDesk(book, engine)
        self._bundle_desk = BundleDesk(bundles, settings, self._desk.note_model)
        self._lessons = LearningBook(engine)
        self._history = HistoryDesk(reader, engine, settings.history_after_s, clock_ns)
        self._settings = settings
        self._clock_ns = clock_ns
        self._machines: dict[MachinePath, WatchedMachine] = {}
        self._sought: set[MachinePath] = set()
        self._seated: list[Detector] = []
        self._seating = Seating()
        self._reached: dict[MachinePath, Progress] | None = None
        self._arrived_s: dict[MachinePath, float] = {}
        self._silent: set[MachinePath] = set()
        self._wake = threading.Condition()
        self._queue: deque[Block] = deque()
        self._behind: set[MachinePath] = set()
        self._checked_s = self._written_s = 0.0
        self.dropped_blocks_total = 0
        self.late_values_total = 0

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
        self._scores.write()
        self._desk.keep(self._reached_now())

    def turn(self, now_s: float) -> None:
        """Take what is queued, judge what is due, and say so; `now_s` is a monotonic clock's."""
        with self._wake:
            blocks, behind = list(self._queue), set(self._behind)
            self._queue.clear()
            self._behind.clear()
        for block in blocks:
            self._take(block, now_s)
        self._catch_up(behind)
        self._note_gaps({block.machine for block in blocks})
        self._judge(now_s)
        self._desk.tell()
        self._judge_history(now_s)
        if now_s - self._checked_s >= self._settings.bundle_check_s:
            self._checked_s = now_s
            for machine in self._machines.values():
                self._check_bundle(machine)
            self._recall_lessons()
        if now_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = now_s
            self._find_silent(now_s)
            self._scores.write()
            self._desk.keep(self._reached_now())

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
                machine.newest_ns = max(machine.newest_ns, min(known.last_ns, now_ns))
                self._arrived_s[known.machine] = now_s - (now_ns - machine.newest_ns) / NS_PER_S

    def _meet(self, path: MachinePath) -> WatchedMachine:
        machine = WatchedMachine(path, round(self._settings.lateness_s * NS_PER_S))
        self._machines[path] = machine
        if self._reached is None:
            self._reached = self._desk.recall()
        if path in self._reached:
            machine.resume(self._reached[path], self._reached[path].judged_ns)
        return machine

    def _take(self, block: Block, now_s: float) -> None:
        horizon_ns = self._clock_ns() + FUTURE_NS_MAX
        frames = [frame for frame in block.frames if frame.timestamps[-1] <= horizon_ns]
        if not frames:
            return
        machine = self._machines.get(block.machine) or self._meet(block.machine)
        if block.machine not in self._sought:
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
        self._sought.add(machine.machine)
        bundle = self._bundle_desk.find_new(machine)
        if bundle is None:
            return
        until_ns = until_ns or machine.newest_ns + 1
        machine.expect(until_ns)
        self._warm_up(machine, bundle, self._clock_ns() + FUTURE_NS_MAX if machine.has_begun else until_ns)
        provisional = bundle.card.limit.provisional
        name = self._bundle_desk.name_in_charge(machine.machine)
        log.info("bundle_in_charge", machine=str(machine.machine), bundle=name, provisional=provisional)

    def _warm_up(self, machine: WatchedMachine, bundle: Bundle, until_ns: int) -> None:
        """Let `bundle` take charge, its windows filled from the store up to `until_ns`."""
        machine.take_charge(bundle)
        past = Past(self._reader, machine.machine, bundle.card.columns, step_ns(bundle.card.grid_s))
        try:
            gaps = self._list_gaps(machine.window_begin_ns, machine.machine)
            machine.note_gaps([one.gap for one in gaps])
            machine.warm_up(past, until_ns)
        except StoreUnavailable:
            log.warning("watching_without_past", machine=str(machine.machine), reason=STORE_AWAY)

    def _catch_up(self, behind: set[MachinePath]) -> None:
        """Read back from the store what the queue had no room for."""
        for path in behind:
            machine = self._machines.get(path) or self._meet(path)
            log.warning("watcher_behind", machine=str(path), dropped_blocks=self.dropped_blocks_total)
            self._check_bundle(machine)
            if machine.bundle is not None:
                self._warm_up(machine, machine.bundle, self._clock_ns() + FUTURE_NS_MAX)

    def _list_gaps(self, from_ns: int, machine: MachinePath | None = None) -> list[StoredGap]:
        try:
            return list_gaps(self._engine, machine=machine, from_ns=from_ns, count_max=GAPS_A_TURN_MAX)
        except RecordsUnavailable as error:
            self._desk.say_records_away(error)
            return []

    def _note_gaps(self, fed: set[MachinePath]) -> None:
        """Tell machines what was not acquired of them; it is recorded before its batch gets here."""
        watched = {str(path): self._machines[path] for path in fed if path in self._machines}
        begins = [machine.window_begin_ns for machine in watched.values() if machine.bundle is not None]
        if not begins:
            return
        by_machine: dict[str, list[Gap]] = {}
        for one in self._list_gaps(min(begins)):
            by_machine.setdefault(one.machine, []).append(one.gap)
        for path in by_machine.keys() & watched.keys():
            watched[path].note_gaps(by_machine[path])

    def _recall_lessons(self) -> None:
        """Know how far the machines without a bundle have come."""
        ignorant = [machine for machine in self._machines.values() if machine.bundle is None]
        if not ignorant:
            return
        try:
            lessons = self._lessons.list()
        except RecordsUnavailable as error:
            self._desk.say_records_away(error)
            return
        for machine in ignorant:
            lesson = lessons.get(machine.machine)
            machine.lesson = "" if lesson is None else f"learning: {lesson.describe()}"

    def _judge_history(self, now_s: float) -> None:
        """Judge a piece of what came late, when there is time for it, and tell of all of it at once."""
        try:
            self._scores.put(self._history.judge_piece(self._machines, now_s))
            digest = self._history.make_digest()
            if digest is not None:
                self._history.tell(digest)
        except StoreUnavailable:
            return
        except RecordsUnavailable as error:
            self._desk.say_records_away(error)

    def _judge(self, now_s: float) -> None:
        for machine in self._machines.values():
            if machine.bundle is None and machine.has_begun:
                self._desk.note(machine.say_learning())
        watched = [machine for machine in self._machines.values() if machine.bundle is not None]
        for _, seen, blocks in judge_due(watched, self._seat(watched)):
            self._desk.put(seen)
            self._scores.put(blocks)
        for machine in watched:
            late = machine.take_late()
            if late is not None:
                self._history.note(machine.machine, late, now_s)

    def _seat(self, watched: Sequence[WatchedMachine]) -> Seating:
        """Return where the machines' detectors have their places; arranged anew when one has changed."""
        detectors = [machine.bundle.detector for machine in watched if machine.bundle is not None]
        if detectors != self._seated:
            self._seated, self._seating = detectors, Seating(detectors)
        return self._seating

    def _find_silent(self, now_s: float) -> None:
        for path, arrived_s in self._arrived_s.items():
            if now_s - arrived_s < self._settings.silent_after_s:
                continue
            seen = self._machines[path].say_silent()
            self._desk.note(seen)
            if path not in self._silent:
                self._silent.add(path)
                self._desk.put([seen])
                log.warning("machine_silent", machine=str(path), reason=seen.reason)

    def _reached_now(self) -> dict[MachinePath, Progress]:
        """Return how far machines are judged, where all of it is stored."""
        if not self._scores.is_empty:
            return {}
        watched = self._machines.values()
        reached = {machine.machine: machine.progress for machine in watched if machine.bundle is not None}
        return {
            path: msgspec.structs.replace(one, late=self._history.find_late(path))
            for path, one in reached.items()
        }
