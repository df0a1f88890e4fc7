"""Benchmarks on files that nobody has seen yet: other units, odd columns, gaps, and what is no such file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.anomaly.benchmarks.protocol import LayoutMissing
from models.anomaly.benchmarks.shelf import BENCHMARKS, run_benchmark
from models.errors import ForewarnError
from tests.unit.benchmark_rig import (
    Rows,
    judge,
    write_hvac,
    write_metropt,
    write_nab,
    write_rows,
    write_skab,
    write_tep,
)


def give_an_index(rows: Rows) -> Rows:
    """Put in front what pandas does."""
    return [["", *rows[0]], *([str(place), *row] for place, row in enumerate(rows[1:]))]


def leave_a_channel_out(rows: Rows) -> Rows:
    """Take the second column away."""
    return [[row[0], *row[2:]] for row in rows]


def silence_a_channel(rows: Rows) -> Rows:
    """Leave the cells of one channel empty, of another after row 450, and hold a third still."""
    return [
        rows[0],
        *(
            [row[0], "", row[2], row[3], "5.0", row[5] if place < 450 else "nan", *row[6:]]
            for place, row in enumerate(rows[1:])
        ),
    ]


def repeat_an_hour(rows: Rows) -> Rows:
    """Set the clock back at row 300, as in autumn: of rows with one instant the last counts."""
    return [*rows[:300], *rows[250:300], *rows[300:]]


def lose_labels(rows: Rows) -> Rows:
    """Leave the labels of the rows 410 to 430 empty."""
    return [
        rows[0],
        *([*row[:-2], "", ""] if 410 <= place < 430 else row for place, row in enumerate(rows[1:])),
    ]


def drop_rows(rows: Rows) -> Rows:
    """Leave out every seventh second."""
    return [row for place, row in enumerate(rows) if place % 7 or not place]


@pytest.mark.parametrize(
    "change",
    [give_an_index, leave_a_channel_out, silence_a_channel, repeat_an_hour, lose_labels, drop_rows],
)
def test_odd_files_of_the_rig_find_their_event(tmp_path: Path, change: Callable[[Rows], Rows]) -> None:
    """An index, a missing, silent or still channel, repeated times, missing labels and rows: it is found."""
    write_skab(tmp_path, "other/77.csv", change, end="\r\n")
    found = judge("skab", tmp_path)
    assert (found["events"], found["events_found"]) == (1, 1)
    assert found["f1"] > 0.8
    assert found["false_episodes"] == 0
    assert 0 <= found["delay_s_median"] < 30


def test_the_set_is_found_from_its_parent_its_folder_and_a_group(tmp_path: Path) -> None:
    """DIR may be any of the three; other sets beside it are not mistaken for it."""
    write_skab(tmp_path, "valve1/0.csv")
    write_skab(tmp_path, "valve1/._0.csv")
    write_hvac(tmp_path)
    for folder in (tmp_path, tmp_path / "skab", tmp_path / "skab" / "valve1"):
        assert len(BENCHMARKS["skab"].list_files(folder)) == 1
    with pytest.raises(LayoutMissing, match="looked for skab"):
        BENCHMARKS["skab"].list_files(tmp_path / "hvac")
    (tmp_path / "empty").mkdir()
    for name, benchmark in BENCHMARKS.items():
        with pytest.raises(LayoutMissing, match=f"no file of {name} is there"):
            benchmark.list_files(tmp_path / "empty")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:300], r"0\.csv: has 299 rows; 400 are learned from"),
        (lambda rows: [row[:-2] for row in rows], r"0\.csv:1: there is no column 'anomaly'"),
        (lambda rows: [*rows[:9], ["x"], *rows[9:]], r"0\.csv:10: has 1 cells, the header has 11"),
        (lambda rows: [*rows[:9], [*rows[9][:3], "1,5", *rows[9][4:]]], r"0\.csv:10 column 'Tag 2': '1,5'"),
        (lambda rows: rows[1:], r"0\.csv:1"),
        (lambda _: [], r"0\.csv:1: has no header"),
        (lambda rows: [*rows, ["2031-01-01 00:00:00", *rows[-1][1:]]], r"0\.csv: spans more than 7 days"),
    ],
    ids=["short", "no labels", "torn", "comma", "no header", "empty", "a wrong clock"],
)
def test_what_is_no_experiment_is_told_by_file_and_line(
    tmp_path: Path, change: Callable[[Rows], Rows], reason: str
) -> None:
    """The message names the file, the line where there is one, and the mend."""
    write_skab(tmp_path, change=change)
    with pytest.raises(ForewarnError, match=reason):
        judge("skab", tmp_path)


def test_the_run_without_a_fault_shows_what_became_of_the_promise(tmp_path: Path) -> None:
    """It belongs to no metric; what was promised for it and before the onsets is told beside the figures."""
    write_skab(tmp_path)
    write_skab(tmp_path, "anomaly-free/anomaly-free.csv", lambda rows: [row[:-2] for row in rows[:480]])
    report = run_benchmark(BENCHMARKS["skab"], tmp_path, ["fuse"])
    assert report.files == 1
    before, calm = report.kept["fuse"]
    assert (before.where, calm.where) == ("before the onset", "run without a fault")
    assert before.provisional
    # 400 learned rows, the first 60 without a window, bear one false alarm in 680 s; 100 s were judged.
    assert before.expected == pytest.approx(0.145, abs=0.02)
    assert before.realised == report.results["fuse"]["false_episodes"]


def lose_hours(rows: Rows) -> Rows:
    """Leave out 300 rows, and repeat some."""
    return [*rows[:700], *rows[690:700], *rows[1000:]]


@pytest.mark.parametrize("step_s", [300.0, 1800.0, 3600.0])
def test_single_tags_of_any_interval_find_their_window(tmp_path: Path, step_s: float) -> None:
    """Five minutes, half an hour, an hour; with gaps and repeated rows."""
    write_nab(tmp_path, "taxi.csv", step_s, lose_hours)
    found = judge("nab", tmp_path)
    assert (found["windows"], found["windows_found"]) == (1, 1)
    assert found["nab_standard"] > 50
    assert len(found["lead_h"]) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "its labels are missing"),
        ("{", r"combined_windows\.json:1: is not JSON"),
        ("{}", r"has no windows of pump\.csv: add them"),
        ('{"pump.csv": [["noon", "night"]]}', r"the windows of pump\.csv are no pairs of times"),
    ],
)
def test_windows_that_are_not_there_are_told(tmp_path: Path, text: str | None, reason: str) -> None:
    """Without windows every alert would count as false."""
    write_nab(tmp_path)
    labels = tmp_path / "nab" / "labels" / "combined_windows.json"
    labels.unlink()
    if text is not None:
        labels.write_text(text)
    with pytest.raises(ForewarnError, match=reason):
        judge("nab", tmp_path)


def test_process_faults_count_by_what_is_given(tmp_path: Path) -> None:
    """`fdr18` leaves 3, 9 and 15 out of whatever is there; a second normal run teaches without the first."""
    write_tep(tmp_path, [0, 11, 15, 21], normal=False)
    found = judge("tep", tmp_path)
    assert found["faults"] == 3
    assert found["fdr"] > 0.9
    assert found["fdr18"] > 0.9
    assert found["far"] < 0.05
    with pytest.raises(LayoutMissing):
        judge("tep", write_tep(tmp_path / "other", [11], normal=False))


@pytest.mark.parametrize(
    ("line", "reason"),
    [("1 2 3", r"d11_te\.dat:401: has 3 numbers, the first line has 52"), ("x " * 52, "'x' is not a number")],
)
def test_a_torn_run_is_told_by_its_line(tmp_path: Path, line: str, reason: str) -> None:
    """A line that is short, a word."""
    home = write_tep(tmp_path, [11])
    with (home / "d11_te.dat").open("a") as run:
        run.write(line + "\n")
    with pytest.raises(ForewarnError, match=reason):
        judge("tep", tmp_path)


def test_windows_of_the_compressor_are_matched_by_name(tmp_path: Path) -> None:
    """A test file with other rows and another order of columns; either file alone is judged by folds."""
    train = write_metropt(tmp_path)
    assert judge("metropt", tmp_path)["auc"] > 0.9
    test = write_metropt(tmp_path, "test.csv", rows=200, seed=4)
    turned = [line.split(",")[::-1] for line in test.read_text().splitlines()]
    write_rows(test, turned)
    assert judge("metropt", tmp_path)["auc"] > 0.9
    train.unlink()
    assert judge("metropt", tmp_path)["auc"] > 0.8


def test_a_file_that_is_no_text_is_told_by_its_line(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a folder in a file's place."""
    train = write_metropt(tmp_path)
    train.write_bytes(train.read_bytes()[:500] + b"\n\xff\xfe\n")
    with pytest.raises(ForewarnError, match=r"train\.csv:\d+: is not UTF-8 text"):
        judge("metropt", tmp_path)
    train.unlink()
    train.mkdir()
    with pytest.raises(ForewarnError, match=r"train\.csv: cannot be read"):
        judge("metropt", tmp_path)
