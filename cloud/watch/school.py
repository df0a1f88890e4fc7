"""Sees to it that machines without a model get one once they have said enough; a child does the work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Engine

from cloud.ingest.gaps import list_gaps
from cloud.stores import StoredMachine, StoreReader, StoreUnavailable
from cloud.stores.shelf import StoreSettings
from cloud.transactions import RecordsUnavailable
from cloud.watch.apprentice import Errand, Errands
from cloud.watch.learning_book import LearningBook
from cloud.watch.lessons import Lesson
from cloud.watch.versions import FreshStarts
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import BundleDamaged, BundleMissing, find_current
from models.errors import ForewarnError

FIRST_LOOK_S = 10.0
LESSON_S_MAX = 3_600.0
POLL_S = 0.5
ERRANDS_MAX = 200
GAPS_MAX = 2_000

log = structlog.get_logger()


class LessonsFailed(ForewarnError):
    """The child ended without an answer: look again later. The message is its last words."""


class School:
    """Looks every `check_s` seconds at machines without a model, in a program of its own."""

    def __init__(
        self,
        store: StoreSettings,
        bundles: Path,
        engine: Engine,
        settings: WatchSettings,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._engine = engine
        self._settings = settings
        self._clock_ns = clock_ns
        self._book = LearningBook(engine)
        self._turn = 0
        self._failing = False

    def run(self, stop: threading.Event) -> None:
        """Look now and then until `stop`."""
        pause_s = min(FIRST_LOOK_S, self._settings.learning.check_s)
        while not stop.wait(pause_s):
            try:
                self.look(stop)
                self._failing = False
            except (StoreUnavailable, RecordsUnavailable, LessonsFailed) as error:
                if not self._failing:
                    self._failing = True
                    log.warning("learning_waits", reason=str(error))
            pause_s = self._settings.learning.check_s

    def look(self, stop: threading.Event) -> list[Lesson]:
        """Have a bounded number of machines without a model looked at; keep and return their lessons."""
        reader = self._store.build_reader()
        try:
            errands = self._find_errands(reader)
        finally:
            reader.close()
        if not errands:
            return []
        lessons = self._ask_child(errands, stop)
        self._book.put(lessons, self._clock_ns())
        for lesson in lessons:
            if lesson.is_enough and not lesson.trouble:
                log.info("machine_learned", machine=lesson.machine, values=lesson.describe())
        return lessons

    def _find_errands(self, reader: StoreReader) -> list[Errand]:
        ignorant = [known for known in reader.list_machines() if self._is_ignorant(known)]
        # Turn by turn, so that of very many none is left out for ever.
        first = self._turn % len(ignorant) if ignorant else 0
        self._turn = first + ERRANDS_MAX if len(ignorant) > ERRANDS_MAX else 0
        chosen = [*ignorant[first:], *ignorant[:first]][:ERRANDS_MAX]
        fresh = FreshStarts(self._engine).list()
        return [
            Errand(
                str(known.machine),
                max(known.first_ns, fresh.get(str(known.machine), 0)),
                min(known.last_ns, self._clock_ns()),
                [
                    one.gap
                    for one in list_gaps(
                        self._engine, machine=known.machine, from_ns=known.first_ns, count_max=GAPS_MAX
                    )
                ],
            )
            for known in chosen
        ]

    def _is_ignorant(self, known: StoredMachine) -> bool:
        try:
            find_current(self._bundles, known.machine)
        except BundleMissing:
            return True
        except BundleDamaged:
            return False  # a person is told so; a new model must not hide it
        return False

    def _ask_child(self, errands: list[Errand], stop: threading.Event) -> list[Lesson]:
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


def read_lessons(child: "subprocess.Popen[bytes]", question: bytes, stop: threading.Event) -> list[Lesson]:
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
    lessons = [msgspec.json.decode(line, type=Lesson) for line in out.splitlines()]
    if child.returncode != 0 and not lessons:
        words = errors.decode("utf-8", "replace").strip().splitlines()
        raise LessonsFailed(
            f"the child that learns ended with {child.returncode}: {(words or ['no word'])[-1]}"
        )
    return lessons
