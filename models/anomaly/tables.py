"""Files with a column per tag: read them, and score them with a bundle."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import Bundle
from models.anomaly.grid import NS_PER_S, put_on_grid, step_ns
from models.anomaly.judging import Verdict, judge_rows
from models.errors import ForewarnError
from models.recordings import read_parts


class TableRejected(ForewarnError):
    """The table is not enough to learn from, or not what the bundle knows; the message says what lacks."""

    exit_code = 3


class TagTable(msgspec.Struct, frozen=True):
    """Columns of a file: `timestamps` (n,) nanoseconds, ascending; `values[tag]` (n,), NaN missing."""

    timestamps: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]

    def head(self, rows: int) -> "TagTable":
        """Return the first rows."""
        return TagTable(self.timestamps[:rows], {tag: column[:rows] for tag, column in self.values.items()})


def read_table(path: Path, columns: Sequence[str] | None) -> TagTable:
    """Return the columns of a CSV file, ascending; of rows with one instant the last counts.

    Raises `RecordingRejected`.
    """
    stamps: list[NDArray[np.int64]] = []
    columns_read: dict[str, list[NDArray[np.float64]]] = {}
    for part in read_parts(path, columns):
        stamps.append(np.array(part.timestamps, dtype=np.int64))
        for tag, numbers in part.columns.items():
            columns_read.setdefault(tag, []).append(np.array(numbers, dtype=np.float64))
    times, from_end = np.unique(np.concatenate(stamps)[::-1], return_index=True)
    return TagTable(
        times, {tag: np.concatenate(pieces)[::-1][from_end] for tag, pieces in columns_read.items()}
    )


def find_step_s(table: TagTable) -> float:
    """Return the usual distance of two rows in seconds."""
    if len(table.timestamps) < 2:
        raise TableRejected("the file has fewer than two rows: nothing can be learned from it")
    return float(np.median(np.diff(table.timestamps))) / NS_PER_S


def judge_table(bundle: Bundle, table: TagTable) -> Verdict:
    """Return the verdict on every row of the table's grid; raise `TableRejected`."""
    missing = [tag for tag in bundle.card.columns if tag not in table.values]
    if missing:
        raise TableRejected(f"the file has no column {missing[0]!r}, which the bundle knows")
    grid = put_on_grid(table.timestamps, table.values, {}, bundle.card.columns, step_ns(bundle.card.grid_s))
    return judge_rows(bundle, grid, len(grid.values))


def score_table(bundle: Bundle, table: TagTable, *, every: bool) -> Iterator[list[str]]:
    """Yield rows of what the bundle says of the table; only where the state changes unless `every`."""
    verdict = judge_table(bundle, table)
    yield ["time", "score", "limit", "strange", "tags"]
    before: bool | None = None
    for row, timestamp in enumerate(verdict.timestamps.tolist()):
        score = float(verdict.judgement.score[row])
        strange = score > verdict.limit
        if every or strange != before:
            instant = datetime.fromtimestamp(timestamp / NS_PER_S, UTC).isoformat(timespec="milliseconds")
            tags = "; ".join(cause.tag for cause in verdict.name_causes(row)) if strange else ""
            yield [instant, f"{score:.4f}", f"{verdict.limit:.4f}", str(int(strange)), tags]
        before = strange
