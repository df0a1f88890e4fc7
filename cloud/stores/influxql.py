"""Every query to InfluxDB, in InfluxQL, which 1.x, 2.x and 3.x answer at /query; and what sets up 1.x."""

from collections.abc import Sequence

from cloud.stores.lines import store_key
from models.telemetry import MachinePath

ROWS_MAX = 50_000
"""The rows of one answer. A longer span is asked for page by page: memory is bounded on both sides."""


def select_rows(
    measurement: str, machine: MachinePath, start_ns: int, end_ns: int, tags: Sequence[str] | None
) -> str:
    """Return the query for the first `ROWS_MAX` rows of a machine in start_ns <= t < end_ns."""
    fields = "*::field" if tags is None else ", ".join(f"{quote_name(store_key(tag))}::field" for tag in tags)
    place = " AND ".join(
        f"{quote_name(key)}::tag = {quote_text(getattr(machine, key))}"
        for key in ("site", "area", "line", "machine")
    )
    return (  # every name and text in it is quoted
        f"SELECT {fields} FROM {quote_name(measurement)} WHERE {place} "  # noqa: S608
        f"AND time >= {start_ns} AND time < {end_ns} ORDER BY time ASC LIMIT {ROWS_MAX}"
    )


_MACHINES = 'GROUP BY "site"::tag, "area"::tag, "line"::tag, "machine"::tag'
SELECT_FIRST_ROWS = f'SELECT *::field FROM "telemetry" {_MACHINES} ORDER BY time ASC LIMIT 1'  # noqa: S608
SELECT_LAST_ROWS = f'SELECT *::field FROM "telemetry" {_MACHINES} ORDER BY time DESC LIMIT 1'  # noqa: S608
SELECT_LAST_OF_TAGS = f'SELECT last(*::field) FROM "telemetry" {_MACHINES}'  # noqa: S608


SHOW_DATABASES = "SHOW DATABASES"
SHOW_CONTINUOUS_QUERIES = "SHOW CONTINUOUS QUERIES"


def create_database(name: str) -> str:
    """Return the statement that makes a database of version 1."""
    return f"CREATE DATABASE {quote_name(name)}"


def show_policies(database: str) -> str:
    """Return the question for the retention policies: name and duration are the first columns."""
    return f"SHOW RETENTION POLICIES ON {quote_name(database)}"


def set_policy(database: str, name: str, days: int | None, *, exists: bool) -> str:
    """Return the statement that makes or changes a retention policy; None days: for ever."""
    place = f"{quote_name(name)} ON {quote_name(database)}"
    duration = f"{days}d" if days else "INF"
    if exists:
        return f"ALTER RETENTION POLICY {place} DURATION {duration}"
    return f"CREATE RETENTION POLICY {place} DURATION {duration} REPLICATION 1"


def drop_continuous(database: str, name: str) -> str:
    """Return the statement that removes a continuous query."""
    return f"DROP CONTINUOUS QUERY {quote_name(name)} ON {quote_name(database)}"


def quote_name(name: str) -> str:
    """Return an identifier in its quotes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_text(text: str) -> str:
    """Return a string in its quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
