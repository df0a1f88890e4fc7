"""NAB, known causes: one tag each, learned from a probation of at most 750 rows, scored by NAB's own rule."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.promises import Kept, join_kept, keep_count
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Outcome, Tick, find_below
from models.anomaly.benchmarks.reading import FileRejected, naming, read_heading
from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import Promise, keep_promise
from models.anomaly.calibration.spans import Spans, find_spans
from models.anomaly.features import Mask, Matrix, Vector, plan_windows
from models.anomaly.tables import read_table

PROBATION_SHARE = 0.15
PROBATION_ROWS_MAX = 750
WINDOWS = plan_windows(3)
FALSE_COST, MISS_COST = 0.11, 1.0
"""Of NAB's standard profile; a window found in its first row earns 1."""
REFIT_S = 7 * 86_400.0
REPEAT_S = 7 * 86_400.0
"""Without repeats a single alert that never ends would cost next to nothing."""
LABEL_FILE = Path("labels") / "combined_windows.json"
GROUP, TAG = "realKnownCause", "value"
ROWS_MIN = 100


class Watched(msgspec.Struct, frozen=True):
    """One file: (rows,) seconds, windows of rows, rows in which an alert was said, how many were learned.

    `promises`: that of each week's model, with the first row that it judged.
    """

    seconds: Vector
    windows: Spans
    alerts: NDArray[np.int64]
    learned: int
    promises: Sequence[tuple[int, Promise]] = ()


def judge_file(file: Path, contender: str) -> Watched:
    """Learn from the file's probation and raise alerts on the rest."""
    table = read_table(file, [TAG])
    kept = np.isfinite(table.values[TAG])
    timestamps, values = table.timestamps[kept], table.values[TAG][kept, None]
    if len(values) < ROWS_MIN:
        raise FileRejected(
            f"{file}: has {len(values)} rows with a value, {ROWS_MIN} are needed: leave it out"
        )
    seconds = (timestamps - timestamps[0]) / 1e9
    learned = min(int(PROBATION_SHARE * len(values)), PROBATION_ROWS_MAX)
    with naming(file):
        alerting, promises = watch(values, seconds, learned, contender)
    windows = [
        (int(np.searchsorted(timestamps, begin)), int(np.searchsorted(timestamps, end, "right")))
        for begin, end in read_windows(file)
    ]
    spans = np.array(windows, dtype=np.int64).reshape(-1, 2)
    return Watched(seconds, spans, list_alerts(alerting, seconds), learned, promises)


def watch(
    values: Matrix, seconds: Vector, learned: int, contender: str
) -> tuple[Mask, list[tuple[int, Promise]]]:
    """Return where an alert was on, and what was promised; every week the contender learns anew.

    It learns from the rows without an alert. The week's model judges the rows after its training only, so
    nothing looks ahead.
    """
    grid_s = float(np.median(np.diff(seconds)))
    ratios = np.full(len(values), np.nan)
    alerting = np.zeros(len(values), dtype=bool)
    promises = []
    start = learned
    while start < len(values):
        stop = max(int(np.searchsorted(seconds, seconds[start] + REFIT_S)), start + 1)
        calm = np.where(alerting[:start, None], np.nan, values[:start])
        detector = make_contender(contender, WINDOWS).fit(calm)
        promises.append((start, keep_promise(detector.held_out_, WINDOWS.longest, grid_s)))
        limit = promises[-1][1].limit
        ratios[start:stop] = detector.judge(values[:stop], last=stop - start).score / limit
        alerting[start:stop] = find_alerting(ratios[:stop], 1.0, promises[-1][1].persistence)[start:]
        start = stop
    return alerting, promises


def list_alerts(alerting: Mask, seconds: Vector) -> NDArray[np.int64]:
    """Return the rows in which an alert began, or was said again because it was still on a week later."""
    said: list[int] = []
    for first, stop in find_spans(alerting):
        weeks = np.arange(seconds[first], seconds[stop - 1] + 1.0, REPEAT_S)
        said += (first + np.searchsorted(seconds[first:stop], weeks)).tolist()
    return np.array([row for row in said if row < len(seconds)], dtype=np.int64)


