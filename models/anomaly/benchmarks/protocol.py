"""What a benchmark is: files of a layout, a protocol that a contender goes through, metrics."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.promises import Kept
from models.anomaly.benchmarks.reading import list_visible
from models.anomaly.features import Matrix, Vector
from models.errors import ForewarnError

Metric = float | int | None | list[float | None]
Metrics = dict[str, Metric]
Tick = Callable[[], None]
"""Called once for each step of `Benchmark.count_steps`."""


class Outcome(msgspec.Struct, frozen=True):
    """What a contender reached: its metrics, and what came of its promise where health is certain."""

    metrics: Metrics
    kept: Sequence[Kept] = ()


class LayoutMissing(ForewarnError):
    """The folder holds no file of the benchmark's layout; the message says which it looks for."""

    exit_code = 2


class Benchmark(msgspec.Struct, frozen=True):
    """One data set with its protocol. `find_files` lists what is there; `run` judges a contender on it.

    `count_steps` says how often a run of a contender calls its `Tick`. `headline` names the metrics of the
    page, in order, each with its direction (1: more is better, -1: less is, 0: neither).
    """

    name: str
    layout: str
    find_files: Callable[[Path], Sequence[Path]]
    count_steps: Callable[[Sequence[Path], str], int]
    run: Callable[[Sequence[Path], str, Tick], Outcome]
    headline: Mapping[str, int]

    def list_files(self, folder: Path) -> Sequence[Path]:
        """Return the files of the layout in `folder` or below; raise `LayoutMissing`."""
        files = self.find_files(folder)
        if not files:
            raise LayoutMissing(f"{folder}: no file of {self.name} is there (looked for {self.layout})")
        return files


def find_below(folder: Path, name: str, *patterns: str) -> list[Path]:
    """Return the files of `patterns` in folder/name, or in folder itself where it is the data set's own."""
    for home in (folder / name, folder):
        files = list_visible([file for pattern in patterns for file in home.glob(pattern)])
        if files:
            return files
    return []


def join_apart(parts: Sequence[Matrix], rows_between: int) -> Matrix:
    """Return stretches (n, tags) one after the other, missing rows between, so that no window spans two."""
    between = np.full((rows_between, parts[0].shape[1]), np.nan)
    pieces = [piece for part in parts for piece in (part, between)][:-1]
    return np.concatenate(pieces)


def fill_calm(scores: Vector) -> Vector:
    """Return the scores with 0 where there is none: what cannot be judged raises no alarm."""
    return np.nan_to_num(scores, nan=0.0)
