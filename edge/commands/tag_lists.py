"""Lists of tags that a person picks from: rows of a CSV file, entries for edge.yaml."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from edge.drivers.opcua.survey import Found
from models.errors import ForewarnError
from models.telemetry import quality
from models.telemetry.batch import TAG_NAME_CHARS_MAX

ROWS_MAX = 100_000
_COLUMNS = (
    "use",
    "machine",
    "tag",
    "node_id",
    "unit",
    "type",
    "value",
    "low",
    "high",
    "status",
    "url",
    "security",
)
_NEEDED = ("machine", "tag", "node_id", "url")
_YES = ("yes", "y", "x", "1", "true")
_FORMULA = ("=", "+", "-", "@", "'")


class TagListRejected(ForewarnError):
    """The file is no list of tags: mend it, or make it anew with `forewarn edge browse URL --csv FILE`."""

    exit_code = 3


class TagRow(msgspec.Struct, frozen=True):
    """One tag that a server offers. `security` is `none`, or a policy and mode; `use` what a person chose."""

    use: bool
    machine: str
    tag: str
    node_id: str
    unit: str
    url: str
    security: str
    type: str = ""
    value: str = ""
    low: float | None = None
    high: float | None = None
    status: int = 0


def make_rows(found: Iterable[Found], under: str, url: str, security: str) -> list[TagRow]:
    """Return a row per variable, its machine named below `under` (site/area/line); numbers are in use."""
    machines: dict[str, str] = {}
    names: dict[str, set[str]] = {}
    rows = []
    for one in found:
        machine = machines.get(one.machine)
        if machine is None:
            others = {path.rpartition("/")[2] for path in machines.values()}
            machine = f"{under}/{_make_unique(_make_segment(one.machine), others, 64)}"
            machines[one.machine] = machine
        taken = names.setdefault(machine, set())
        tag = _make_unique(
            _make_printable(one.tag)[:TAG_NAME_CHARS_MAX].strip() or "tag", taken, TAG_NAME_CHARS_MAX
        )
        taken.add(tag)
        told = (_make_printable(one.type), _make_printable(one.value), one.low, one.high, one.status)
        unit = _make_printable(one.unit)
        rows.append(TagRow(one.is_number, machine, tag, one.node_id, unit, url, security, *told))
    return rows


def _make_segment(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.casefold()).strip("-_")[:64] or "machine"


def _make_printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text).strip()


def _make_unique(name: str, taken: set[str], chars_max: int) -> str:
    if name not in taken:
        return name
    suffixes = (f"-{number}" for number in range(2, ROWS_MAX + 3))
    return next(one for suffix in suffixes if (one := name[: chars_max - len(suffix)] + suffix) not in taken)


def write_csv(rows: Sequence[TagRow]) -> str:
    """Return the rows as a CSV file, where a person says yes or no under `use`, and may name things anew."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in rows:
        told = (row.type, row.value, _say(row.low), _say(row.high), quality.describe(row.status))
        names = (_guard(row.machine), _guard(row.tag), _guard(row.node_id), _guard(row.unit))
        of_server = (_guard(row.type), _guard(row.value), *told[2:], _guard(row.url), row.security)
        writer.writerow(("yes" if row.use else "no", *names, *of_server))
    return out.getvalue()


def read_csv(file: Path) -> list[TagRow]:
    """Return the rows of such a file that are in use; raise `TagListRejected` with the line of a mistake."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return _read_rows(file, lines.read())
    except OSError as error:
        raise TagListRejected(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TagListRejected(f"{file}: is not UTF-8 text: save it as CSV UTF-8") from error


def _read_rows(file: Path, text: str) -> list[TagRow]:
    # A spreadsheet saves with semicolons where the comma is the decimal sign.
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    missing = [name for name in _NEEDED if name not in (reader.fieldnames or [])]
    if missing:
        raise TagListRejected(
            f"{file}:1: has no column {', '.join(missing)}: "
            "make the list anew with forewarn edge browse URL --csv FILE"
        )
    rows: list[TagRow] = []
    try:
        for cells in reader:
            if len(rows) >= ROWS_MAX:
                raise TagListRejected(f"{file}: has more than {ROWS_MAX} tags: split it")
            if (cells.get("use") or "yes").strip().casefold() in _YES:
                rows.append(_read_row(file, reader.line_num, cells))
    except csv.Error as error:
        raise TagListRejected(f"{file}:{reader.line_num}: is not CSV ({error})") from error
    return rows


def _read_row(file: Path, line: int, cells: Mapping[str, str | None]) -> TagRow:
    values = {name: _unguard((cells.get(name) or "").strip()) for name in _COLUMNS}
    empty = [name for name in _NEEDED if not values[name]]
    if empty:
        raise TagListRejected(f"{file}:{line}: {', '.join(empty)} is empty: fill it in, or say no under use")
    return TagRow(
        use=True,
        machine=values["machine"],
        tag=values["tag"],
        node_id=values["node_id"],
        unit=values["unit"],
        url=values["url"],
        security=values["security"] or "none",
    )


def _guard(text: str) -> str:
    """Keep a spreadsheet from taking a name that comes from a machine for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _unguard(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def _say(number: float | None) -> str:
    return "" if number is None else repr(number)


def make_entries(rows: Iterable[TagRow]) -> dict[str, list[TagRow]]:
    """Return the rows that are in use by machine."""
    machines: dict[str, list[TagRow]] = {}
    for row in rows:
        if row.use:
            machines.setdefault(row.machine, []).append(row)
    return machines


def describe_security(security: str) -> str:
    """Return the line of edge.yaml that asks for this security: `none`, or policy and mode."""
    if security == "none":
        return "allow_insecure: true"
    policy, _, mode = security.partition("/")
    return f"security: {{policy: {policy}, mode: {mode or 'SignAndEncrypt'}}}"


def write_entries(rows: Iterable[TagRow]) -> str:
    """Return the machines as text to paste below `machines:` in edge.yaml."""
    lines: list[str] = []
    for machine, tags in make_entries(rows).items():
        lines += [
            f"  - path: {json.dumps(machine)}",
            "    kind: opcua",
            f"    url: {json.dumps(tags[0].url)}",
            f"    {describe_security(tags[0].security)}",
            "    tags:",
            *(f"      - {write_tag(row)}" for row in tags),
        ]
    return "\n".join([*lines, ""])


def write_tag(row: TagRow) -> str:
    """Return a tag as YAML on one line."""
    # JSON's quoting is YAML's too, and keeps names that YAML would read as something else.
    name, node_id, unit = (json.dumps(text, ensure_ascii=False) for text in (row.tag, row.node_id, row.unit))
    return f"{{name: {name}, node_id: {node_id}{f', unit: {unit}' if row.unit else ''}}}"


def write_table(rows: Sequence[TagRow]) -> str:
    """Return the rows for a person to read."""
    cells = [("machine", "tag", "value", "unit", "range", "type", "status", "node id")]
    cells += [
        (
            row.machine.rpartition("/")[2],
            row.tag,
            row.value[:24],
            row.unit,
            "" if row.low is None or row.high is None else f"{row.low:g} to {row.high:g}",
            row.type,
            quality.describe(row.status),
            row.node_id,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
