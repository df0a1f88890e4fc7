"""What the watcher has to say: to the alert book, to the states that the console shows, to its own memory."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from sqlalchemy import Engine

from cloud.transactions import RecordsUnavailable
from cloud.watch.machine_states import MachineStates
from cloud.watch.observations import Observation
from cloud.watch.progress import Progress, WatchProgress
from models.telemetry import MachinePath

UNTOLD_MAX = 50_000

log = structlog.get_logger()


class Book(Protocol):
    """What the watcher tells its observations to."""

    def observe(self, observations: Sequence[Observation]) -> None:
        """Take observations, oldest first per machine; `RecordsUnavailable` asks for the same call again."""

    def note_models(self, troubles: Mapping[MachinePath, str]) -> None:
        """Take why models cannot take charge, "" of those that can; `RecordsUnavailable` asks again."""


class TellingDesk:
    """Tells observations in order; while the records are away they wait, the oldest giving way."""

    def __init__(self, book: Book, engine: Engine) -> None:
        self._book = book
        self._states = MachineStates(engine)
        self._progress = WatchProgress(engine)
        self._untold: deque[Observation] = deque(maxlen=UNTOLD_MAX)
        self._troubles: dict[MachinePath, str] = {}
        self._latest: dict[MachinePath, Observation] = {}
        self._kept: dict[MachinePath, Progress] = {}
        self._records_away = False
        self.lost_observations_total = 0

    def put(self, seen: Sequence[Observation]) -> None:
        """Take observations for the book, oldest first; the last is the newest state of its machine."""
        self.lost_observations_total += max(0, len(self._untold) + len(seen) - UNTOLD_MAX)
        self._untold.extend(seen)
        self.note(seen[-1])

    def note(self, seen: Observation) -> None:
        """Take the newest state of a machine: news for the console, none for the book."""
        self._latest[seen.machine] = seen

    def note_model(self, machine: MachinePath, trouble: str) -> None:
        """Take why the newest model of a machine cannot take charge; "" when it could."""
        self._troubles[machine] = trouble

    def tell(self) -> None:
        """Tell the book what it was not told yet."""
        if not self._untold and not self._troubles:
            return
        try:
            if self._troubles:
                self._book.note_models(self._troubles)
                self._troubles = {}
            if self._untold:
                self._book.observe(list(self._untold))
        except RecordsUnavailable as error:
            self.say_records_away(error)
            return
        self._untold.clear()

    def keep(self, reached: Mapping[MachinePath, Progress]) -> None:
        """Write down the newest states, and how far machines are judged once all of it is told."""
        further = {path: one for path, one in reached.items() if one != self._kept.get(path)}
        try:
            self._states.put(list(self._latest.values()))
            if not self._untold:
                self._progress.put(further)
                self._kept |= further
        except RecordsUnavailable as error:
            self.say_records_away(error)
            return
        self._latest.clear()
        if self._records_away:
            self._records_away = False
            log.info("records_are_back", observations_lost=self.lost_observations_total)

    def recall(self) -> dict[MachinePath, Progress]:
        """Return how far machines were judged by the watcher before; nothing while the records are away."""
        try:
            return self._progress.list()
        except RecordsUnavailable as error:
            self.say_records_away(error)
            return {}

    def say_records_away(self, error: RecordsUnavailable) -> None:
        """Say it once."""
        if not self._records_away:
            self._records_away = True
            log.warning("observations_wait_for_records", reason=str(error))
