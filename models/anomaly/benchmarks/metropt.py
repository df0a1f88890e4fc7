"""MetroPT-3: a metro train's air compressor in windows of 45 minutes whose order is lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_confusion, measure_auc
from models.anomaly.benchmarks.promises import Kept
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Outcome, Tick, fill_calm, find_below
from models.anomaly.benchmarks.reading import (
    FileRejected,
    find_varying,
    is_count,
    naming,
    need_columns,
    read_cells,
)
from models.anomaly.features import Mask, Matrix, Windows

WINDOWS = Windows(means=[1], spreads=[])
"""Each row is a window already, and its neighbours are strangers."""
LIMIT_QUANTILE = 0.99
FOLDS = 5
LABEL, FOLD = "is_anomaly", "fold"


class Compressor(msgspec.Struct, frozen=True):
    """Windows (rows, features) under the features' names, and which are labelled as trouble (rows,)."""

    names: list[str]
    values: Matrix
    labels: Mask


def read_windows(file: Path, wanted: Sequence[str] = ()) -> Compressor:
    """Return the file's windows, rows with a label only, its features or those `wanted`, in that order.

    Raises `FileRejected`.
    """
    cells = read_cells(file)
    if LABEL not in cells.names:
        raise FileRejected(f"{file}:1: there is no column {LABEL!r}: it says which windows are trouble")
    marks = cells.column(cells.names.index(LABEL))
    names = list(wanted) or [name for name in cells.names if _is_feature(name)]
    if missing := [name for name in names if name not in cells.names]:
        raise FileRejected(f"{file}:1: there is no column {missing[0]!r}, which was learned from")
    columns = {name: cells.column(cells.names.index(name)) for name in names}
    kept = {name: column for name, column in columns.items() if wanted or not is_count(column)}
    labelled = np.isfinite(marks)
    values = np.column_stack(list(kept.values())) if kept else np.empty((len(marks), 0))
    return Compressor(list(kept), values[labelled], marks[labelled] > 0.5)


def split(files: Sequence[Path]) -> Iterator[tuple[Matrix, Matrix, Mask]]:
    """Yield (normal windows to learn from, windows to judge, their labels).

    Further files are judged by what the first teaches; one alone is judged by folds of its own windows.
    """
    train = read_windows(files[0])
    for file in files[1:]:
        test = read_windows(file, train.names)
        yield train.values[~train.labels], test.values, test.labels
    dealt = np.arange(len(train.labels)) % FOLDS
    for fold in range(FOLDS if len(files) == 1 else 0):
        held_out = dealt == fold
        yield train.values[~held_out & ~train.labels], train.values[held_out], train.labels[held_out]


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
    """Return the metrics over all judged windows, scores in units of their limit."""
    scores, labels = [], []
    for normal, judged, marks in split(files):
        varying = need_columns(files[0], find_varying(normal))
        with naming(files[0]):
            detector = make_contender(contender, WINDOWS).fit(normal[:, varying])
        limit = float(np.quantile(detector.held_out_, LIMIT_QUANTILE))
        scores.append(fill_calm(detector.judge(judged[:, varying]).score) / limit)
        labels.append(marks)
        tick()
    strange, trouble = np.concatenate(scores), np.concatenate(labels)
    counts = count_confusion(trouble, strange > 1.0)
    healthy = counts.false_positive + counts.true_negative
    kept = Kept(
        *("healthy windows", "window", 1.0 - LIMIT_QUANTILE, float(healthy), counts.false_positive), False
    )
    metrics: Metrics = {"auc": measure_auc(trouble, strange), "recall": 1.0 - counts.mar, "far": counts.far}
    return Outcome(metrics, [kept])


def _is_feature(name: str) -> bool:
    return name not in (LABEL, FOLD, "") and not name.lower().startswith("unnamed")


def _find_files(folder: Path) -> list[Path]:
    """Return the table to learn from, then the one to judge; either alone is judged by folds."""
    return [*find_below(folder, "metropt", "train.csv"), *find_below(folder, "metropt", "test.csv")]


METROPT = Benchmark(
    name="metropt",
    layout="metropt/train.csv and metropt/test.csv, or one of them",
    find_files=_find_files,
    count_steps=lambda files, _: len(files) - 1 or FOLDS,
    run=run,
    headline={"auc": 1, "recall": 1, "far": -1},
)
