"""Write transactions on the cloud's records: all or nothing, one writer at a time, one named error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from models.errors import ForewarnError


class RecordsUnavailable(ForewarnError):
    """The records database does not take or give anything now: keep what you have, wait, repeat."""


@contextmanager
def begin_write(engine: Engine) -> Iterator[Connection]:
    """Run the body as one transaction that reads and writes without another writer in between.

    Raises `RecordsUnavailable`, with nothing written, when the database is locked, full or away.
    """
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                # Python's driver would begin only at the first write, and read an older state before it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
    except DBAPIError as error:
        raise RecordsUnavailable(_explain(engine, error)) from error


@contextmanager
def begin_read(engine: Engine) -> Iterator[Connection]:
    """Run the body on one connection; raise `RecordsUnavailable` when the database is away."""
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise RecordsUnavailable(_explain(engine, error)) from error


def insert_into(connection: Connection, table: Table) -> Any:
    """Return an insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`.

    SQLAlchemy keeps these per database, with the same words for SQLite and PostgreSQL.
    """
    if connection.dialect.name == "postgresql":
        # It takes 2 MB, which a plant whose records are a SQLite file need not give.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    return sqlite.insert(table)


def _explain(engine: Engine, error: DBAPIError) -> str:
    where = engine.url.render_as_string(hide_password=True)
    return f"the records at {where} do not answer ({error.orig}): check the disk's free space or the database"
