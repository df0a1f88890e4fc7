"""The texts of InfluxDB's roll-ups: mean, least, greatest and count of each minute and hour."""

from typing import Literal

import msgspec

from cloud.stores.influxql import quote_name

Step = Literal["1m", "1h"]
FUNCTIONS = ("mean", "min", "max", "count")
"""Each makes a field of its own: `mean_speed`, `min_speed`, ... beside the tags of `telemetry`."""


class Schedule(msgspec.Struct, frozen=True):
    """How often which span before now is computed (anew): what came late in between is in it then."""

    name: str
    step: Step
    every: str
    over: str


SCHEDULES = (
    Schedule("forewarn_1m", "1m", "1m", "10m"),
    Schedule("forewarn_1m_late", "1m", "1h", "2d"),
    Schedule("forewarn_1h", "1h", "10m", "3h"),
    Schedule("forewarn_1h_late", "1h", "1h", "2d"),
)
"""Later values than two days are computed by `forewarn cloud setup-store --recompute-from`."""


def name_policy(step: Step) -> str:
    """Return the retention policy (version 1), or the part of a bucket's name (version 2), of a roll-up."""
    return f"rollup_{step}"


def select_into(database: str, step: Step, span: str = "") -> str:
    """Return the InfluxQL statement that computes a roll-up over the span of its `WHERE`."""
    fields = ", ".join(f"{function}(*::field)" for function in FUNCTIONS)
    base = quote_name(database)
    return (  # every name in it is quoted
        f'SELECT {fields} INTO {base}."{name_policy(step)}"."telemetry" FROM {base}."autogen"."telemetry" '  # noqa: S608
        f"{span}GROUP BY time({step}), *"
    )


def create_continuous(database: str, schedule: Schedule) -> str:
    """Return the InfluxQL statement that has version 1 keep a roll-up."""
    return (
        f'CREATE CONTINUOUS QUERY "{schedule.name}" ON {quote_name(database)} '
        f"RESAMPLE EVERY {schedule.every} FOR {schedule.over} "
        f"BEGIN {select_into(database, schedule.step)} END"
    )


def write_task(bucket: str, schedule: Schedule) -> str:
    """Return the Flux task that has version 2 keep a roll-up."""
    head = f'option task = {{name: "{schedule.name}", every: {schedule.every}, offset: 10s}}\n\n'
    start = f"date.truncate(t: -{schedule.over}, unit: {schedule.step})"
    # An import may only be followed by an option, never preceded by it.
    return f'import "date"\n\n{head}' + _write_flux(bucket, schedule.step, f"start: {start}")


def write_flux(bucket: str, step: Step, start: str, stop: str) -> str:
    """Return the Flux that computes a roll-up of version 2 between two RFC 3339 instants."""
    return _write_flux(bucket, step, f"start: {start}, stop: {stop}")


def _write_flux(bucket: str, step: Step, span: str) -> str:
    lines = [
        f"raw = from(bucket: {_quote(bucket)})",
        f"    |> range({span})",
        '    |> filter(fn: (r) => r._measurement == "telemetry")',
        "",
    ]
    for function in FUNCTIONS:
        lines += [
            "raw",
            # Named by the beginning of its span, as InfluxQL does.
            f'    |> aggregateWindow(every: {step}, fn: {function}, createEmpty: false, timeSrc: "_start")',
            f'    |> map(fn: (r) => ({{r with _field: "{function}_" + r._field}}))',
            f"    |> to(bucket: {_quote(f'{bucket}/{name_policy(step)}')})",
            f'    |> yield(name: "{function}")',
            "",
        ]
    return "\n".join(lines)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
