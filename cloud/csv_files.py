"""CSV files with a time column and a column per tag: into a store and out of it, a bounded part at a time."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.stores import Block, StoreReader, StoreUnavailable, StoreWriter
from models.errors import ForewarnError
from models.telemetry import Frame, MachinePath, count_values
from models.telemetry.batch import TAG_NAME_CHARS_MAX, TIMESTAMP_NS_MAX, Value

TIME_COLUMNS = ("timestamp", "datetime", "time", "date")
DELIMITERS = ",;\t"
PART_VALUES_MAX = 100_000
SPAN_NS = 6 * 3600 * 1_000_000_000
"""How much is read from the store at once when a file is written."""
NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_TEXT = re.compile(r"\d{9,19}")
_EPOCH_SCALES = ((11, NS_PER_S), (14, 1_000_000), (17, 1_000), (19, 1))
_LONG_FRACTION = re.compile(r"(.*[.,]\d{6})(\d{1,3})(\D.*)?")

Progress = Callable[[int], None]
"""Called with the number of rows so far."""


class CsvRejected(ForewarnError):
    """The file is not a table of times and numbers; the message names line and column and the mend."""

    exit_code = 3


class Imported(msgspec.Struct, frozen=True):
    """What an import stored; `repeats` are rows whose instant a later row of the file has too."""

    rows: int
    values: int
    repeats: int
    first_ns: int
    last_ns: int


def import_csv(
    file: Path, machine: MachinePath, writer: StoreWriter, columns: Sequence[str] | None, progress: Progress
) -> Imported:
    """Store the columns of a file (None: all) as telemetry of `machine`.

    An import that broke off may be run again: what it stored already is overwritten with itself.
    """
    rows = values = repeats = 0
    first_ns, last_ns = TIMESTAMP_NS_MAX, 0
    try:
        for line, frame, repeated in read_frames(file, columns):
            _store(writer, Block("telemetry", machine, [frame]), f"{file}:{line}")
            rows += len(frame.timestamps)
            values += count_values([frame])
            repeats += repeated
            first_ns, last_ns = min(first_ns, frame.timestamps[0]), max(last_ns, frame.timestamps[-1])
            progress(rows)
    except (CsvRejected, StoreUnavailable) as error:
        if not rows:
            raise
        stored = f"the first {rows:,} rows are stored: run the same import again after the mend"
        raise type(error)(f"{error}\n{stored}") from error
    if not rows:
        raise CsvRejected(f"{file}: has no rows below its header")
    return Imported(rows, values, repeats, first_ns, last_ns)


def _store(writer: StoreWriter, block: Block, where: str) -> None:
    for rejection in writer.write([block]):
        raise CsvRejected(f"{where}: the store refused rows up to here: {rejection.reason}")


def read_frames(file: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, Frame, int]]:
    """Yield (last line, frame, rows left out as repeats) for each part of the file; raise `CsvRejected`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            heading = opened.readline()
            reader = csv.reader(opened, delimiter=max(DELIMITERS, key=heading.count))
            names = next(csv.reader([heading], delimiter=max(DELIMITERS, key=heading.count)), [])
            layout = choose_columns(str(file), [name.strip() for name in names], columns)
            yield from _read_parts(file, reader, layout)
    except OSError as error:
        raise CsvRejected(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CsvRejected(f"{file}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except csv.Error as error:
        raise CsvRejected(f"{file}: is not CSV ({error})") from error


class Layout(msgspec.Struct, frozen=True):
    """Where the time and each tag stand in a row."""

    time_at: int
    places: dict[str, int]
    names: list[str]


def choose_columns(file: str, names: Sequence[str], wanted: Sequence[str] | None) -> Layout:
    """Return where the columns stand; raise `CsvRejected` for a header that cannot be meant so."""
    times = [at for at, name in enumerate(names) if name.lower() in TIME_COLUMNS]
    if not times:
        raise CsvRejected(
            f"{file}:1: no column of times: call it timestamp (found: {', '.join(map(repr, names[:20]))})"
        )
    others = [at for at in range(len(names)) if at != times[0]]
    chosen = others if wanted is None else [at for at in others if names[at] in wanted]
    for name in wanted or ():
        if name not in names:
            raise CsvRejected(f"{file}:1: there is no column {name!r} (found: {', '.join(names[:20])})")
    places: dict[str, int] = {}
    for at in chosen:
        name, where = names[at], f"{file}:1 column {at + 1}"
        if not (0 < len(name) <= TAG_NAME_CHARS_MAX and name.isprintable()):
            raise CsvRejected(
                f"{where}: {name[:80]!r} cannot be a tag, which has 1 to {TAG_NAME_CHARS_MAX} printable "
                "characters: name the column, or leave it out with --columns"
            )
        if name in places:
            raise CsvRejected(f"{where}: {name!r} stands twice: rename one of the columns")
        places[name] = at
    if not places:
        raise CsvRejected(f"{file}:1: there is no column beside the times")
    return Layout(times[0], places, list(names))


def _read_parts(file: Path, reader: Iterator[list[str]], layout: Layout) -> Iterator[tuple[int, Frame, int]]:
    rows_max = max(1, PART_VALUES_MAX // len(layout.places))
    lines: list[int] = []
    rows: list[list[str]] = []
    for line, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) != len(layout.names):
            raise CsvRejected(f"{file}:{line}: has {len(cells)} columns, the header has {len(layout.names)}")
        lines.append(line)
        rows.append(cells)
        if len(rows) == rows_max:
            yield (line, *_make_frame(file, lines, rows, layout))
            lines, rows = [], []
    if rows:
        yield (lines[-1], *_make_frame(file, lines, rows, layout))


def _make_frame(
    file: Path, lines: Sequence[int], rows: Sequence[list[str]], layout: Layout
) -> tuple[Frame, int]:
    columns = list(zip(*rows, strict=True))
    instants = [
        parse_instant(text, f"{file}:{line} column {layout.names[layout.time_at]!r}")
        for line, text in zip(lines, columns[layout.time_at], strict=True)
    ]
    values = {tag: _parse_column(columns[at], file, lines, tag) for tag, at in layout.places.items()}
    latest = {instant: row for row, instant in enumerate(instants)}
    ordered = sorted(latest)
    if ordered == instants:
        return Frame(instants, values), 0
    keep = [latest[instant] for instant in ordered]
    kept: dict[str, list[Value]] = {tag: [column[row] for row in keep] for tag, column in values.items()}
    return Frame(ordered, kept), len(instants) - len(ordered)


def _parse_column(cells: Sequence[str], file: Path, lines: Sequence[int], tag: str) -> list[Value]:
    try:
        numbers = [float(cell) for cell in cells]
        if isfinite(sum(numbers)):
            return list(numbers)
    except ValueError:
        pass  # an empty cell, or a mistake: look at each
    return [
        _parse_cell(cell, f"{file}:{line} column {tag!r}") for line, cell in zip(lines, cells, strict=True)
    ]


def _parse_cell(cell: str, where: str) -> Value:
    text = cell.strip()
    if not text or text.lower() in ("nan", "null", "none", "na"):
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("inf")
    if isfinite(number):
        return number
    mend = (
        "write decimals with a point"
        if re.fullmatch(r"-?\d+,\d+", text)
        else "mend the line, or leave the column out with --columns"
    )
    raise CsvRejected(f"{where}: {text[:80]!r} is not a number: {mend}")


def parse_instant(text: str, where: str) -> int:
    """Return nanoseconds since 1970 of ISO 8601 (UTC where no zone is said), or of a count since 1970.

    A whole number is taken as seconds, milliseconds, microseconds or nanoseconds by its size.
    """
    text = text.strip()
    if _EPOCH_TEXT.fullmatch(text):
        return int(text) * next(scale for digits, scale in _EPOCH_SCALES if len(text) <= digits)
    rest_ns = 0
    # datetime stops at microseconds without a word.
    if (fine := _LONG_FRACTION.fullmatch(text)) is not None:
        rest_ns = int(fine[2].ljust(3, "0"))
        text = fine[1] + (fine[3] or "")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise CsvRejected(
            f"{where}: {text[:80]!r} is not a time: write 2026-11-23T08:00:00Z, or nanoseconds since 1970"
        ) from error
    delta = (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant) - _EPOCH
    nanoseconds = (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000 + rest_ns
    if not 0 < nanoseconds <= TIMESTAMP_NS_MAX:
        raise CsvRejected(f"{where}: {text[:80]!r} is not between 1970 and 2262")
    return nanoseconds


def export_csv(
    file: Path, machine: MachinePath, reader: StoreReader, start_ns: int | None, end_ns: int | None
) -> int:
    """Write the telemetry of `machine` in start_ns <= t < end_ns, a column a tag; return the rows.

    Times are UTC to the nanosecond, numbers the shortest text of the same float; a reading without a number
    is an empty cell, and its quality is not in the file.
    """
    stored = next((one for one in reader.list_machines() if one.machine == machine), None)
    if stored is None:
        raise CsvRejected(f"the store has no values of {machine}")
    start = stored.first_ns if start_ns is None else max(start_ns, stored.first_ns)
    end = stored.last_ns + 1 if end_ns is None else min(end_ns, stored.last_ns + 1)
    rows = 0
    try:
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(["timestamp", *stored.tags])
            while start < end:
                table = reader.read("telemetry", machine, start, min(end, start + SPAN_NS), stored.tags)
                columns = [_spell_numbers(table.values[tag]) for tag in stored.tags]
                writer.writerows(zip(_spell_times(table.timestamps), *columns, strict=True))
                rows += len(table.timestamps)
                start += SPAN_NS
    except OSError as error:
        raise CsvRejected(f"{file}: cannot be written ({error.strerror})") from error
    return rows


def describe_span(first_ns: int, last_ns: int) -> str:
    """Return `2026-11-23 02:00:00 to 2026-11-23 03:00:00 UTC`."""
    first, last = (
        datetime.fromtimestamp(instant // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for instant in (first_ns, last_ns)
    )
    return f"{first} to {last} UTC"


def _spell_times(timestamps: NDArray[np.int64]) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(timestamps.view("datetime64[ns]"), unit="ns")]


def _spell_numbers(column: NDArray[np.float64]) -> list[str]:
    return [repr(number) if isfinite(number) else "" for number in column.tolist()]
