"""Writes made-up data sets in the layouts of the benchmarks, and gives each the oddities it is asked for."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from models.anomaly.benchmarks.shelf import BENCHMARKS, run_benchmark

START = datetime(2020, 3, 29, 0, 30, tzinfo=UTC)
"""The night in which Europe's clocks go forward."""

Rows = list[list[str]]
Change = Callable[[Rows], Rows]


def keep(rows: Rows) -> Rows:
    """Change nothing."""
    return rows


def judge(name: str, folder: Path) -> dict[str, Any]:
    """Return the metrics of `fuse`."""
    return run_benchmark(BENCHMARKS[name], folder, ["fuse"]).results["fuse"]


def write_rows(file: Path, rows: Rows, delimiter: str = ",", end: str = "\n") -> Path:
    """Write cells, the heading first where there is one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("".join(delimiter.join(row) + end for row in rows).encode())
    return file


def wander(rows: int, tags: int, seed: int) -> np.ndarray:
    """Return rows of tags that follow three hidden loads, with noise of their own."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(tags).normal(size=(3, tags))
    return 10.0 + rng.normal(size=(rows, 3)) @ mixing + 0.3 * rng.normal(size=(rows, tags))


def list_times(rows: int, step_s: float, shape: str = "%Y-%m-%d %H:%M:%S") -> list[str]:
    """Return so many evenly spaced times."""
    return [(START + timedelta(seconds=step_s * row)).strftime(shape) for row in range(rows)]


def write_skab(
    folder: Path, name: str = "valve1/0.csv", change: Change = keep, end: str = "\n", seed: int = 1
) -> Path:
    """Write 700 s of a rig whose third tag shifts for the last 200 s."""
    values = wander(700, 8, seed)
    values[500:, 2] += 8.0
    marks = (np.arange(700) >= 500).astype(float)
    times = list_times(700, 1.0)
    rows = [["datetime", *(f"Tag {tag}" for tag in range(8)), "anomaly", "changepoint"]]
    rows += [
        [time, *(f"{value:.5f}" for value in row), f"{mark}", "0.0"]
        for time, row, mark in zip(times, values, marks, strict=True)
    ]
    return write_rows(folder / "skab" / name, change(rows), ";", end)


def write_nab(folder: Path, name: str = "pump.csv", step_s: float = 1800.0, change: Change = keep) -> Path:
    """Write 2,000 rows of one tag with a fault in rows 1,500 to 1,600, and its labelled window."""
    rng = np.random.default_rng(3)
    values = 50.0 + np.sin(np.arange(2_000) / 8.0) + 0.3 * rng.normal(size=2_000)
    values[1_500:1_600] += 12.0
    times = list_times(2_000, step_s)
    rows = [["timestamp", "value"]]
    rows += [[time, f"{value:.4f}"] for time, value in zip(times, values, strict=True)]
    labels = folder / "nab" / "labels" / "combined_windows.json"
    labels.parent.mkdir(parents=True, exist_ok=True)
    windows = json.loads(labels.read_text()) if labels.exists() else {}
    windows[f"realKnownCause/{name}"] = [[f"{times[1_490]}.000000", f"{times[1_620]}.000000"]]
    labels.write_text(json.dumps(windows))
    return write_rows(folder / "nab" / "data" / "realKnownCause" / name, change(rows))


def write_tep(folder: Path, faults: Sequence[int], normal: bool = True) -> Path:
    """Write a normal run, turned as the original is, and runs in which one tag of 52 shifts at row 160."""
    home = folder / "tep"
    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(6, 52))

    def simulate(rows: int) -> np.ndarray:
        return rng.normal(size=(rows, 6)) @ mixing + 0.5 * rng.normal(size=(rows, 52))

    if normal:
        np.savetxt(home / "d00.dat", simulate(500).T)
    for fault in faults:
        run = simulate(400)
        run[160:, fault] += 6.0 if fault else 0.0
        np.savetxt(home / f"d{fault:02d}_te.dat", run)
    return home


LEVELS = [
    *[(0.0, 0.0, 100.0), (10.0, 0.25, 100.0), (20.0, 0.7, 100.0)],
    *[(25.0, 0.62, 60.0), (35.0, 0.84, 100.0), (42.0, 0.84, 100.0)],
]
"""Altitude, Mach number and throttle of six ways to fly."""


