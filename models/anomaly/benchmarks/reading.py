"""Reads data sets in their own layouts: plain numbers, CSV with odd columns; mistakes by file and line."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.detectors import TrainingRejected
from models.anomaly.features import Mask, Matrix, Vector
from models.errors import ForewarnError

DELIMITERS = ",;\t"
MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "?"})
STATES = {"true": 1.0, "on": 1.0, "yes": 1.0, "false": 0.0, "off": 0.0, "no": 0.0}
TAUGHT_SHARE_MIN = 0.5
"""A column that has values in fewer of the rows to learn from is left out."""


class FileRejected(ForewarnError):
    """A file is not what its data set's layout says; the message names file, line and the mend."""

    exit_code = 3


class Cells(msgspec.Struct, frozen=True):
    """A CSV file as text: `names` (none where its first line is a row), rows, the line of each."""

    file: Path
    names: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, place: int) -> Vector:
        """Return a column as numbers, NaN where a cell says that there is none; raise `FileRejected`."""
        return np.array(
            [self._number(row[place], line, place) for row, line in zip(self.rows, self.lines, strict=True)]
        )

    def _number(self, cell: str, line: int, place: int) -> float:
        number = parse_number(cell)
        if number is None:
            name = self.names[place] if self.names else place + 1
            raise FileRejected(
                f"{self.file}:{line} column {name!r}: {cell[:80]!r} is not a number: mend the line, "
                "or leave the cell empty"
            )
        return number


def parse_number(cell: str) -> float | None:
    """Return the number a cell says: NaN for none, 1 and 0 for on and off; None for other words."""
    text = cell.strip().lower()
    if text in MISSING:
        return float("nan")
    if text in STATES:
        return STATES[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else float("nan")


def read_heading(file: Path) -> list[str]:
    """Return the cells of a file's first line; none where it cannot be read as text."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            heading = lines.readline(65_536).strip()
    except OSError:
        return []
    return [cell.strip() for cell in next(csv.reader([heading], delimiter=_find_delimiter(heading)), [])]


def read_cells(file: Path) -> Cells:
    """Return the rows of a CSV file that are not blank; raise `FileRejected`."""
    text = _read_text(file)
    delimiter = _find_delimiter(text.partition("\n")[0])
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise FileRejected(f"{file}:{reader.line_num}: is not CSV ({error}): mend the line") from error
    has_names = bool(rows) and not any(_is_measured(cell) for cell in rows[0])
    names = [name.strip() for name in rows[0]] if has_names else []
    if len(rows) < 1 + has_names:
        raise FileRejected(f"{file}: has no rows: leave it out, or copy it again")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise FileRejected(
                f"{file}:{line}: has {len(row)} cells, the first line has {len(rows[0])}: mend the line"
            )
    return Cells(file, names, rows[has_names:], lines[has_names:])


def read_numbers(file: Path) -> Matrix:
    """Return a table of plain numbers (rows, columns), parted by blanks, commas or semicolons.

    A first line of names is passed over. Raises `FileRejected`.
    """
    lines = _read_text(file).replace(",", " ").replace(";", " ").splitlines()
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if rows and not any(_is_measured(cell) for cell in rows[0][1]):
        del rows[0]
    if not rows:
        raise FileRejected(f"{file}: has no rows: leave it out, or copy it again")
    width = len(rows[0][1])
    table = np.empty((len(rows), width))
    for place, (number, row) in enumerate(rows):
        if len(row) != width:
            raise FileRejected(
                f"{file}:{number}: has {len(row)} numbers, the first line has {width}: mend the line"
            )
        try:
            table[place] = row
        except ValueError:  # a word: which one, and does it say that there is no number?
            table[place] = [_read_number(file, number, cell) for cell in row]
    return np.where(np.isfinite(table), table, np.nan)


def find_taught(rows: Matrix) -> Mask:
    """Return the columns (tags,) that have values in enough of the rows (rows, tags) to learn from."""
    taught: Mask = np.isfinite(rows).mean(axis=0) >= TAUGHT_SHARE_MIN
    return taught


def find_varying(rows: Matrix) -> Mask:
    """Return the columns (tags,) that have values in enough of the rows, and not always the same."""
    known = np.isfinite(rows)
    highest = np.where(known, rows, -np.inf).max(axis=0)
    lowest = np.where(known, rows, np.inf).min(axis=0)
    varying: Mask = find_taught(rows) & (highest > lowest)
    return varying


def is_count(column: Vector) -> bool:
    """Return whether a column always rises or always falls: an index, or time, which is no feature."""
    steps = np.diff(column)
    return len(steps) > 1 and bool((steps > 0.0).all() or (steps < 0.0).all())


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Say which file it is that is not enough to learn from."""
    try:
        yield
    except TrainingRejected as error:
        raise FileRejected(f"{file}: {error}, or leave the file out of the folder") from error


def need_columns(file: Path, kept: Mask) -> Mask:
    """Return `kept`; raise `FileRejected` where no column is."""
    if not kept.any():
        raise FileRejected(f"{file}: no column has values that vary: nothing can be learned from it")
    return kept


def list_visible(files: Sequence[Path]) -> list[Path]:
    """Return the files in order, without those that an archive or an editor hid beside them."""
    return sorted(file for file in files if not file.name.startswith("."))


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileRejected(f"{file}: cannot be read ({error.strerror}): mend it or leave it out") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileRejected(f"{file}:{line}: is not UTF-8 text: save it as UTF-8, or leave it out") from error


def _find_delimiter(heading: str) -> str:
    return max(DELIMITERS, key=heading.count)


def _is_measured(cell: str) -> bool:
    number = parse_number(cell)
    return number is not None and bool(np.isfinite(number))


def _read_number(file: Path, line: int, cell: str) -> float:
    number = parse_number(cell)
    if number is None:
        raise FileRejected(f"{file}:{line}: {cell[:80]!r} is not a number: mend the line")
    return number
