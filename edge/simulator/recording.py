"""Reads a recording of a machine from CSV, or says which file, line and column is wrong."""

import csv
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from models.errors import ForewarnError

LABEL_COLUMNS = frozenset({"anomaly", "changepoint"})
TIME_COLUMNS = ("timestamp", "datetime", "time", "date")
ROWS_MAX = 5_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RecordingRejected(ForewarnError):
    """The recording cannot be replayed; the message names file, line and column."""

    exit_code = 3


class Recording(msgspec.Struct, frozen=True):
    """Rows of one machine: `columns[tag][i]` was recorded at `timestamps[i]`; NaN where the cell is empty.

    `timestamps` are nanoseconds since 1970 UTC, strictly ascending.
    """

    timestamps: Sequence[int]
    columns: Mapping[str, Sequence[float]]

    def __len__(self) -> int:
        return len(self.timestamps)

    def row(self, index: int) -> dict[str, float]:
        """Return the values of one row by tag."""
        return {tag: values[index] for tag, values in self.columns.items()}


def read_recording(file: Path, wanted: Sequence[str] = ()) -> Recording:
    """Return the `wanted` columns of a CSV file (all but time and labels when none are named).

    The separator is a semicolon, a comma or a tab; times are ISO 8601 (UTC where no zone is said) or seconds,
    milliseconds, microseconds or nanoseconds since 1970. Raises `RecordingRejected`.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            header = opened.readline()
            separator = max(";,\t", key=header.count)
            opened.seek(0)
            return _read_rows(file, csv.reader(opened, delimiter=separator), wanted)
    except OSError as error:
        raise RecordingRejected(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecordingRejected(f"{file}: is not UTF-8 text (byte {error.start})") from error
    except csv.Error as error:
        raise RecordingRejected(f"{file}: is not CSV ({error})") from error


def _read_rows(file: Path, rows: Iterator[list[str]], wanted: Sequence[str]) -> Recording:
    header = [name.strip() for name in next(rows, [])]
    time_at, places = _choose_columns(file, header, wanted)
    timestamps: array[int] = array("q")
    columns: dict[str, array[float]] = {tag: array("d") for tag in places}
    for line, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise RecordingRejected(f"{file}:{line}: has {len(cells)} cells, the header has {len(header)}")
        if len(timestamps) == ROWS_MAX:
            raise RecordingRejected(f"{file}:{line}: more than {ROWS_MAX} rows: split the file")
        timestamp = _parse_time(cells[time_at], f"{file}:{line}: column {header[time_at]!r}")
        if timestamps and timestamp <= timestamps[-1]:
            raise RecordingRejected(
                f"{file}:{line}: column {header[time_at]!r}: {cells[time_at]} is not after the row before"
            )
        timestamps.append(timestamp)
        for tag, place in places.items():
            columns[tag].append(_parse_number(cells[place], f"{file}:{line}: column {tag!r}"))
    if not timestamps:
        raise RecordingRejected(f"{file}: has no rows below its header")
    return Recording(timestamps, columns)


def _choose_columns(file: Path, header: list[str], wanted: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Return where the time stands, and where each tag to replay."""
    if not any(header):
        raise RecordingRejected(f"{file}:1: has no header")
    for name in header:
        if header.count(name) > 1:
            raise RecordingRejected(f"{file}:1: column {name!r} stands {header.count(name)} times")
    folded = [name.casefold() for name in header]
    time_at = next((folded.index(name) for name in TIME_COLUMNS if name in folded), 0)
    offered = [
        name for at, name in enumerate(header) if at != time_at and name.casefold() not in LABEL_COLUMNS
    ]
    for name in wanted:
        if name not in header:
            raise RecordingRejected(f"{file}:1: has no column {name!r}; it has {', '.join(header)}")
    chosen = list(wanted) or offered
    if not chosen:
        raise RecordingRejected(f"{file}:1: has no column but {', '.join(header)}")
    return time_at, {name: header.index(name) for name in chosen}


def _parse_time(text: str, where: str) -> int:
    try:
        return _count_ns(datetime.fromisoformat(text.strip()))
    except ValueError:
        pass
    try:
        number = float(text)
        scale = next(scale for limit, scale in _EPOCH_SCALES if abs(number) < limit)
        return int(text) * scale if text.strip().lstrip("-").isdigit() else round(number * scale)
    except (ValueError, StopIteration) as error:
        raise RecordingRejected(
            f"{where}: {text!r} is not a time: write 2026-11-23T14:05:00Z or seconds since 1970"
        ) from error


# Seconds, milliseconds, microseconds, nanoseconds: the years 1973 to 5138 in each cannot be mistaken.
_EPOCH_SCALES = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000), (9.2e18, 1))


def _count_ns(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1_000


def _parse_number(text: str, where: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise RecordingRejected(
            f"{where}: {text!r} is not a number (leave it out with --columns, or mend the file)"
        ) from error
