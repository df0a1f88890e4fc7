"""Benchmarks on other engines, air handlers and bearings: conditions of flight, odd columns, pauses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.anomaly.benchmarks.cmapss import warn_engines
from models.anomaly.benchmarks.engines import find_flights
from models.anomaly.benchmarks.ims import read_test
from models.anomaly.benchmarks.lives import forecast_lives
from models.errors import ForewarnError
from tests.unit.benchmark_rig import Rows, judge, make_engines, write_engines, write_hvac, write_ims


def test_conditions_of_flight_are_found_where_measurements_follow_them() -> None:
    """Six are six, one is one: the last digit of a setting that nothing follows is no condition."""
    six = find_flights(make_engines(30, 6)[:, 2:])
    assert six.regimes is not None
    assert len(six.regimes.numbers) == 6
    assert find_flights(make_engines(30, 1)[:, 2:]).regimes is None
    lattice = make_engines(30, 1)[:, 2:]
    lattice[:, 1] = np.random.default_rng(1).integers(-6, 7, len(lattice)) / 10_000.0
    assert find_flights(lattice).regimes is None


@pytest.mark.parametrize("conditions", [1, 6])
def test_engines_are_warned_of_in_any_number_of_conditions(tmp_path: Path, conditions: int) -> None:
    """Wear shows under conditions that move the measurements a hundred times as far."""
    file = write_engines(tmp_path, "train_FD002.txt", 24, conditions)
    warned, (kept,) = warn_engines(file, "fuse")
    assert np.mean([one.lead is not None and one.lead >= 20 for one in warned]) > 0.9
    assert kept.realised <= 3


def test_remaining_life_is_forecast_in_many_conditions(tmp_path: Path) -> None:
    """Engines of six conditions that were not learned from: far better than their mean life."""
    write_engines(tmp_path, "train_FD004.txt", 9, 6)
    found = judge("cmapss", tmp_path)
    assert found["rul_rmse"] < 0.75 * found["rul_constant_rmse"]


def test_engines_cut_short_count_by_what_they_had_left(tmp_path: Path) -> None:
    """A test file is judged with its remainders: only an engine that came to its end can have been missed."""
    file = write_engines(tmp_path, "test_FD003.txt", 12, 1)
    rows = file.read_text().splitlines()
    units = np.array([int(row.split()[0]) for row in rows])
    left = {unit: 0 if unit % 2 else 50 for unit in range(1, 13)}
    kept = [np.flatnonzero(units == unit)[: -left[unit] or None] for unit in range(1, 13)]
    file.write_text("\n".join(rows[place] for places in kept for place in places) + "\n")
    (tmp_path / "cmapss" / "RUL_FD003.txt").write_text("".join(f"{left[unit]} \n" for unit in left))
    found = judge("cmapss", tmp_path)
    assert 0 < found["engines"] < 6
    assert found["engines_20_ahead"] == 1.0
    assert found["lead_median"] >= 20
    assert found["rul_rmse"] is None


def test_too_few_engines_are_told(tmp_path: Path) -> None:
    """Remaining life needs five failures beside those judged: there is no figure. Warnings say what lacks."""
    file = write_engines(tmp_path, "train_FD001.txt", 6, 1)
    assert forecast_lives([file], lambda: None)["rul_rmse"] is None
    with pytest.raises(ForewarnError, match=r"train_FD001\.txt: only \d+ rows have values of all tags"):
        judge("cmapss", tmp_path)


@pytest.mark.parametrize(
    ("tags", "shape"),
    [
        ((), "%m/%d/%Y %H:%M"),
        (
            ("AHU: Supply Air Temperature", "AHU: Outdoor Air Temperature", "AHU: Supply Air Fan Status"),
            "%Y-%m-%dT%H:%M",
        ),
        (("AHU: Supply Air Temperature", "AHU: Cooling Coil Valve Control Signal"), "%d.%m.%Y %H:%M"),
    ],
    ids=["all", "no occupancy", "no conditions"],
)
def test_air_handlers_of_other_columns_find_their_fault_days(
    tmp_path: Path, tags: tuple[str, ...], shape: str
) -> None:
    """With and without fan status and occupancy; days by whatever date there is."""
    write_hvac(tmp_path, "FCU-1.csv", tags, shape)
    found = judge("hvac", tmp_path)
    assert (found["fault_days"], found["fault_days_above_all_normal"]) == (2, 2)
    assert found["auc"] > 0.7


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_bearings_of_any_number_of_channels_are_warned_of(tmp_path: Path, channels: int) -> None:
    """One, four, or two for each of four bearings; the worst of several tests counts."""
    write_ims(tmp_path, "1st_test_resmaple_10minutes.csv", channels)
    write_ims(tmp_path, "3rd_test_resmaple_10minutes.csv", 4)
    found = judge("ims", tmp_path)
    assert found["missed"] == 0
    leads = [found[f"first_alarm_h_before_end_{name}_test_resmaple_10minutes"] for name in ("1st", "3rd")]
    assert found["first_alarm_h_before_end"] == min(leads) > 14.0


def pause(rows: Rows) -> Rows:
    """Let the rig stand for a day before its last 60 rows."""
    return [
        *rows[:-60],
        *([row[0], f"2020.04.{int(row[1][8:10]) + 1:02d}{row[1][10:]}", *row[2:]] for row in rows[-60:]),
    ]


@pytest.mark.parametrize(
    ("change", "hours"),
    [
        (lambda rows: rows, 333.0),
        (lambda rows: rows[1:], 333.0),
        (lambda rows: [row[1:] for row in rows], 333.0),
        (lambda rows: [[row[0], *row[2:]] for row in rows], 333.0),
        (lambda rows: [rows[0], *reversed(rows[1:])], 333.0),
        (pause, 357.0),
    ],
    ids=["plain", "no header", "no index", "no times", "newest first", "a pause"],
)
def test_bearing_files_are_read_by_what_their_columns_hold(
    tmp_path: Path, change: Callable[[Rows], Rows], hours: float
) -> None:
    """Counted rows and times are no measurements; hours are the clock's where the file has one."""
    plain = read_test(write_ims(tmp_path, "2nd_test.csv", 3))
    odd = read_test(write_ims(tmp_path, "3rd_test.csv", 3, change))
    assert np.array_equal(odd.values, plain.values)
    assert odd.seconds[-1] / 3600.0 == pytest.approx(hours, abs=0.2)


def test_a_bearing_file_with_missing_cells_is_judged_by_the_others(tmp_path: Path) -> None:
    """A cell in nine is empty; a word in one is told with its line."""
    write_ims(
        *(tmp_path, "2nd_test.csv", 3),
        lambda rows: [[*row[:4], ""] if place % 9 == 4 else row for place, row in enumerate(rows)],
    )
    assert judge("ims", tmp_path)["missed"] == 0
    write_ims(tmp_path, "2nd_test.csv", 3, lambda rows: [*rows[:5], [*rows[5][:4], "broken"], *rows[6:]])
    with pytest.raises(ForewarnError, match=r"2nd_test\.csv:6 column 'Bearing 3': 'broken' is not a number"):
        judge("ims", tmp_path)
