"""Training of many machines at once, in threads: resumable, and one that fails stops no other."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy import Column, Engine, String, Text, select
from sqlalchemy import Table as SqlTable

from cloud.ingest.gaps import list_gaps
from cloud.machines import CardBox
from cloud.records import metadata
from cloud.stores import Table
from cloud.stores.shelf import StoreSettings
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.training import Span, learn_rows, name_current, read_rows
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Bundle, save_bundle
from models.anomaly.provenance import Origin
from models.errors import ForewarnError
from models.telemetry import Gap, MachinePath

GAPS_MAX = 10_000

learned_from = SqlTable(
    "learned_from",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("bundle", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
)

Learner = Callable[[MachinePath, Table, WatchSettings, Origin], Bundle]
"""Returns what the values of a machine teach, here or elsewhere."""

Outcome = Literal["trained", "unchanged", "failed"]


class LearnersLost(ForewarnError):
    """There is nobody left to learn: no other machine would fare better, so it ends the whole training."""


class FleetResult(msgspec.Struct, frozen=True):
    """What became of one machine: `bundle` is its folder's name, `words` the reason of a failure."""

    machine: str
    outcome: Outcome
    seconds: float
    bundle: str = ""
    fingerprint: str = ""
    words: str = ""


class _Errand(msgspec.Struct, frozen=True):
    machine: MachinePath
    gaps: list[Gap]
    units: dict[str, str]
    known: tuple[str, str] | None
    """The bundle that was made of these values before, and their fingerprint."""


class Fleet:
    """Trains machines from one span of their values, several at a time."""

    def __init__(
        self,
        store: StoreSettings,
        bundles: Path,
        engine: Engine,
        settings: WatchSettings,
        *,
        jobs: int = -1,
        cards: CardBox | None = None,
        learn: Learner = learn_rows,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._engine = engine
        self._settings = settings
        self._jobs = jobs
        self._cards = cards or CardBox()
        self._learn = learn

    def train(self, machines: Sequence[MachinePath], span: Span) -> Iterator[FleetResult]:
        """Yield what became of each machine, in the order of their ends.

        Raises `RecordsUnavailable`, and `LearnersLost` where nobody is left to learn.

        A machine whose current bundle was made of the same values with the same settings is left as it is.
        """
        # Whoever opens the records loads this module: the service does without joblib.
        from joblib import Parallel, delayed  # type: ignore[import-untyped]  # ships no types

        known = self._list_known()
        errands = [
            _Errand(
                machine, self._list_gaps(machine), self._cards.list_units(machine), known.get(str(machine))
            )
            for machine in machines
        ]
        work = (delayed(self._train_one)(errand, span) for errand in errands)
        for result in Parallel(n_jobs=self._jobs, prefer="threads", return_as="generator_unordered")(work):
            if result.outcome == "trained":
                self._remember(result)
            yield result

    def _train_one(self, errand: _Errand, span: Span) -> FleetResult:
        began_s = time.monotonic()
        reader = self._store.build_reader()
        machine = str(errand.machine)
        try:
            table = read_rows(reader, errand.machine, span, self._settings, errand.gaps)
            fingerprint = take_fingerprint(table, self._settings)
            current = name_current(self._bundles, errand.machine)
            if errand.known is not None and errand.known == (current, fingerprint):
                return FleetResult(machine, "unchanged", time.monotonic() - began_s, *errand.known)
            origin = Origin(current, errand.units)
            bundle = self._learn(errand.machine, table, self._settings, origin)
            folder = save_bundle(self._bundles, bundle, self._settings.locate_keys(self._bundles))
        except LearnersLost:
            raise
        except (ForewarnError, OSError) as error:
            return FleetResult(machine, "failed", time.monotonic() - began_s, words=str(error))
        finally:
            reader.close()
        return FleetResult(machine, "trained", time.monotonic() - began_s, folder.name, fingerprint)

    def _list_gaps(self, machine: MachinePath) -> list[Gap]:
        return [one.gap for one in list_gaps(self._engine, machine=machine, count_max=GAPS_MAX)]

    def _list_known(self) -> dict[str, tuple[str, str]]:
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(learned_from)).all()
        return {row.machine: (row.bundle, row.fingerprint) for row in rows}

    def _remember(self, result: FleetResult) -> None:
        row = {"machine": result.machine, "bundle": result.bundle, "fingerprint": result.fingerprint}
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, learned_from).values(**row)
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=row))


def take_fingerprint(table: Table, settings: WatchSettings) -> str:
    """Return a hash of values, codes and of the settings that training looks at."""
    rules = [rule.model_dump() for rule in settings.rules]
    asked = settings.grid_s, settings.base_rows, settings.detector, rules
    digest = hashlib.sha256(msgspec.json.encode(asked))
    digest.update(table.timestamps.tobytes())
    for tag in sorted(table.values):
        digest.update(f"{tag}\n".encode())
        digest.update(table.values[tag].tobytes())
        if tag in table.quality and table.quality[tag].any():
            digest.update(table.quality[tag].tobytes())
    return digest.hexdigest()
