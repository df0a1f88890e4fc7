"""A refit: a challenger learns newer rows, and takes charge only where it is no worse than the champion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from cloud.stores import StoreReader, Table
from cloud.watch.holes import HOLE
from cloud.watch.past import Past
from cloud.watch.rings import GridRing
from cloud.watch.training import NO_UNITS, learn_rows
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Bundle, find_current, load_current, save_bundle
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.spans import find_spans
from models.anomaly.detectors import TrainingRejected
from models.anomaly.features import Vector
from models.anomaly.grid import NS_PER_S, step_ns
from models.anomaly.judging import count_reach, judge_rows
from models.anomaly.provenance import Origin, Replay
from models.telemetry import MachinePath
from models.words import say_instant

HELD_BACK_SHARE = 0.2
"""The newest rows are not learned from: champion and challenger are compared on them."""
MARGIN_S = 600
"""Rows so near to an alert are not learned from either: trouble begins before it is told."""
EVENT_ROWS_MAX = 20_000
EVENTS_MAX = 50


class Event(msgspec.Struct, frozen=True):
    """An alert in event time; `is_confirmed`: a person acknowledged that the machine was in trouble."""

    first_ns: int
    last_ns: int
    is_confirmed: bool


class Refit(msgspec.Struct, frozen=True):
    """What became of a challenger, and why."""

    is_promoted: bool
    words: str


def challenge(
    reader: StoreReader,
    bundles: Path,
    machine: MachinePath,
    table: Table,
    events: Sequence[Event],
    settings: WatchSettings,
    units: Mapping[str, str] = NO_UNITS,
) -> Refit:
    """Train a challenger on the older rows of `table` that were not alarmed; let it take charge if it may.

    Raises what the reader raises, and `BundleMissing` or `BundleDamaged` where there is no champion.
    """
    keys = settings.locate_keys(bundles)
    champion = load_current(bundles, machine, keys)
    origin = Origin(find_current(bundles, machine).name, dict(units), list_exclusions(table, events))
    split = int(len(table.timestamps) * (1.0 - HELD_BACK_SHARE))
    calm = leave_out(table, events)
    try:
        challenger = learn_rows(machine, _cut(calm, 0, split), settings, origin)
    except TrainingRejected as error:
        return Refit(is_promoted=False, words=f"no challenger: {error}")
    lost = sorted(set(champion.card.tags) - set(challenger.card.tags))
    if lost:
        why = challenger.card.left_out.get(lost[0], "no values")
        return Refit(is_promoted=False, words=f"the challenger does not watch {lost[0]} ({why})")
    confirmed = sorted((one for one in events if one.is_confirmed), key=lambda one: one.first_ns)[
        -EVENTS_MAX:
    ]
    replayed = []
    for event in confirmed:
        is_found = _finds(reader, challenger, machine, event)
        replayed.append(Replay(event.first_ns, event.last_ns, is_found))
        if not is_found and _finds(reader, champion, machine, event):
            at = say_instant(event.first_ns)
            return Refit(is_promoted=False, words=f"the challenger misses the confirmed event of {at}")
    span = int(calm.timestamps[split]), int(calm.timestamps[-1]) + 1
    false = [_count_episodes(reader, one, machine, span, events) for one in (champion, challenger)]
    if false[1] > false[0]:
        return Refit(
            is_promoted=False, words=f"{false[1]} false alarms on newer rows, the champion has {false[0]}"
        )
    folder = save_bundle(bundles, _note_replayed(challenger, replayed), keys)
    words = (
        f"{folder.name} took charge: {len(confirmed)} confirmed events replayed, "
        f"false alarms on newer rows {false[1]}, of the champion {false[0]}"
    )
    return Refit(is_promoted=True, words=words)


def leave_out(table: Table, events: Sequence[Event]) -> Table:
    """Return the table with all readings near alerts marked as not acquired."""
    near = np.zeros(len(table.timestamps), dtype=bool)
    for event in events:
        margin = MARGIN_S * NS_PER_S
        near |= (table.timestamps >= event.first_ns - margin) & (table.timestamps <= event.last_ns + margin)
    values = {tag: np.where(near, np.nan, column) for tag, column in table.values.items()}
    zeros = np.zeros(len(near), dtype=np.uint32)
    quality = {
        tag: np.where(near, HOLE, table.quality.get(tag, zeros)).astype(np.uint32) for tag in table.values
    }
    return Table(table.timestamps, values, quality)


def list_exclusions(table: Table, events: Sequence[Event]) -> list[tuple[int, int]]:
    """Return the spans near alerts, within the table's, that teach nothing."""
    margin, first, last = MARGIN_S * NS_PER_S, int(table.timestamps[0]), int(table.timestamps[-1])
    spans = [
        (max(first, one.first_ns - margin), min(last, one.last_ns + margin))
        for one in sorted(events, key=lambda one: one.first_ns)
    ]
    return [(begin, end) for begin, end in spans if begin < end]


def _note_replayed(bundle: Bundle, replayed: list[Replay]) -> Bundle:
    origin = msgspec.structs.replace(bundle.card.origin, replayed=replayed)
    return msgspec.structs.replace(bundle, card=msgspec.structs.replace(bundle.card, origin=origin))


def _cut(table: Table, start: int, stop: int) -> Table:
    return Table(
        table.timestamps[start:stop],
        {tag: column[start:stop] for tag, column in table.values.items()},
        {tag: codes[start:stop] for tag, codes in table.quality.items()},
    )


def _score(
    reader: StoreReader, bundle: Bundle, machine: MachinePath, first_ns: int, last_ns: int
) -> tuple[Vector, int]:
    """Return the scores of the rows of a span, at most `EVENT_ROWS_MAX`, and the first row."""
    grid_ns = step_ns(bundle.card.grid_s)
    first, last = first_ns // grid_ns, min(last_ns // grid_ns, first_ns // grid_ns + EVENT_ROWS_MAX - 1)
    reach = count_reach(bundle)
    ring = GridRing(bundle.card.columns, grid_ns, reach + last - first + 1)
    Past(reader, machine, bundle.card.columns, grid_ns).fill(ring, first - reach, (last + 1) * grid_ns, [])
    if ring.first_row is None or ring.first_row > last:
        return np.empty(0), first
    rows = last - max(first, ring.first_row) + 1
    verdict = judge_rows(bundle, ring.read(last, reach + rows), rows)
    return verdict.judgement.score, last - rows + 1


def _finds(reader: StoreReader, bundle: Bundle, machine: MachinePath, event: Event) -> bool:
    """Return whether the model would have raised an alert within the event."""
    margin = MARGIN_S * NS_PER_S
    score, _ = _score(reader, bundle, machine, event.first_ns - margin, event.last_ns)
    return len(score) > 0 and bool(find_alerting(score, bundle.card.limit.value, Persistence()).any())


def _count_episodes(
    reader: StoreReader,
    bundle: Bundle,
    machine: MachinePath,
    span: tuple[int, int],
    events: Sequence[Event],
) -> int:
    """Return how many alerts the model would have raised in the span, away from those that there were."""
    grid_ns, margin = step_ns(bundle.card.grid_s), MARGIN_S * NS_PER_S
    begin = max(span[0], span[1] - EVENT_ROWS_MAX * grid_ns)
    score, first = _score(reader, bundle, machine, begin, span[1])
    if not len(score):
        return 0
    stamps = (first + np.arange(len(score)) + 1) * grid_ns
    for event in events:
        score[(stamps >= event.first_ns - margin) & (stamps <= event.last_ns + margin)] = np.nan
    return len(find_spans(find_alerting(score, bundle.card.limit.value, Persistence())))
