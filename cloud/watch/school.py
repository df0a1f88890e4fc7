"""Sees to it that machines without a model get one once they have said enough; a child does the work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from sqlalchemy import Engine

from cloud.ingest.gaps import list_gaps
from cloud.machines import CardBox
from cloud.stores import Block, StoredMachine, StoreReader, StoreUnavailable
from cloud.stores.shelf import StoreSettings
from cloud.transactions import RecordsUnavailable
from cloud.watch.apprentice import Answer, Errand, Errands
from cloud.watch.drift import Drift
from cloud.watch.drift_book import DriftBook, KeptDrift, make_drift_blocks
from cloud.watch.learning_book import LearningBook
from cloud.watch.lessons import Lesson
from cloud.watch.refit_book import KeptRefit, RefitBook, find_next_refit
from cloud.watch.versions import FreshStarts, read_card
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import BundleDamaged, BundleMissing, find_current
from models.anomaly.grid import NS_PER_S
from models.errors import ForewarnError

FIRST_LOOK_S = 10.0
LESSON_S_MAX = 3_600.0
POLL_S = 0.5
ERRANDS_MAX = 200
GAPS_MAX = 2_000

Wish = Literal["first", "refit", "drift"]

log = structlog.get_logger()


class LessonsFailed(ForewarnError):
    """The child ended without an answer: look again later. The message is its last words."""


LATER = (StoreUnavailable, RecordsUnavailable, LessonsFailed, BundleMissing, BundleDamaged)
"""After these the next look may find all well; a bundle may change while it is looked at."""


class School:
    """Looks every `check_s` seconds at machines without a model, in a program of its own."""

    def __init__(
        self,
        store: StoreSettings,
        bundles: Path,
        engine: Engine,
        settings: WatchSettings,
        *,
        cards: CardBox | None = None,
        show_drift: Callable[[str, Drift], None] = lambda _machine, _drift: None,
        store_drift: Callable[[Sequence[Block]], object] = lambda _blocks: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._show_drift = show_drift
        self._store_drift = store_drift
        self._cards = cards or CardBox()
        self._store = store
        self._bundles = bundles
        self._engine = engine
        self._settings = settings
        self._clock_ns = clock_ns
        self._book = LearningBook(engine)
        self._refits = RefitBook(engine)
        self._drifts = DriftBook(engine)
        self._turn = 0
        self._failing = False

    def run(self, stop: threading.Event) -> None:
        """Look now and then until `stop`."""
        self._show_known_drift()
        pause_s = min(FIRST_LOOK_S, self._settings.learning.check_s)
        while not stop.wait(pause_s):
            try:
                self.look(stop)
                self._failing = False
            except LATER as error:
                if not self._failing:
                    self._failing = True
                    log.warning("learning_waits", reason=str(error))
            pause_s = self._settings.learning.check_s

    def _show_known_drift(self) -> None:
        try:
            known = self._drifts.list()
        except RecordsUnavailable:
            return  # the first look says so
        for machine, kept in known.items():
            self._show_drift(machine, kept.drift)

    def look(self, stop: threading.Event) -> list[Lesson]:
        """Have a bounded number of machines without a model looked at; keep and return their lessons."""
        reader = self._store.build_reader()
        try:
            errands = self._find_errands(reader)
        finally:
            reader.close()
        if not errands:
            return []
        answers = self._ask_child(errands, stop)
        lessons = [answer.lesson for answer in answers]
        self._book.put(lessons, self._clock_ns())
        refits = {answer.lesson.machine: answer.refit for answer in answers if answer.refit is not None}
        self._refits.put(refits, self._clock_ns())
        drifts = {answer.lesson.machine: answer.drift for answer in answers if answer.drift is not None}
        self._drifts.put(drifts, self._clock_ns())
        if blocks := make_drift_blocks(drifts, self._clock_ns()):
            self._store_drift(blocks)
        for machine, drift in drifts.items():
            self._show_drift(machine, drift)
        for machine, refit in refits.items():
            log.info(
                "machine_refitted" if refit.is_promoted else "challenger_lost",
                machine=machine,
                why=refit.words,
            )
        for lesson in lessons:
            if lesson.is_enough and not lesson.trouble and lesson.machine not in {*refits, *drifts}:
                log.info("machine_learned", machine=lesson.machine, values=lesson.describe())
        return lessons

    def _find_errands(self, reader: StoreReader) -> list[Errand]:
        kept, drifts, fresh = self._refits.list(), self._drifts.list(), FreshStarts(self._engine).list()
        due = [
            (known, wish)
            for known in reader.list_machines()
            if (wish := self._find_wish(known, kept.get(str(known.machine)), drifts.get(str(known.machine))))
        ]
        # Turn by turn, so that of very many none is left out for ever.
        first = self._turn % len(due) if due else 0
        self._turn = first + ERRANDS_MAX if len(due) > ERRANDS_MAX else 0
        chosen = [*due[first:], *due[:first]][:ERRANDS_MAX]
        return [
            self._make_errand(known, wish, max(known.first_ns, fresh.get(str(known.machine), 0)))
            for known, wish in chosen
        ]

    def _make_errand(self, known: StoredMachine, wish: Wish, since_ns: int) -> Errand:
        found = list_gaps(self._engine, machine=known.machine, from_ns=since_ns, count_max=GAPS_MAX)
        events = self._refits.list_events(known.machine, since_ns) if wish == "refit" else None
        newest_ns = min(known.last_ns, self._clock_ns())
        card = read_card(find_current(self._bundles, known.machine)) if wish == "drift" else None
        units = self._cards.list_units(known.machine)
        return Errand(
            str(known.machine), since_ns, newest_ns, [one.gap for one in found], events, card, units
        )

    def _find_wish(
        self, known: StoredMachine, kept: KeptRefit | None, drift: KeptDrift | None
    ) -> Wish | None:
        """Return what a machine needs: a first model, a newer one, or nothing now."""
        try:
            current = find_current(self._bundles, known.machine)
        except BundleMissing:
            return "first"
        except BundleDamaged:
            return None  # a person is told so; a new model must not hide it
        card, wishes, now_ns = read_card(current), self._settings.learning, self._clock_ns()
        if card is None:
            return None
        refit_ns = find_next_refit(card, kept, wishes)
        if refit_ns is not None and now_ns >= refit_ns:
            return "refit"
        stale = drift is None or now_ns - drift.at_ns >= wishes.drift_hours * 3_600 * NS_PER_S
        return (
            "drift" if stale and now_ns - card.trained_ns >= wishes.drift_hours * 3_600 * NS_PER_S else None
        )

    def _ask_child(self, errands: list[Errand], stop: threading.Event) -> list[Answer]:
        question = msgspec.json.encode(
            Errands(
                self._store.model_dump(mode="json"),
                self._settings.model_dump(mode="json"),
                str(self._bundles),
                errands,
            )
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "cloud.watch.apprentice"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        return read_lessons(child, question, stop)


def read_lessons(child: "subprocess.Popen[bytes]", question: bytes, stop: threading.Event) -> list[Answer]:
    """Return the child's answers; it is ended by `stop` or after an hour. Raises `LessonsFailed`."""
    deadline_s = time.monotonic() + LESSON_S_MAX
    asked: bytes | None = question
    while True:
        try:
            out, errors = child.communicate(asked, timeout=POLL_S)
            break
        except subprocess.TimeoutExpired:
            asked = None
            if stop.is_set() or time.monotonic() > deadline_s:
                child.kill()
                child.communicate()
                if stop.is_set():
                    return []
                raise LessonsFailed("learning took more than an hour and was ended: fewer hours?") from None
    answers = [msgspec.json.decode(line, type=Answer) for line in out.splitlines()]
    if child.returncode != 0 and not answers:
        words = errors.decode("utf-8", "replace").strip().splitlines()
        raise LessonsFailed(
            f"the child that learns ended with {child.returncode}: {(words or ['no word'])[-1]}"
        )
    return answers