def score_nab(watched: Watched) -> float:
    """Return NAB's raw score (Lavin and Ahmad 2015, equations 1 to 3) for alerts, standard profile.

    The first alert within a window earns a sigmoid of how early it is, a missed window costs 1, an alert
    outside costs up to 0.11, the less the sooner after a window it comes.
    """
    total = 0.0
    earliest = _sigmoid(-1.0)
    for first, stop in watched.windows:
        inside = watched.alerts[(watched.alerts >= first) & (watched.alerts < stop)]
        total += (
            _sigmoid((inside[0] - stop + 1) / max(stop - first - 1, 1)) / earliest
            if len(inside)
            else -MISS_COST
        )
    for alert in find_false(watched):
        before = watched.windows[watched.windows[:, 1] <= alert]
        if not len(before):
            total -= FALSE_COST
            continue
        first, stop = before[-1]
        total += FALSE_COST * _sigmoid((alert - stop + 1) / max(stop - first - 1, 1))
    return total


def find_false(watched: Watched) -> NDArray[np.int64]:
    """Return the alerts that began in no window."""
    inside = np.zeros(len(watched.alerts), dtype=bool)
    for first, stop in watched.windows:
        inside |= (watched.alerts >= first) & (watched.alerts < stop)
    return watched.alerts[~inside]


def _sigmoid(position: float) -> float:
    """Return +1 long before the window's end (position -1) to -1 long after it."""
    return 2.0 / (1.0 + float(np.exp(5.0 * position))) - 1.0 if position <= 3.0 else -1.0


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
    """Return the normalised score (0: no alert at all, 100: every window at once), leads to windows' ends."""
    watched = []
    for file in files:
        watched.append(judge_file(file, contender))
        tick()
    windows = sum(len(one.windows) for one in watched)
    leads: list[float | None] = []
    for one in watched:
        for first, stop in one.windows:
            inside = one.alerts[(one.alerts >= first) & (one.alerts < stop)]
            ends = float(one.seconds[min(stop, len(one.seconds)) - 1])
            leads.append((ends - float(one.seconds[inside[0]])) / 3600.0 if len(inside) else None)
    raw = sum(score_nab(one) for one in watched)
    metrics: Metrics = {
        "nab_standard": 100.0 * (raw + MISS_COST * windows) / ((1.0 + MISS_COST) * max(windows, 1)),
        "windows_found": sum(lead is not None for lead in leads),
        "windows": windows,
        "lead_h": leads,
        "false_episodes": sum(len(find_false(one)) for one in watched),
        "days": sum(float(one.seconds[-1] - one.seconds[one.learned]) for one in watched) / 86_400.0,
    }
    return Outcome(metrics, join_kept([kept for one in watched for kept in count_kept(one)]))


def count_kept(watched: Watched) -> list[Kept]:
    """Return what became of each week's promise in its rows outside the windows."""
    outside = np.ones(len(watched.seconds), dtype=bool)
    for first, stop in watched.windows:
        outside[first:stop] = False
    lengths = np.diff(watched.seconds, append=watched.seconds[-1])
    false = find_false(watched)
    starts = [start for start, _ in watched.promises]
    kept = []
    for (start, promise), stop in zip(watched.promises, [*starts[1:], len(outside)], strict=True):
        seconds = float(lengths[start:stop][outside[start:stop]].sum())
        realised = int(((false >= start) & (false < stop)).sum())
        kept.append(keep_count("outside the windows", promise, seconds, realised))
    return kept


def read_windows(file: Path) -> list[tuple[int, int]]:
    """Return begin and end of each labelled window in nanoseconds; raise `FileRejected`."""
    homes = [folder for folder in file.parents[:4] if (folder / LABEL_FILE).is_file()]
    if not homes:
        raise FileRejected(f"{file}: its labels are missing: {file.parents[2] / LABEL_FILE} must be there")
    source = homes[0] / LABEL_FILE
    try:
        labelled = json.loads(source.read_text(encoding="utf-8-sig"))
        spans = {name.rpartition("/")[2]: found for name, found in labelled.items()}[file.name]
        return [(_parse_ns(begin), _parse_ns(end)) for begin, end in spans]
    except json.JSONDecodeError as error:
        raise FileRejected(f"{source}:{error.lineno}: is not JSON ({error.msg}): copy it again") from error
    except KeyError as error:
        raise FileRejected(f"{source}: has no windows of {file.name}: add them ([] for none)") from error
    except (AttributeError, TypeError, ValueError, OSError) as error:
        raise FileRejected(f"{source}: the windows of {file.name} are no pairs of times ({error})") from error


def _parse_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def _find_files(folder: Path) -> list[Path]:
    found = find_below(folder, "nab", f"data/{GROUP}/*.csv", f"{GROUP}/*.csv", "*.csv")
    return [file for file in found if file.parent.name == GROUP or TAG in read_heading(file)[1:2]]


NAB = Benchmark(
    name="nab",
    layout="nab/data/realKnownCause/*.csv and nab/labels/combined_windows.json",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"nab_standard": 1, "windows_found": 1, "false_episodes": -1},
)
