"""The version of the records' tables: checked when they are opened, brought up step by step in plain SQL."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, MetaData, inspect, text

from models.errors import ForewarnError


class RecordsTooNew(ForewarnError):
    """A newer Forewarn has written the records: run that one, or take a backup from before."""

    exit_code = 3


class Step(NamedTuple):
    """One statement on a table of an older version; one that is absent is made as it is now."""

    table: str
    statement: str


UPGRADES: dict[int, Sequence[Step]] = {
    # Of the letters there until now nobody knows: they go on to be counted as excerpts are.
    2: [Step("dead_letter", "ALTER TABLE dead_letter ADD COLUMN excerpt INTEGER NOT NULL DEFAULT 1")],
    # What was found before is not mailed after the fact, and machines are counted from now on.
    3: [
        Step("history_digest", "ALTER TABLE history_digest ADD COLUMN judged TEXT NOT NULL DEFAULT '[]'"),
        Step(
            "history_digest", "ALTER TABLE history_digest ADD COLUMN is_posted BOOLEAN NOT NULL DEFAULT TRUE"
        ),
        Step("machine_state", "ALTER TABLE machine_state ADD COLUMN judged_s FLOAT NOT NULL DEFAULT 0"),
        Step("machine_state", "ALTER TABLE machine_state ADD COLUMN judged_from_ns BIGINT"),
    ],
    # An alert about a machine's model may be open beside the one about the machine.
    4: [
        Step("alert", "DROP INDEX one_open_alert_per_machine"),
        Step(
            "alert",
            "CREATE UNIQUE INDEX one_open_alert_per_machine ON alert (machine) "
            "WHERE cleared_ns IS NULL AND kind != 'model'",
        ),
        Step(
            "alert",
            "CREATE UNIQUE INDEX one_open_model_alert_per_machine ON alert (machine) "
            "WHERE cleared_ns IS NULL AND kind = 'model'",
        ),
    ],
}
"""By the version that they lead to. A new table needs no step; a new column needs one, and a test."""

VERSION = max(UPGRADES)
FIRST_VERSION = 1
"""Of records from before versions were kept."""


def bring_up_to_date(engine: Engine, metadata: MetaData) -> None:
    """Make what is missing and change what is old, in one transaction; raise `RecordsTooNew`.

    Records that are up to date are not written to: every command opens them.
    """
    with engine.connect() as connection:
        if _is_up_to_date(connection, metadata):
            return
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Before the version is read: another program may be about to bring it up, too.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        there = set(inspect(connection).get_table_names())
        for version in range(_read_version(connection, there, metadata) + 1, VERSION + 1):
            for step in UPGRADES[version]:
                if step.table in there:
                    connection.exec_driver_sql(step.statement)
        metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        connection.exec_driver_sql("DELETE FROM schema_version")
        connection.execute(text("INSERT INTO schema_version VALUES (:version)"), {"version": VERSION})
        connection.commit()


def _is_up_to_date(connection: Connection, metadata: MetaData) -> bool:
    there = set(inspect(connection).get_table_names())
    return there >= metadata.tables.keys() and _read_version(connection, there, metadata) == VERSION


def _read_version(connection: Connection, there: set[str], metadata: MetaData) -> int:
    """Return the version of the tables that are there; raise `RecordsTooNew`."""
    if "schema_version" in there:
        found = connection.exec_driver_sql("SELECT MAX(version) FROM schema_version").scalar_one()
        version = int(found or FIRST_VERSION)
    else:
        version = FIRST_VERSION if there & metadata.tables.keys() else VERSION
    if version > VERSION:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise RecordsTooNew(
            f"the records at {where} are of version {version}, this Forewarn knows {VERSION}: a newer "
            "Forewarn has opened them; run that one, or restore the backup made before its first start"
        )
    return version
