"""A program of its own that looks at what machines said and trains those with enough of it.

It takes one `Errands` as JSON on standard input and answers with one `Answer` as JSON per line. Training
needs scikit-learn and days of values in memory, which the service gets back when this program ends.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import TypeAdapter

from cloud.stores import StoreReader, StoreUnavailable
from cloud.stores.shelf import StoreSettings
from cloud.watch.drift import Drift, measure_drift
from cloud.watch.lessons import Lesson, assess, mark_holes, span_ns
from cloud.watch.refit import Event, Refit, challenge
from cloud.watch.training import train_machine
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Card
from models.anomaly.detectors import TrainingRejected
from models.anomaly.grid import step_ns
from models.errors import ForewarnError
from models.telemetry import Gap, MachinePath

LOOK_FACTOR = 7
"""Looked at is this many times the span that is wanted: machines have days off."""


class Errand(msgspec.Struct, frozen=True):
    """A machine, from when on its values count, its newest value, and what was not acquired of it."""

    machine: str
    since_ns: int
    newest_ns: int
    gaps: list[Gap] = []
    events: list[Event] | None = None
    """For a machine with a model: the alerts that a challenger is measured by. None: it has no model."""

    card: Card | None = None
    """For a machine with a model: only its drift from what this card learned is wanted."""

    units: dict[str, str] = {}
    """The units of its tags, as far as somebody wrote them down."""


class Answer(msgspec.Struct, frozen=True):
    """What became of an errand: `refit` where there was a challenger, `drift` where that was asked for."""

    lesson: Lesson
    refit: Refit | None = None
    drift: Drift | None = None


class Errands(msgspec.Struct, frozen=True):
    """Settings as their models dump them, and the machines to look at."""

    store: dict[str, Any]
    watch: dict[str, Any]
    bundles: str
    errands: list[Errand]


def find_begin(errand: Errand, settings: WatchSettings) -> int:
    """Return from when on the values of a machine are looked at."""
    span = span_ns(settings.learning.good_hours * 3_600) * LOOK_FACTOR
    if errand.card is not None:
        span = span_ns(settings.learning.drift_hours * 3_600)
    return max(errand.since_ns, errand.newest_ns - span)


def teach(reader: StoreReader, bundles: Path, errand: Errand, settings: WatchSettings) -> Answer:
    """Return how far a machine's learning has come, after training it where it is far enough."""
    machine = MachinePath.parse(errand.machine)
    wanted_s = settings.learning.good_hours * 3_600
    span = find_begin(errand, settings), errand.newest_ns + 1
    table = reader.read("telemetry", machine, *span)
    lesson = assess(
        errand.machine, mark_holes(table, errand.gaps, step_ns(settings.grid_s)), settings.grid_s, wanted_s
    )
    if errand.card is not None:
        return Answer(lesson, drift=measure_drift(reader, errand.card, table, span))
    if not lesson.is_enough:
        return Answer(lesson)
    if errand.events is not None:
        marked = mark_holes(table, errand.gaps, step_ns(settings.grid_s))
        refit = challenge(reader, bundles, machine, marked, errand.events, settings, errand.units)
        return Answer(lesson, refit)
    try:
        train_machine(reader, bundles, machine, span, settings, errand.gaps, errand.units)
    except TrainingRejected as error:
        return Answer(msgspec.structs.replace(lesson, trouble=str(error)))
    return Answer(lesson)


def teach_all(errands: Errands) -> Iterator[Answer]:
    """Yield the answer of each machine; one that fails does not stop the others."""
    settings = WatchSettings.model_validate(errands.watch)
    store: StoreSettings = TypeAdapter(StoreSettings).validate_python(errands.store)
    reader = store.build_reader()
    wanted_s = settings.learning.good_hours * 3_600
    try:
        for errand in errands.errands:
            try:
                yield teach(reader, Path(errands.bundles), errand, settings)
            except StoreUnavailable:
                raise
            except ForewarnError as error:
                yield Answer(Lesson(errand.machine, 0.0, wanted_s, trouble=str(error)))
    finally:
        reader.close()


def main() -> int:
    """Answer what is asked on standard input."""
    try:
        for answer in teach_all(msgspec.json.decode(sys.stdin.buffer.read(), type=Errands)):
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()
    except StoreUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
