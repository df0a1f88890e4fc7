"""IMS bearings run to failure: learned from the first quarter of the test, judged on the rest."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_episodes
from models.anomaly.benchmarks.promises import Kept, join_kept, keep_count
from models.anomaly.benchmarks.protocol import Benchmark, Metric, Metrics, Outcome, Tick, find_below
from models.anomaly.benchmarks.reading import (
    Cells,
    FileRejected,
    find_taught,
    is_count,
    naming,
    need_columns,
    read_cells,
)
from models.anomaly.calibration.persistence import find_alerting
from models.anomaly.calibration.promise import keep_promise
from models.anomaly.features import Mask, Matrix, Vector, plan_windows

STEP_S = 600.0
LEARNED_SHARE = 0.25
HEALTHY_SHARE = 0.5
"""No label says when a bearing began to fail: an alert in the first half of its life counts as false."""
WINDOWS = plan_windows(1)


class Lived(msgspec.Struct, frozen=True):
    """One test, rows in order of time: `seconds` (rows,), `values` (rows, channels)."""

    seconds: Vector
    values: Matrix


def read_test(file: Path) -> Lived:
    """Return a test; columns of times and counted rows are no channels. Raises `FileRejected`."""
    cells = read_cells(file)
    width = len(cells.rows[0])
    timed = [place for place in range(width) if _parse_instant(cells.rows[0][place]) is not None]
    columns = [cells.column(place) for place in range(width) if place not in timed]
    channels = [column for column in columns if not is_count(column)]
    if not channels:
        raise FileRejected(f"{file}: has no column of measurements")
    seconds = STEP_S * np.arange(len(cells.rows), dtype=np.float64)
    if timed:
        seconds = np.array([_need_instant(cells, row, timed[0]) for row in range(len(cells.rows))])
    order = np.argsort(seconds, kind="stable")
    return Lived(seconds[order] - seconds[order[0]], np.column_stack(channels)[order])


def judge_test(file: Path, contender: str) -> tuple[Vector, Mask, Kept]:
    """Return seconds and where an alert was on, over all rows, and what became of the promise."""
    lived = read_test(file)
    learned, half = (int(share * len(lived.seconds)) for share in (LEARNED_SHARE, HEALTHY_SHARE))
    step_s = float(np.median(np.diff(lived.seconds))) if len(lived.seconds) > 1 else 0.0
    if step_s <= 0.0:
        raise FileRejected(f"{file}: its times stand still: mend them")
    values = lived.values[:, need_columns(file, find_taught(lived.values[:learned]))]
    with naming(file):
        detector = make_contender(contender, WINDOWS).fit(values[:learned])
    promise = keep_promise(detector.held_out_, WINDOWS.longest, step_s)
    alerting = find_alerting(detector.judge(values).score, promise.limit, promise.persistence)
    # Rows, not the clock: nothing was measured while the rig stood.
    healthy_s = (half - learned) * step_s
    kept = keep_count("first half", promise, healthy_s, count_episodes(alerting[learned:half]))
    return lived.seconds, alerting, kept


def run(files: Sequence[Path], contender: str, tick: Tick) -> Outcome:
    """Return hours from the first alert of the second half to the end: the worst file, and each apart."""
    leads: dict[str, float | None] = {}
    kept = []
    for file in files:
        seconds, alerting, one = judge_test(file, contender)
        half = int(HEALTHY_SHARE * len(alerting))
        kept.append(one)
        rows = np.flatnonzero(alerting[half:])
        leads[file.stem] = float(seconds[-1] - seconds[half + rows[0]]) / 3600.0 if len(rows) else None
        tick()
    worst: Metric = min((lead for lead in leads.values() if lead is not None), default=None)
    apart: Metrics = {f"first_alarm_h_before_end_{name}": lead for name, lead in leads.items()}
    missed = sum(lead is None for lead in leads.values())
    metrics = {
        "first_alarm_h_before_end": None if missed else worst,
        "false_episodes": sum(one.realised for one in kept),
        "missed": missed,
    } | (apart if len(files) > 1 else {})
    return Outcome(metrics, join_kept(kept))


def _parse_instant(cell: str) -> float | None:
    """Return seconds since 1970 of a time written from the year down, whatever parts its numbers."""
    if not re.match(r"\s*(19|20)\d\d\D\d{1,2}\D\d{1,2}\D", cell):
        return None
    numbers = [int(number) for number in re.findall(r"\d+", cell)]
    year, month, day, hour, minute, second = [*numbers, 0, 0, 0][:6]
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _need_instant(cells: Cells, row: int, place: int) -> float:
    cell = cells.rows[row][place]
    seconds = _parse_instant(cell)
    if seconds is None:
        raise FileRejected(
            f"{cells.file}:{cells.lines[row]}: {cell[:80]!r} is not a time: write 2004-02-12 10:32:39"
        )
    return seconds


def _find_files(folder: Path) -> list[Path]:
    return find_below(folder, "ims", "*_test*.csv")


IMS = Benchmark(
    name="ims",
    layout="ims/*_test*.csv",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"first_alarm_h_before_end": 1, "false_episodes": -1},
)
