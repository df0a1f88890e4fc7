"""The recording to replay: rows whose times ascend, without labels."""

import math
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from models.recordings import Part, RecordingRejected, read_parts

LABEL_COLUMNS = frozenset({"anomaly", "changepoint"})
ROWS_MAX = 5_000_000


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

    Times may count from any begin: the replay shifts them. Raises `RecordingRejected`.
    """
    timestamps: array[int] = array("q")
    columns: dict[str, array[float]] = {}
    for part in read_parts(file, wanted or None, left_out=LABEL_COLUMNS, earliest_ns=0):
        if len(timestamps) + len(part.lines) > ROWS_MAX:
            line = part.lines[ROWS_MAX - len(timestamps)]
            raise RecordingRejected(f"{file}:{line}: more than {ROWS_MAX:,} rows: split the file")
        _check_order(file, timestamps[-1] if timestamps else -1, part)
        timestamps.extend(part.timestamps)
        for tag, numbers in part.columns.items():
            columns.setdefault(tag, array("d")).extend(
                math.nan if number is None else number for number in numbers
            )
    return Recording(timestamps, columns)


def _check_order(file: Path, before: int, part: Part) -> None:
    for line, timestamp in zip(part.lines, part.timestamps, strict=True):
        if timestamp <= before:
            raise RecordingRejected(
                f"{file}:{line}: its time is not after that of the row before: sort the rows by time"
            )
        before = timestamp
