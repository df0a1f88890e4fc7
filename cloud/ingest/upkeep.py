"""Sees to the store beside the ingester: its own merging and deleting, and the nightly read-back."""

import threading
import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from cloud.ingest.day_counts import DAY_NS, DayRow, list_days
from cloud.ingest.read_back import read_back, say_day, say_mismatches
from cloud.metrics import CloudMetrics
from cloud.stores import NeedsUpkeep, StoreUnavailable, StoreWriter
from cloud.stores.shelf import StoreSettings
from cloud.transactions import RecordsUnavailable

log = structlog.get_logger()

PIECE_PAUSE_S = 0.02
PIECE_PAUSE_S_MAX = 0.5
REST_SHARE = 4
"""After each piece of upkeep a rest of so many times its length: the ingester writes in between. Machines
that speak at one pace have work for upkeep at once; nobody is to wait for all of it."""
IDLE_PAUSE_S = 1.0
TROUBLE_PAUSE_S = 10.0
READ_BACK_INTERVAL_S = 600.0
LATE_DAYS = 2
"""As far back as the store's own roll-ups look for what came late."""


def choose_rest_s(worked_s: float) -> float:
    """Return how long to rest after a piece that took `worked_s`."""
    return min(PIECE_PAUSE_S_MAX, max(PIECE_PAUSE_S, REST_SHARE * worked_s))


class Upkeep:
    """Tidies while there is anything to tidy; every ten minutes looks for days to be read back."""

    def __init__(
        self, writer: StoreWriter, store: StoreSettings, engine: Engine, metrics: CloudMetrics
    ) -> None:
        self._writer = writer
        self._store = store
        self._engine = engine
        self._metrics = metrics
        self._read_back_due_s = time.monotonic() + IDLE_PAUSE_S
        self._lost = False
        self._first = True

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                more = isinstance(self._writer, NeedsUpkeep) and self._writer.tidy(time.time_ns())
                if time.monotonic() >= self._read_back_due_s:
                    self._read_back_due_s = time.monotonic() + READ_BACK_INTERVAL_S
                    self._read_back(stop)
                self._lost = False
            except (StoreUnavailable, RecordsUnavailable) as error:
                if not self._lost:
                    self._lost = True
                    log.warning("upkeep_waits", reason=str(error))
                stop.wait(TROUBLE_PAUSE_S)
                continue
            stop.wait(choose_rest_s(time.monotonic() - began_s) if more else IDLE_PAUSE_S)

    def _read_back(self, stop: threading.Event) -> None:
        reader = self._store.build_reader()
        try:
            rows = read_back(
                self._engine,
                reader,
                now_ns=time.time_ns(),
                keeps_days=self._store.retention_days,
                stopped=stop.is_set,
            )
        finally:
            reader.close()
        self._recompute_late(rows)
        if rows or self._first:
            self._first = False
            self._say(rows)

    def _recompute_late(self, rows: Sequence[DayRow]) -> None:
        """Have roll-ups computed anew where values came later than the store's own ones look."""
        for day in sorted({row.day for row in rows if row.changed_ns // DAY_NS - row.day > LATE_DAYS}):
            try:
                self._store.recompute(day * DAY_NS, (day + 1) * DAY_NS)
            except StoreUnavailable as error:
                mend = "forewarn cloud setup-store makes them; rollups: [] does without"
                log.warning("rollups_not_recomputed", day=say_day(day), reason=str(error), mend=mend)
                return

    def _say(self, rows: list[DayRow]) -> None:
        """Show what lacks, also of nights before; say what was asked now."""
        known = list_days(self._engine)
        self._metrics.read_back_trouble = say_mismatches(known)
        self._metrics.read_back_missing.set(sum(row.missing for row in known))
        if trouble := say_mismatches(rows):
            log.error("read_back_mismatch", reason=trouble)
        elif rows:
            log.info("read_back_complete", machine_days=len(rows), values=sum(row.found or 0 for row in rows))
