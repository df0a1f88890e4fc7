"""MetroPT-3: a metro train's air compressor in windows of 45 minutes whose order is lost."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_confusion, measure_auc
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick, fill_calm, find_below
from models.anomaly.features import Mask, Matrix, Windows

WINDOWS = Windows(means=[1], spreads=[])
"""Each row is a window already, and its neighbours are strangers."""
LIMIT_QUANTILE = 0.99
FOLDS = 5
LABEL, FOLD = "is_anomaly", "fold"
TRUE = {"true", "1", "1.0"}


class Compressor(msgspec.Struct, frozen=True):
    """Windows (rows, features), and which are labelled as trouble (rows,)."""

    values: Matrix
    labels: Mask


def read_windows(file: Path) -> Compressor:
    """Return the file's windows."""
    with file.open(newline="") as lines:
        rows = csv.reader(lines)
        names = next(rows)
        features = [place for place, name in enumerate(names) if name not in (LABEL, FOLD, "")]
        label = names.index(LABEL)
        table = [([float(row[place]) for place in features], row[label].lower() in TRUE) for row in rows]
    return Compressor(np.array([values for values, _ in table]), np.array([marked for _, marked in table]))


def split(files: Sequence[Path]) -> Iterator[tuple[Matrix, Matrix, Mask]]:
    """Yield (normal windows to learn from, windows to judge, their labels).

    `test.csv` is judged where it is there; else every fifth window of `train.csv` by what the others teach.
    """
    train = read_windows(files[0])
    if len(files) > 1:
        test = read_windows(files[1])
        yield train.values[~train.labels], test.values, test.labels
        return
    dealt = np.arange(len(train.labels)) % FOLDS
    for fold in range(FOLDS):
        held_out = dealt == fold
        yield train.values[~held_out & ~train.labels], train.values[held_out], train.labels[held_out]


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return the metrics over all judged windows, scores in units of their limit."""
    scores, labels = [], []
    for normal, judged, marks in split(files):
        varying = np.ptp(normal, axis=0) > 0
        detector = make_contender(contender, WINDOWS).fit(normal[:, varying])
        limit = float(np.quantile(detector.held_out_, LIMIT_QUANTILE))
        scores.append(fill_calm(detector.judge(judged[:, varying]).score) / limit)
        labels.append(marks)
        tick()
    strange, trouble = np.concatenate(scores), np.concatenate(labels)
    counts = count_confusion(trouble, strange > 1.0)
    return {"auc": measure_auc(trouble, strange), "recall": 1.0 - counts.mar, "far": counts.far}


def _find_files(folder: Path) -> list[Path]:
    train = find_below(folder, "metropt", "train.csv")
    return train + find_below(folder, "metropt", "test.csv") if train else []


METROPT = Benchmark(
    name="metropt",
    layout="metropt/train.csv (and test.csv)",
    find_files=_find_files,
    count_steps=lambda files, _: 1 if len(files) > 1 else FOLDS,
    run=run,
    headline={"auc": 1, "recall": 1, "far": -1},
)
