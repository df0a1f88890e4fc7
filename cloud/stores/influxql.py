"""Every query to InfluxDB, in InfluxQL, which 1.x and 2.x both answer at /query."""

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


def quote_name(name: str) -> str:
    """Return an identifier in its quotes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_text(text: str) -> str:
    """Return a string in its quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
