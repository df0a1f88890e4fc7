"""The SQL side of the cloud's memory: one engine and one metadata for ledger, alerts and mail."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event

BUSY_TIMEOUT_MS = 10_000

metadata = MetaData()
"""Every table of the cloud. A module that owns tables declares them on it at import."""


def open_records(url: str) -> Engine:
    """Return an engine for `url`, with all tables there.

    SQLite gets WAL (readers beside the writer), synchronous=FULL (a receipt must survive a power cut) and
    patience with another writer.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    metadata.create_all(engine)
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
