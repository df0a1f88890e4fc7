"""Parquet files with a time column and, per tag, its values and their quality: into a store and out of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types along
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it brings no types along
from numpy.typing import NDArray

from cloud.file_exchange import (
    FileRejected,
    Imported,
    Piece,
    Progress,
    explain_unwritable,
    find_stored,
    order_rows,
    read_tables,
    store_pieces,
)
from cloud.stores import StoredMachine, StoreReader, StoreWriter, Table
from models.telemetry import Column, Frame, MachinePath

GROUP_VALUES_MAX = 1_000_000
PART_VALUES_MAX = 100_000
TIME = "timestamp"
TIME_NAMES = (TIME, "datetime", "time")
QUALITY_END = ".quality"
QUALITY_OF = b"quality_of"
CODE_MAX = 2**32 - 1


class _Layout(msgspec.Struct, frozen=True):
    """Which columns of a file mean what: the tags' values, and by tag its quality."""

    time: str
    tags: list[str]
    quality: dict[str, str]

    def list_columns(self) -> list[str]:
        """Return all columns that are read."""
        return [self.time, *self.tags, *self.quality.values()]


def export_file(
    file: Path,
    machine: MachinePath,
    reader: StoreReader,
    start_ns: int | None,
    end_ns: int | None,
    units: Mapping[str, str],
) -> int:
    """Write the telemetry of `machine` in start_ns <= t < end_ns, row group by row group; return the rows.

    `timestamp` is UTC to the nanosecond; per tag a float64 column, null where there is no number, and its
    OPC UA status codes as `TAG.quality`, null where there is no reading. `units` stand in the fields'
    metadata. Raises `FileRejected`, `StoreUnavailable`; a file that was not finished is taken away.
    """
    stored = find_stored(reader, machine)
    schema, part, rows = _make_schema(stored, units), file.with_name(f"{file.name}.part"), 0
    group_rows = max(1, GROUP_VALUES_MAX // max(1, len(stored.tags)))
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for table in read_tables(reader, stored, start_ns, end_ns):
                writer.write_table(_to_arrow(table, stored.tags, schema), row_group_size=group_rows)
                rows += len(table.timestamps)
        part.replace(file)
    except OSError as error:
        raise explain_unwritable(file, error) from error
    finally:
        part.unlink(missing_ok=True)
    return rows


def import_file(
    file: Path, machine: MachinePath, writer: StoreWriter, columns: Sequence[str] | None, progress: Progress
) -> Imported:
    """Store the columns of a file (None: all), quality too; raise `FileRejected`, `StoreUnavailable`."""
    return store_pieces(read_pieces(file, columns), machine, writer, progress)


def read_pieces(file: Path, columns: Sequence[str] | None) -> Iterator[Piece]:
    """Yield the file part by part; raise `FileRejected`.

    The rows of a part are put in order; of those with one instant the last counts.
    """
    try:
        with pq.ParquetFile(file) as opened:
            layout = _find_layout(file, opened.schema_arrow, columns)
            rows_max = max(1, PART_VALUES_MAX // len(layout.list_columns()))
            done = 0
            for part in opened.iter_batches(batch_size=rows_max, columns=layout.list_columns()):
                if part.num_rows:
                    done += part.num_rows
                    yield _to_piece(f"{file}: row {done:,}", part, layout)
            if not done:
                raise FileRejected(f"{file}: has no rows")
    except pa.ArrowException as error:
        words = str(error).splitlines()[0]
        raise FileRejected(f"{file}: is no Parquet file that can be read ({words}): write it anew") from error
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        raise FileRejected(f"{file}: cannot be read ({said})") from error


def _make_schema(stored: StoredMachine, units: Mapping[str, str]) -> pa.Schema:
    fields = [pa.field(TIME, pa.timestamp("ns", tz="UTC"), nullable=False)]
    taken = {TIME, *stored.tags}
    for tag in stored.tags:
        unit = {b"unit": units[tag].encode()} if units.get(tag) else None
        fields.append(pa.field(tag, pa.float64(), metadata=unit))
    for tag in stored.tags:
        name = tag + QUALITY_END
        while name in taken:
            name += QUALITY_END
        taken.add(name)
        fields.append(pa.field(name, pa.uint32(), metadata={QUALITY_OF: tag.encode()}))
    return pa.schema(fields, metadata={b"machine": str(stored.machine).encode()})


def _to_arrow(table: Table, tags: Sequence[str], schema: pa.Schema) -> pa.Table:
    good = np.zeros(len(table.timestamps), np.uint32)
    values = [table.values[tag] for tag in tags]
    codes = [table.quality.get(tag, good) for tag in tags]
    absent = [np.isnan(column) for column in values]
    arrays = [pa.array(table.timestamps.view("datetime64[ns]"), schema.field(0).type)]
    arrays += [pa.array(column, pa.float64(), mask=none) for column, none in zip(values, absent, strict=True)]
    arrays += [
        pa.array(column, pa.uint32(), mask=none & (column == 0))
        for column, none in zip(codes, absent, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _find_layout(file: Path, schema: pa.Schema, wanted: Sequence[str] | None) -> _Layout:
    """Return what the columns mean; raise `FileRejected`. What is no number is left out, unless wanted."""
    time = _find_time(file, schema)
    of = {field.name: _read_quality_of(field, schema) for field in schema if field.name != time}
    numeric = [name for name, tag in of.items() if not tag and _is_number(schema.field(name).type)]
    absent = [name for name in wanted or () if name not in numeric]
    if absent or not numeric:
        has = ", ".join(map(repr, numeric)) or "none"
        which = f"no column of numbers {absent[0]!r}" if absent else "no column of numbers"
        raise FileRejected(f"{file}: has {which} (it has {has}): say which with --columns")
    tags = list(dict.fromkeys(wanted)) if wanted else numeric
    return _Layout(time, tags, {tag: name for name, tag in of.items() if tag in tags})


def _find_time(file: Path, schema: pa.Schema) -> str:
    stamped = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    named = [name for name in TIME_NAMES if name in stamped]
    if named or len(stamped) == 1:
        return str((named or stamped)[0])
    found = ", ".join(f"{field.name!r} ({field.type})" for field in schema)
    raise FileRejected(f"{file}: has no column {TIME!r} of type timestamp; it has {found}")


def _read_quality_of(field: pa.Field, schema: pa.Schema) -> str:
    """Return the tag whose codes a column holds, else nothing; what we noted may have been dropped."""
    noted = (field.metadata or {}).get(QUALITY_OF)
    if noted is not None:
        return str(noted.decode())
    tag = field.name.removesuffix(QUALITY_END)
    is_ours = any(QUALITY_OF in (one.metadata or {}) for one in schema)
    return tag if not is_ours and tag != field.name and tag in schema.names else ""


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def _to_piece(where: str, part: pa.RecordBatch, layout: _Layout) -> Piece:
    timestamps = _read_times(where, part.column(layout.time))
    repeats, kept = 0, order_rows(timestamps)
    if kept is not None:
        part = part.take(pa.array(kept))
        repeats = len(timestamps) - len(kept)
        timestamps = [timestamps[row] for row in kept]
    alike: dict[bytes, list[str]] = {}
    columns, codes = {}, {}
    for tag in layout.tags:
        columns[tag] = _to_floats(part.column(tag))
        codes[tag] = _read_codes(where, part, layout.quality.get(tag), len(timestamps))
        present = ~np.isnan(columns[tag]) | (codes[tag] != 0)
        alike.setdefault(present.tobytes(), []).append(tag)
    frames = []
    for mask, tags in alike.items():
        rows = np.flatnonzero(np.frombuffer(mask, bool))
        if len(rows):
            frames.append(_make_frame(timestamps, rows, tags, columns, codes))
    return Piece(where, len(timestamps), frames, repeats)


def _make_frame(
    timestamps: Sequence[int],
    rows: NDArray[np.intp],
    tags: Sequence[str],
    columns: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.int64]],
) -> Frame:
    values: dict[str, Column] = {}
    quality: dict[str, dict[int, int]] = {}
    for tag in tags:
        numbers = columns[tag][rows]
        column = values[tag] = numbers.tolist()
        for row in np.flatnonzero(np.isnan(numbers)).tolist():
            column[row] = None
        said = codes[tag][rows]
        if said.any():
            quality[tag] = {row: int(said[row]) for row in np.flatnonzero(said).tolist()}
    return Frame([timestamps[row] for row in rows.tolist()], values, quality)


def _read_times(where: str, column: pa.Array) -> list[int]:
    if column.null_count:
        raise FileRejected(f"{where}: {column.null_count} rows up to here have no time: take them out")
    zone = column.type.tz
    instants: list[int] = column.cast(pa.timestamp("ns", tz=zone)).cast(pa.int64()).to_pylist()
    if min(instants) < 0:
        raise FileRejected(f"{where}: a time up to here is before 1970: mend the file")
    return instants


def _to_floats(column: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    floats: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats


def _read_codes(where: str, part: pa.RecordBatch, name: str | None, rows: int) -> NDArray[np.int64]:
    if name is None:
        return np.zeros(rows, np.int64)
    codes: NDArray[np.int64] = part.column(name).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    if len(codes) and (codes.min() < 0 or codes.max() > CODE_MAX):
        raise FileRejected(f"{where}: {name!r} holds no OPC UA status codes: mend it, or drop the column")
    return codes
