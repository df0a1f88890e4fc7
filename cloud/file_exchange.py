"""What files of recordings share, whatever their format: their way into a store, and out of it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from cloud.stores import Block, StoredMachine, StoreReader, StoreUnavailable, StoreWriter, Table
from models.errors import ForewarnError
from models.recordings import LATEST_NS, RecordingRejected
from models.telemetry import Frame, MachinePath, count_values

READ_VALUES_MAX = 1_000_000
"""About as many values are read from the store at once."""
FIRST_SPAN_NS = 600_000_000_000
SPAN_NS_MAX = 30 * 86_400_000_000_000
SPAN_NS_MIN = 1_000_000_000

Progress = Callable[[int], None]
"""Called with the number of rows so far."""


class FileRejected(ForewarnError):
    """The store has or takes nothing of the kind, or the file cannot be written; the message says which."""

    exit_code = 3


class Piece(msgspec.Struct, frozen=True):
    """Some rows of a file as frames; `repeats` were left out for a later row of the same instant.

    `where` names the file and its last line or row here.
    """

    where: str
    rows: int
    frames: list[Frame]
    repeats: int = 0


class Imported(msgspec.Struct, frozen=True):
    """What an import stored; `repeats` are rows whose instant a later row of the file has too."""

    rows: int
    values: int
    repeats: int
    first_ns: int
    last_ns: int


def store_pieces(
    pieces: Iterable[Piece], machine: MachinePath, writer: StoreWriter, progress: Progress
) -> Imported:
    """Store the pieces of a file as telemetry of `machine`.

    An import that broke off may be run again: what it stored already is overwritten with itself.
    """
    rows = values = repeats = 0
    first_ns, last_ns = LATEST_NS, 0
    try:
        for piece in pieces:
            _store(writer, Block("telemetry", machine, piece.frames), piece.where)
            rows += piece.rows
            values += count_values(piece.frames)
            repeats += piece.repeats
            first_ns = min([first_ns, *(frame.timestamps[0] for frame in piece.frames)])
            last_ns = max([last_ns, *(frame.timestamps[-1] for frame in piece.frames)])
            progress(rows)
    except (FileRejected, RecordingRejected, StoreUnavailable) as error:
        if not rows:
            raise
        stored = f"the first {rows:,} rows are stored: run the same import again after the mend"
        raise type(error)(f"{error}\n{stored}") from error
    if not last_ns:
        raise FileRejected("the file has times, but no number at any of them: nothing is stored")
    return Imported(rows, values, repeats, first_ns, last_ns)


def _store(writer: StoreWriter, block: Block, where: str) -> None:
    for rejection in writer.write([block]):
        raise FileRejected(f"{where}: the store refused rows up to here: {rejection.reason}")


def find_stored(reader: StoreReader, machine: MachinePath) -> StoredMachine:
    """Return what the store knows of `machine`; raise `FileRejected` when that is nothing."""
    stored = next((one for one in reader.list_machines() if one.machine == machine), None)
    if stored is None:
        raise FileRejected(f"the store has no values of {machine}")
    return stored


def read_tables(
    reader: StoreReader, stored: StoredMachine, start_ns: int | None, end_ns: int | None
) -> Iterator[Table]:
    """Yield the telemetry in start_ns <= t < end_ns in time order, about `READ_VALUES_MAX` values at a time.

    How long a span that is depends on the machine; it is learned on the way. Raises `StoreUnavailable`.
    """
    start = stored.first_ns if start_ns is None else max(start_ns, stored.first_ns)
    end = stored.last_ns + 1 if end_ns is None else min(end_ns, stored.last_ns + 1)
    span = FIRST_SPAN_NS
    while start < end:
        table = reader.read("telemetry", stored.machine, start, min(end, start + span), stored.tags)
        start += span
        span = choose_span(span, len(table.timestamps) * max(1, len(stored.tags)))
        if len(table.timestamps):
            yield table


def choose_span(span_ns: int, values: int) -> int:
    """Return the length of the next span to read, after `values` were found in one of `span_ns`."""
    if values > READ_VALUES_MAX:
        return max(SPAN_NS_MIN, span_ns * READ_VALUES_MAX // values)
    if values < READ_VALUES_MAX // 2:
        return min(SPAN_NS_MAX, span_ns * 2)
    return span_ns


def explain_unwritable(file: Path, error: OSError) -> FileRejected:
    """Return why `file` cannot be written, for a person."""
    said = os.strerror(error.errno) if error.errno else str(error)
    return FileRejected(f"{file}: cannot be written ({said}): check the folder, its rights and room")


def order_rows(timestamps: Sequence[int]) -> list[int] | None:
    """Return which rows to keep, in the order of their instants: of equal ones the last; None: all, as is."""
    if all(one < other for one, other in pairwise(timestamps)):
        return None
    latest = {instant: row for row, instant in enumerate(timestamps)}
    return [latest[instant] for instant in sorted(latest)]
