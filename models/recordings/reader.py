"""Reads a recording part by part: whole columns, each number the nearest float64 of its text."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import TextIO

from models.recordings.header import Layout, choose_columns, find_delimiter, reject_times
from models.recordings.instants import EARLIEST_NS, NotAnInstant, parse_instant
from models.recordings.rejection import RecordingRejected

PART_VALUES_MAX = 100_000
MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})

Number = float | None
"""None where the cell is empty or says that there is no number."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows in the file's order: row i stands at `lines[i]`, was observed at `timestamps[i]` (ns)."""

    lines: list[int]
    timestamps: list[int]
    columns: dict[str, list[Number]]


def read_parts(
    file: Path,
    wanted: Sequence[str] | None = None,
    *,
    left_out: Collection[str] = (),
    earliest_ns: int = EARLIEST_NS,
    values_max: int = PART_VALUES_MAX,
) -> Iterator[Part]:
    """Yield the `wanted` columns (None: all but those `left_out`), some `values_max` values at a time.

    Times need not ascend. Raises `RecordingRejected`, before the first part for a header that is wrong and
    after the last whole part before a line that is.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            heading = opened.readline()
            layout = choose_columns(str(file), heading, wanted, left_out)
            rows = _read_rows(file, heading, opened, layout)
            yield from _read_columns(file, rows, layout, earliest_ns, values_max)
    except OSError as error:
        raise RecordingRejected(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecordingRejected(
            f"{file}{_find_line_of_bytes(file)}: is not UTF-8 text: save it as UTF-8"
        ) from error


def _read_rows(file: Path, heading: str, opened: TextIO, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of its last line."""
    reader = csv.reader(chain([heading], opened), delimiter=find_delimiter(heading))
    width = len(layout.names)
    try:
        next(reader)
        for cells in reader:
            if len(cells) == width and cells[0]:
                yield reader.line_num, cells
            elif any(cells):
                if len(cells) != width:
                    raise RecordingRejected(
                        f"{file}:{reader.line_num}: has {len(cells)} cells, the header has {width}"
                    )
                yield reader.line_num, cells
    except csv.Error as error:
        raise RecordingRejected(f"{file}:{reader.line_num}: is not CSV ({error})") from error


def _read_columns(
    file: Path, rows: Iterator[tuple[int, list[str]]], layout: Layout, earliest_ns: int, values_max: int
) -> Iterator[Part]:
    first = next(rows, None)
    if first is None:
        raise RecordingRejected(f"{file}: has no rows below its header")
    if not layout.is_time_named and not _is_date(first[1][layout.time_at]):
        raise reject_times(str(file), layout)
    rows_max = max(1, values_max // len(layout.places))
    lines: list[int] = []
    cells: list[list[str]] = []
    for line, row in chain([first], rows):
        lines.append(line)
        cells.append(row)
        if len(cells) == rows_max:
            yield _make_part(file, lines, cells, layout, earliest_ns)
            lines, cells = [], []
    if cells:
        yield _make_part(file, lines, cells, layout, earliest_ns)


def _make_part(
    file: Path, lines: list[int], rows: Sequence[list[str]], layout: Layout, earliest_ns: int
) -> Part:
    columns = list(zip(*rows, strict=True))
    timestamps = []
    for line, cell in zip(lines, columns[layout.time_at], strict=True):
        try:
            timestamps.append(parse_instant(cell, earliest_ns))
        except NotAnInstant as error:
            raise RecordingRejected(f"{file}:{line} column {layout.time_name!r}: {error}") from error
    numbers = {name: _parse_column(columns[at], file, lines, name) for name, at in layout.places.items()}
    return Part(lines, timestamps, numbers)


def _parse_column(cells: Sequence[str], file: Path, lines: Sequence[int], name: str) -> list[Number]:
    try:
        numbers = [float(cell) for cell in cells]
        if isfinite(sum(numbers)):
            return list(numbers)
    except ValueError:
        pass  # an empty cell, or a mistake: look at each
    return [_parse_cell(cell, file, line, name) for line, cell in zip(lines, cells, strict=True)]


def _parse_cell(cell: str, file: Path, line: int, name: str) -> Number:
    text = cell.strip()
    if text.lower() in MISSING:
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
    raise RecordingRejected(f"{file}:{line} column {name!r}: {text[:80]!r} is not a number: {mend}")


def _is_date(cell: str) -> bool:
    return re.match(r"\s*\d{4}-\d\d-\d\d", cell) is not None


def _find_line_of_bytes(file: Path) -> str:
    if not file.is_file():  # what came through a pipe cannot be read again
        return ""
    with file.open("rb") as opened:
        for line, text in enumerate(opened, start=1):
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                return f":{line}"
    return ""
