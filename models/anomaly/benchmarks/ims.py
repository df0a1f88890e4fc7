"""IMS bearings run to failure: learned from the first quarter of the test, judged on the rest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.anomaly.benchmarks.contenders import make_contender
from models.anomaly.benchmarks.metrics import count_episodes
from models.anomaly.benchmarks.protocol import Benchmark, Metric, Metrics, Tick, find_below
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.promise import keep_promise
from models.anomaly.features import Mask, plan_windows

STEP_S = 600.0
LEARNED_SHARE = 0.25
HEALTHY_SHARE = 0.5
"""No label says when a bearing began to fail: an alert in the first half of its life counts as false."""
WINDOWS = plan_windows(1)


def judge_test(file: Path, contender: str) -> Mask:
    """Return where an alert was on, over all rows of the file."""
    with file.open() as lines:
        columns = len(next(lines).split(","))
    values = np.loadtxt(file, delimiter=",", skiprows=1, usecols=range(2, columns))
    detector = make_contender(contender, WINDOWS).fit(values[: int(LEARNED_SHARE * len(values))])
    limit = keep_promise(detector.held_out_, WINDOWS.longest, STEP_S).limit
    return find_alerting(detector.judge(values).score, limit, Persistence())


def run(files: Sequence[Path], contender: str, tick: Tick) -> Metrics:
    """Return hours from the first alert of the second half to the end: the worst file, and each apart."""
    leads: dict[str, float | None] = {}
    false = 0
    for file in files:
        alerting = judge_test(file, contender)
        half = int(HEALTHY_SHARE * len(alerting))
        false += count_episodes(alerting[int(LEARNED_SHARE * len(alerting)) : half])
        rows = np.flatnonzero(alerting[half:])
        leads[file.stem] = float(len(alerting) - half - 1 - rows[0]) * STEP_S / 3600.0 if len(rows) else None
        tick()
    worst: Metric = min((lead for lead in leads.values() if lead is not None), default=None)
    apart: Metrics = {f"first_alarm_h_before_end_{name}": lead for name, lead in leads.items()}
    missed = sum(lead is None for lead in leads.values())
    return {
        "first_alarm_h_before_end": None if missed else worst,
        "false_episodes": false,
        "missed": missed,
    } | (apart if len(files) > 1 else {})


def _find_files(folder: Path) -> list[Path]:
    return find_below(folder, "ims", "*_test_*.csv")


IMS = Benchmark(
    name="ims",
    layout="ims/*_test_*.csv",
    find_files=_find_files,
    count_steps=lambda files, _: len(files),
    run=run,
    headline={"first_alarm_h_before_end": 1, "false_episodes": -1},
)
