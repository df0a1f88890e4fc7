"""Training from the store: stored values of a machine become its current bundle."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from cloud.stores import StoredMachine, StoreReader, Table
from cloud.watch.lessons import mark_holes
from cloud.watch.rules import find_wishes
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Bundle, BundleDamaged, BundleMissing, find_current, save_bundle
from models.anomaly.detectors import TrainingRejected
from models.anomaly.grid import step_ns
from models.anomaly.provenance import Origin
from models.anomaly.training import NO_ORIGIN, train_bundle
from models.errors import ForewarnError
from models.telemetry import Gap, MachinePath
from models.words import say_instant

MACHINES_NAMED_MAX = 10
NO_UNITS: Mapping[str, str] = {}

Span = tuple[int | None, int | None]
"""Begin and end (not included) in nanoseconds; None is open."""


class NothingStored(ForewarnError):
    """The store has no values of the machine in the span; the message says which there are."""


class Trained(msgspec.Struct, frozen=True):
    """A bundle that was just written, where, and how long reading and learning took."""

    bundle: Bundle
    folder: Path
    seconds: float


def train_machine(
    reader: StoreReader,
    bundles: Path,
    machine: MachinePath,
    span_ns: Span,
    settings: WatchSettings,
    gaps: Sequence[Gap] = (),
    units: Mapping[str, str] = NO_UNITS,
) -> Trained:
    """Learn from the machine's stored values in the span (None: open) and make the bundle its current one.

    Nothing is held across `gaps`; `units` by tag go onto the card. Raises `NothingStored`,
    `TrainingRejected`, and what the reader raises.
    """
    began_s = time.monotonic()
    origin = Origin(name_current(bundles, machine), dict(units))
    bundle = learn_rows(machine, read_rows(reader, machine, span_ns, settings, gaps), settings, origin)
    return Trained(
        bundle, save_bundle(bundles, bundle, settings.locate_keys(bundles)), time.monotonic() - began_s
    )


def read_rows(
    reader: StoreReader,
    machine: MachinePath,
    span_ns: Span,
    settings: WatchSettings,
    gaps: Sequence[Gap] = (),
) -> Table:
    """Return the machine's stored values in the span, a bad reading where each of `gaps` begins.

    Raises `NothingStored`, `TrainingRejected`, and what the reader raises.
    """
    start_ns = span_ns[0] if span_ns[0] is not None else 0
    end_ns = span_ns[1] if span_ns[1] is not None else 2**63 - 1
    if start_ns >= end_ns:
        raise TrainingRejected(
            f"the span ends at {say_instant(end_ns)}, before it begins: swap --from and --to"
        )
    stored = reader.list_machines()
    known = next((entry for entry in stored if entry.machine == machine), None)
    if known is None:
        raise NothingStored(f"no values of {machine} are stored; {say_known(stored)}")
    first_ns, last_ns = max(start_ns, known.first_ns), min(end_ns, known.last_ns + 1)
    if first_ns >= last_ns:
        raise NothingStored(say_outside(known, start_ns, end_ns))
    table = reader.read("telemetry", machine, first_ns, last_ns)
    if not len(table.timestamps):
        raise NothingStored(say_outside(known, start_ns, end_ns))
    return mark_holes(table, gaps, step_ns(settings.grid_s))


def name_current(bundles: Path, machine: MachinePath) -> str:
    """Return the version that is in charge, "" without one."""
    try:
        return find_current(bundles, machine).name
    except (BundleMissing, BundleDamaged):
        return ""


def learn_rows(
    machine: MachinePath, table: Table, settings: WatchSettings, origin: Origin = NO_ORIGIN
) -> Bundle:
    """Return what the values teach, not kept yet; raise `TrainingRejected`."""
    return train_bundle(
        str(machine),
        table.timestamps,
        table.values,
        table.quality,
        grid_s=settings.grid_s,
        trained_ns=time.time_ns(),
        base_rows=settings.base_rows,
        detector=settings.detector,
        origin=origin,
        wishes=find_wishes(settings.rules, machine),
    )


def say_outside(known: StoredMachine, start_ns: int, end_ns: int) -> str:
    """Say which span was asked for (0 and 2^63 - 1: open), and which is stored."""
    begin = f"from {say_instant(start_ns)}" if start_ns else "from the beginning"
    end = f"to {say_instant(end_ns)}" if end_ns < 2**63 - 1 else "to now"
    return (
        f"no values of {known.machine} {begin} {end}: stored are "
        f"{say_instant(known.first_ns)} to {say_instant(known.last_ns)}"
    )


def say_known(stored: Sequence[StoredMachine]) -> str:
    """Say which machines there are, the first few by name."""
    if not stored:
        return "the store is empty: is `forewarn cloud run` storing, and does store: name the same place?"
    names = [str(entry.machine) for entry in stored[:MACHINES_NAMED_MAX]]
    more = f" and {len(stored) - len(names)} more" if len(stored) > len(names) else ""
    return f"stored machines are {', '.join(names)}{more}"