def make_engines(engines: int, conditions: int, seed: int = 1) -> np.ndarray:
    """Return rows of unit, cycle, settings and 21 measurements of engines that wear out.

    Measurements depend on the condition of each flight a hundred times more than on wear, which shows in six
    of them over the last 100 cycles.
    """
    rng = np.random.default_rng(seed)
    usual = 600.0 + 100.0 * rng.normal(size=(6, 21))
    found = []
    for unit in range(1, engines + 1):
        life = int(rng.integers(170, 260))
        flown = rng.integers(0, conditions, size=life)
        settings = np.array(LEVELS)[flown] + rng.normal(size=(life, 3)) * (0.003, 0.0003, 0.0)
        wear = np.exp(-np.arange(life)[::-1] / 30.0)
        measured = usual[flown] + rng.normal(size=(life, 21))
        measured[:, :6] += 8.0 * wear[:, None]
        measured[:, 6] = 21.0
        cycles = np.arange(1, life + 1)
        found.append(np.column_stack([np.full(life, unit), cycles, settings, measured]))
    return np.concatenate(found)


def write_engines(folder: Path, name: str, engines: int, conditions: int) -> Path:
    """Write the engines as C-MAPSS does: a blank before each end of line."""
    home = folder / "cmapss"
    home.mkdir(parents=True, exist_ok=True)
    rows = make_engines(engines, conditions)
    text = "".join(
        f"{row[0]:.0f} {row[1]:.0f} " + " ".join(f"{value:.4f}" for value in row[2:]) + "  \n" for row in rows
    )
    (home / name).write_text(text)
    return home / name


def write_hvac(
    folder: Path,
    name: str = "SZCAV.csv",
    tags: Sequence[str] = (),
    shape: str = "%m/%d/%Y %H:%M",
    faulty: int = 2,
) -> Path:
    """Write six days of an air handler; on the last of them a valve leaks and cools the supply air."""
    rows = 6 * 1440
    minute = np.arange(rows) % 1440
    day = np.arange(rows) // 1440
    running = ((minute > 360) & (minute < 1260)).astype(float)
    rng = np.random.default_rng(5)
    outdoor = 20.0 + 5.0 * np.sin(2 * np.pi * minute / 1440) + rng.normal(size=6)[day]
    values = {
        "AHU: Supply Air Temperature": 13.0
        + 9.0 * (1 - running)
        + 0.1 * outdoor
        + 0.2 * rng.normal(size=rows),
        "AHU: Supply Air Temperature Set Point": np.full(rows, 13.0),
        "AHU: Outdoor Air Temperature": outdoor + 0.1 * rng.normal(size=rows),
        "AHU: Supply Air Fan Status": running,
        "AHU: Cooling Coil Valve Control Signal": running * (0.4 + 0.01 * outdoor)
        + 0.01 * rng.normal(size=rows),
        "Occupancy Mode Indicator": running,
    }
    sick = day >= 6 - faulty
    values["AHU: Supply Air Temperature"] -= 4.0 * sick * running
    kept = {tag: values[tag] for tag in tags} if tags else values
    table = [["Datetime", *kept, "Fault Detection Ground Truth"]]
    for row, time in enumerate(list_times(rows, 60.0, shape)):
        cells = [f"{column[row]:.3f}" for column in kept.values()]
        table.append([time, *cells, str(int(sick[row]))])
    return write_rows(folder / "hvac" / name, table)


def write_ims(folder: Path, name: str, channels: int, change: Change = keep) -> Path:
    """Write 2,000 rows of mean vibration, ten minutes apart, whose first channel grows over the last 120."""
    rng = np.random.default_rng(7)
    values = 0.06 + 0.001 * rng.normal(size=(2_000, channels))
    values[1_880:, 0] += np.linspace(0.0, 0.05, 120)
    times = list_times(2_000, 600.0, "%Y.%m.%d.%H.%M.%S")
    rows = [["", "Datetime", *(f"Bearing {place + 1}" for place in range(channels))]]
    rows += [
        [str(row), time, *(f"{value:.6f}" for value in line)]
        for row, (time, line) in enumerate(zip(times, values, strict=True))
    ]
    return write_rows(folder / "ims" / name, change(rows))


def write_metropt(folder: Path, name: str = "train.csv", rows: int = 600, seed: int = 9) -> Path:
    """Write windows of 12 features of a compressor, every thirtieth of them trouble."""
    values = wander(rows, 12, seed)
    marks = np.arange(rows) % 30 == 7
    values[marks, 3] += 9.0
    table = [[*(f"Tag{tag}_mean" for tag in range(12)), "is_anomaly"]]
    table += [
        [*(f"{value:.4f}" for value in row), str(bool(mark))] for row, mark in zip(values, marks, strict=True)
    ]
    return write_rows(folder / "metropt" / name, table)
