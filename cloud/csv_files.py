"""CSV files with a time column and a column per tag: into a store and out of it, a bounded part at a time."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.file_exchange import (
    Imported,
    Piece,
    Progress,
    explain_unwritable,
    find_stored,
    order_rows,
    read_tables,
    store_pieces,
)
from cloud.stores import StoreReader, StoreWriter
from models.recordings import read_parts
from models.telemetry import Frame, MachinePath

PART_VALUES_MAX = 100_000


def import_file(
    file: Path, machine: MachinePath, writer: StoreWriter, columns: Sequence[str] | None, progress: Progress
) -> Imported:
    """Store the columns of a file (None: all).

    Raises `FileRejected`, `RecordingRejected`, `StoreUnavailable`.
    """
    return store_pieces(read_pieces(file, columns), machine, writer, progress)


def read_pieces(file: Path, columns: Sequence[str] | None) -> Iterator[Piece]:
    """Yield the file part by part; raise `RecordingRejected`.

    The rows of a part are put in order; of those with one instant the last counts.
    """
    for part in read_parts(file, columns, values_max=PART_VALUES_MAX):
        where, kept = f"{file}:{part.lines[-1]}", order_rows(part.timestamps)
        if kept is None:
            frame = Frame(part.timestamps, {**part.columns})
        else:
            frame = Frame(
                [part.timestamps[row] for row in kept],
                {tag: [column[row] for row in kept] for tag, column in part.columns.items()},
            )
        yield Piece(where, len(frame.timestamps), [frame], len(part.lines) - len(frame.timestamps))


def export_file(
    file: Path,
    machine: MachinePath,
    reader: StoreReader,
    start_ns: int | None,
    end_ns: int | None,
    _units: Mapping[str, str],
) -> int:
    """Write the telemetry of `machine` in start_ns <= t < end_ns, a column a tag; return the rows.

    Times are UTC to the nanosecond, numbers the shortest text of the same float; a reading without a number
    is an empty cell. Quality and units are not in the file. Raises `FileRejected`, `StoreUnavailable`.
    """
    stored = find_stored(reader, machine)
    rows = 0
    try:
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(["timestamp", *stored.tags])
            for table in read_tables(reader, stored, start_ns, end_ns):
                columns = [_spell_numbers(table.values[tag]) for tag in stored.tags]
                writer.writerows(zip(_spell_times(table.timestamps), *columns, strict=True))
                rows += len(table.timestamps)
    except OSError as error:
        raise explain_unwritable(file, error) from error
    return rows


def _spell_times(timestamps: NDArray[np.int64]) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(timestamps.view("datetime64[ns]"), unit="ns")]


def _spell_numbers(column: NDArray[np.float64]) -> list[str]:
    return [repr(number) if isfinite(number) else "" for number in column.tolist()]
