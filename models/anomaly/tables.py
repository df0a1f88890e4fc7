"""Files with a column per tag: read them, and score them with a bundle."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle import Bundle
from models.anomaly.grid import NS_PER_S, put_on_grid, step_ns
from models.anomaly.judging import judge_rows
from models.errors import ForewarnError

DELIMITERS = ",;\t"
COLUMNS_NAMED_MAX = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TableRejected(ForewarnError):
    """The file is no table of a machine's values; the message says where and what."""

    exit_code = 3


class TagTable(msgspec.Struct, frozen=True):
    """Columns of a file: `timestamps` (n,) nanoseconds, ascending; `values[tag]` (n,), NaN missing."""

    timestamps: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]

    def head(self, rows: int) -> "TagTable":
        """Return the first rows."""
        return TagTable(self.timestamps[:rows], {tag: column[:rows] for tag, column in self.values.items()})


def read_table(path: Path, columns: Sequence[str] | None) -> TagTable:
    """Return the table in a CSV file: ISO 8601 times in its first column (UTC where no zone is said)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_rows(path, file, columns)
    except OSError as error:
        raise TableRejected(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableRejected(f"{path}: is no CSV file in UTF-8 ({error})") from error


def find_step_s(table: TagTable) -> float:
    """Return the usual distance of two rows in seconds."""
    if len(table.timestamps) < 2:
        raise TableRejected("the file has fewer than two rows: nothing can be learned from it")
    return float(np.median(np.diff(table.timestamps))) / NS_PER_S


def score_table(bundle: Bundle, table: TagTable, *, every: bool) -> Iterator[list[str]]:
    """Yield rows of what the bundle says of the table; only where the state changes unless `every`."""
    missing = [tag for tag in bundle.card.tags if tag not in table.values]
    if missing:
        raise TableRejected(f"the file has no column {missing[0]!r}, which the bundle knows")
    grid = put_on_grid(table.timestamps, table.values, {}, bundle.card.tags, step_ns(bundle.card.grid_s))
    verdict = judge_rows(bundle, grid, len(grid.values))
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


def _read_rows(path: Path, file: TextIO, columns: Sequence[str] | None) -> TagTable:
    heading = file.readline().rstrip("\r\n")
    delimiter = max(DELIMITERS, key=heading.count)
    names = next(csv.reader([heading], delimiter=delimiter), [])[1:]
    wanted = list(columns) if columns else names
    if not names:
        raise TableRejected(f"{path}:1: names no columns: a time column and one column per tag are needed")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        known = ", ".join(names[:COLUMNS_NAMED_MAX])
        raise TableRejected(f"{path}:1: there is no column {unknown[0]!r}; columns are {known}")
    places = [names.index(name) + 1 for name in wanted]
    stamps: list[int] = []
    rows: list[list[float]] = []
    for number, fields in enumerate(csv.reader(file, delimiter=delimiter), start=2):
        if not fields:
            continue
        try:
            stamp = _parse_stamp(fields[0])
            row = [float(fields[place]) if fields[place].strip() else np.nan for place in places]
        except (ValueError, IndexError) as error:
            raise TableRejected(f"{path}:{number}: not a row of times and numbers ({error})") from error
        stamps.append(stamp)
        rows.append(row)
    if not rows:
        raise TableRejected(f"{path}: has no rows")
    times, first = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    matrix = np.array(rows)[first]
    return TagTable(times, {tag: matrix[:, column] for column, tag in enumerate(wanted)})


def _parse_stamp(text: str) -> int:
    instant = datetime.fromisoformat(text.strip())
    delta = (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant) - EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000
