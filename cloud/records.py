"""The SQL side of the cloud's memory: one engine and one metadata for ledger, alerts and mail."""

from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event

from cloud.schema import bring_up_to_date

BUSY_TIMEOUT_MS = 10_000

metadata = MetaData()
"""Every table of the cloud. A module that owns tables declares them on it at import."""

TABLE_MODULES = (
    "cloud.alerts.tables",
    "cloud.alerts.verdicts",
    "cloud.gateways",
    "cloud.ingest.day_counts",
    "cloud.ingest.dead_letters",
    "cloud.ingest.gaps",
    "cloud.ingest.ledger",
    "cloud.ingest.letter_drops",
    "cloud.notifiers.outbox",
    "cloud.watch.drift_book",
    "cloud.watch.fleet",
    "cloud.watch.history_book",
    "cloud.watch.learning_book",
    "cloud.watch.machine_states",
    "cloud.watch.progress",
    "cloud.watch.refit_book",
    "cloud.watch.versions",
)
"""Who owns tables: all of them are there from the first start on, whichever part opens the records."""


def open_records(url: str) -> Engine:
    """Return an engine for `url`, with all tables there and up to date; raise `RecordsTooNew`.

    SQLite gets WAL (readers beside the writer), synchronous=FULL (a receipt must survive a power cut) and
    patience with another writer.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for module in TABLE_MODULES:
        import_module(module)
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    bring_up_to_date(engine, metadata)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
