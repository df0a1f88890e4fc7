"""C-MAPSS engines: their files, and the conditions of flight that their settings tell."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.protocol import find_below
from models.anomaly.benchmarks.reading import FileRejected, find_varying, read_numbers
from models.anomaly.features import Matrix, Vector
from models.anomaly.regimes import SCALE_MIN, SCALE_SHARE_MIN, UNKNOWN, Numbers, Regimes

COLUMNS_MIN = 6
SETTINGS = 3
"""The first columns of an engine's cycles: altitude, Mach number and throttle, the load of the flight."""
LEVEL_GAP_SHARE = 0.02
"""Of a setting's range: a level is as far from the next one, and less lies between them."""
LEVEL_ROWS_MIN = 20
EXPLAINED_MIN = 0.5
"""Levels are conditions only where measurements follow them: with this share of their variance (median)."""


class Engine(msgspec.Struct, frozen=True):
    """One engine: `cycles` (cycles, settings and measurements), and how many it had left after the last."""

    name: str
    cycles: Matrix
    left: int


class Flights(msgspec.Struct, frozen=True):
    """Conditions of flight: levels of settings, parted by `bounds`; `regimes` is None where there is one."""

    bounds: list[Vector]
    regimes: Regimes | None

    def standardise(self, cycles: Matrix) -> Matrix:
        """Return `cycles` in units of their condition of flight, NaN in an unknown one; or as they are."""
        if self.regimes is None:
            return cycles
        return self.regimes.standardise(cycles, number_levels(cycles, self.bounds))


def find_engine_files(folder: Path) -> list[Path]:
    """Return the files of engines that failed, and those of engines cut short whose remainder is known."""
    failed = find_below(folder, "cmapss", "train_FD*.txt")
    cut = [
        file
        for file in find_below(folder, "cmapss", "test_FD*.txt")
        if find_remainder(file).is_file() and _rename(file, "test", "train") not in failed
    ]
    return [*failed, *cut]


def find_cut(file: Path) -> Path | None:
    """Return the test file that belongs to a file of failed engines, where its remainder lies there too."""
    cut = _rename(file, "train", "test")
    return cut if cut != file and cut.is_file() and find_remainder(cut).is_file() else None


def find_remainder(cut: Path) -> Path:
    """Return where the cycles left of a test file's engines would stand."""
    return _rename(cut, "test", "RUL")


def _rename(file: Path, kind: str, other: str) -> Path:
    return file.with_name(file.name.replace(kind, other))


def read_engines(file: Path) -> list[Engine]:
    """Return the engines of a file in order, named by file and number; raise `FileRejected`."""
    table = read_numbers(file)
    if table.shape[1] < COLUMNS_MIN or not np.isfinite(table[:, :2]).all():
        raise FileRejected(f"{file}: a line is unit number, cycle, three settings and measurements")
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    numbers = np.unique(table[:, 0]).astype(int)
    left = np.zeros(len(numbers))
    if file.name.startswith("test"):
        remainder = find_remainder(file)
        left = read_numbers(remainder)[:, 0]
        if len(left) != len(numbers) or not np.isfinite(left).all():
            raise FileRejected(f"{remainder}: has {len(left)} lines, {file.name} has {len(numbers)} engines")
    return [
        Engine(f"{file.stem}/{number}", table[table[:, 0] == number, 2:], int(more))
        for number, more in zip(numbers.tolist(), left, strict=True)
    ]


def share_out(engines: Sequence[Engine]) -> tuple[list[Engine], list[Engine]]:
    """Return the engines that teach and those that are judged: by hash, so that no order plays a part.

    Where one side would be empty, every other one.
    """
    taught = [hashlib.sha256(engine.name.encode()).digest()[0] % 2 == 0 for engine in engines]
    if all(taught) or not any(taught):
        taught = [place % 2 == 0 for place in range(len(engines))]
    pairs = list(zip(engines, taught, strict=True))
    return [one for one, teaches in pairs if teaches], [one for one, teaches in pairs if not teaches]


def find_flights(rows: Matrix) -> Flights:
    """Return the conditions of flight of rows (cycles, settings and measurements) to learn from.

    Settings cluster on levels with nothing between them. Levels of a setting that only shows its last digit
    are none that a measurement follows: then there is one condition.
    """
    bounds = [find_bounds(rows[:, setting]) for setting in range(SETTINGS)]
    regime = number_levels(rows, bounds)
    numbers, counts = np.unique(regime[regime != UNKNOWN], return_counts=True)
    numbers = numbers[counts >= LEVEL_ROWS_MIN]
    if len(numbers) < 2 or _explain(rows, regime, numbers) < EXPLAINED_MIN:
        return Flights([], None)
    groups = [rows[regime == number] for number in numbers]
    centre = np.array([np.nanmedian(group, axis=0) for group in groups])
    deviation = np.array([np.nanstd(group, axis=0) for group in groups])
    # Of the deviation within conditions: that between them is a hundred times as large, and no wear.
    least = SCALE_SHARE_MIN * np.sqrt((deviation**2).mean(axis=0))
    return Flights(bounds, Regimes(numbers, centre, np.maximum(deviation, np.maximum(least, SCALE_MIN))))


def find_bounds(column: Vector) -> Vector:
    """Return what parts the levels of a column (rows,): the middles of its wide gaps."""
    known = np.unique(column[np.isfinite(column)])
    gaps = np.diff(known)
    wide = gaps > LEVEL_GAP_SHARE * (known[-1] - known[0]) if len(gaps) else np.zeros(0, dtype=bool)
    middles: Vector = ((known[1:] + known[:-1]) / 2.0)[wide]
    return middles


def number_levels(rows: Matrix, bounds: Sequence[Vector]) -> Numbers:
    """Return the combination of levels (rows,) as a number; unknown where a setting is missing."""
    regime = np.zeros(len(rows), dtype=np.int64)
    missing = np.zeros(len(rows), dtype=bool)
    for setting, middles in enumerate(bounds):
        regime = regime * (len(middles) + 1) + np.searchsorted(middles, rows[:, setting])
        missing |= np.isnan(rows[:, setting])
    return np.where(missing, UNKNOWN, regime)


def _explain(rows: Matrix, regime: Numbers, numbers: Numbers) -> float:
    """Return the share of the measurements' variance that lies between the conditions (their median)."""
    measured = rows[:, SETTINGS:][:, find_varying(rows)[SETTINGS:]]
    known = np.isin(regime, numbers)
    if not measured.shape[1]:
        return 0.0
    within = np.zeros(measured.shape[1])
    for number in numbers:
        group = measured[regime == number]
        within += np.nanvar(group, axis=0) * len(group) / known.sum()
    return float(np.median(1.0 - within / np.maximum(np.nanvar(measured[known], axis=0), SCALE_MIN**2)))
