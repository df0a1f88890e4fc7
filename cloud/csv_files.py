"""CSV files with a time column and a column per tag: into a store and out of it, a bounded part at a time."""

import csv
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.stores import Block, StoreReader, StoreUnavailable, StoreWriter
from models.errors import ForewarnError
from models.recordings import LATEST_NS, RecordingRejected, read_parts
from models.telemetry import Frame, MachinePath, Value, count_values

PART_VALUES_MAX = 100_000
SPAN_NS = 6 * 3600 * 1_000_000_000
"""How much is read from the store at once when a file is written."""

Progress = Callable[[int], None]
"""Called with the number of rows so far."""


class CsvRejected(ForewarnError):
    """The store has or takes nothing of the kind, or the file cannot be written; the message says which."""

    exit_code = 3


class Imported(msgspec.Struct, frozen=True):
    """What an import stored; `repeats` are rows whose instant a later row of the file has too."""

    rows: int
    values: int
    repeats: int
    first_ns: int
    last_ns: int


def refuse_parquet(file: Path) -> None:
    """Raise `CsvRejected` for a Parquet file: that needs a library which is not part of Forewarn."""
    if file.suffix.lower() in (".parquet", ".pq"):
        raise CsvRejected(
            f"{file}: Parquet cannot be read or written here, since that needs pyarrow, which Forewarn does "
            f"not bring along: say {file.with_suffix('.csv').name}"
        )


def import_csv(
    file: Path, machine: MachinePath, writer: StoreWriter, columns: Sequence[str] | None, progress: Progress
) -> Imported:
    """Store the columns of a file (None: all) as telemetry of `machine`.

    An import that broke off may be run again: what it stored already is overwritten with itself.
    """
    refuse_parquet(file)
    rows = values = repeats = 0
    first_ns, last_ns = LATEST_NS, 0
    try:
        for line, frame, repeated in read_frames(file, columns):
            _store(writer, Block("telemetry", machine, [frame]), f"{file}:{line}")
            rows += len(frame.timestamps)
            values += count_values([frame])
            repeats += repeated
            first_ns, last_ns = min(first_ns, frame.timestamps[0]), max(last_ns, frame.timestamps[-1])
            progress(rows)
    except (CsvRejected, RecordingRejected, StoreUnavailable) as error:
        if not rows:
            raise
        stored = f"the first {rows:,} rows are stored: run the same import again after the mend"
        raise type(error)(f"{error}\n{stored}") from error
    return Imported(rows, values, repeats, first_ns, last_ns)


def _store(writer: StoreWriter, block: Block, where: str) -> None:
    for rejection in writer.write([block]):
        raise CsvRejected(f"{where}: the store refused rows up to here: {rejection.reason}")


def read_frames(file: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, Frame, int]]:
    """Yield (last line, frame, rows left out as repeats) for each part; raise `RecordingRejected`.

    The rows of a part are put in order; of those with one instant the last counts.
    """
    for part in read_parts(file, columns, values_max=PART_VALUES_MAX):
        latest = {instant: row for row, instant in enumerate(part.timestamps)}
        ordered = sorted(latest)
        if ordered == part.timestamps:
            yield part.lines[-1], Frame(ordered, part.columns), 0
            continue
        keep = [latest[instant] for instant in ordered]
        kept: dict[str, list[Value]] = {
            tag: [column[row] for row in keep] for tag, column in part.columns.items()
        }
        yield part.lines[-1], Frame(ordered, kept), len(part.lines) - len(ordered)


def export_csv(
    file: Path, machine: MachinePath, reader: StoreReader, start_ns: int | None, end_ns: int | None
) -> int:
    """Write the telemetry of `machine` in start_ns <= t < end_ns, a column a tag; return the rows.

    Times are UTC to the nanosecond, numbers the shortest text of the same float; a reading without a number
    is an empty cell, and its quality is not in the file.
    """
    refuse_parquet(file)
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


def _spell_times(timestamps: NDArray[np.int64]) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(timestamps.view("datetime64[ns]"), unit="ns")]


def _spell_numbers(column: NDArray[np.float64]) -> list[str]:
    return [repr(number) if isfinite(number) else "" for number in column.tolist()]
