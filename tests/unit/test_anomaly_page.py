"""The page of figures: tables, comparisons, and what others published."""

import pytest

from models.anomaly.benchmarks.page import list_promises, make_page, make_table
from models.anomaly.benchmarks.promises import Kept, join_kept
from models.anomaly.benchmarks.protocol import Metrics
from models.anomaly.benchmarks.shelf import Report


def make_report(ours: Metrics, rival: Metrics) -> Report:
    """Return a report of two detectors on two files of bearings."""
    return Report("ims", 2, {"fuse": ours, "knn": rival})


def test_the_table_has_a_column_per_metric_of_anybody() -> None:
    """What a contender has not is a dash; lists and numbers that are none are said in words."""
    report = make_report(
        {"first_alarm_h_before_end": 74.21, "missed": 0}, {"missed": 1, "leads": [1.0, None]}
    )
    assert make_table(report) == [
        ["detector", "first_alarm_h_before_end", "missed", "leads"],
        ["fuse", "74.2", "0", "-"],
        ["knn", "-", "1", "1, -"],
    ]


def test_the_page_says_who_is_better() -> None:
    """More hours before the end are better, fewer false episodes too; level is not better."""
    page = make_page(
        [
            make_report(
                {"first_alarm_h_before_end": 70.0, "false_episodes": 0},
                {"first_alarm_h_before_end": 80.0, "false_episodes": 1},
            )
        ],
        {"numpy": "2"},
    )
    assert "## ims: 2 files" in page
    assert "| first_alarm_h_before_end | 70 | 80 |" in page
    assert "Better than `fuse`: `first_alarm_h_before_end`: knn." in page
    level = make_page([make_report({"false_episodes": 0}, {"false_episodes": 0})], {})
    assert "`fuse` is best or level throughout." in level


def test_published_figures_say_whether_they_look_ahead() -> None:
    """SKAB's leaderboard looks ahead; the page says so."""
    page = make_page([Report("skab", 1, {"fuse": {"f1": 0.8}})], {})
    assert "| F1 0.78 |" in page
    assert "yes, 58 s" in page


def test_the_page_says_what_became_of_promises() -> None:
    """Of ours only, set by set; expected is promise times time, and that of many baselines their mean."""
    month_s = 30.4375 * 86_400.0
    parts = [
        Kept("before the onset", "month", 100.0, 3600.0 / month_s, 1, provisional=True),
        Kept("before the onset", "month", 300.0, 3600.0 / month_s, 0, provisional=False),
    ]
    (joined,) = join_kept(parts)
    assert joined.promised == pytest.approx(200.0)
    assert joined.realised == 1
    assert joined.provisional
    report = Report("skab", 1, {"fuse": {}, "knn": {}}, {"fuse": [joined], "knn": parts, "random": parts})
    page = make_page([report], {})
    assert "## skab: 1 file\n" in page
    rows = page[page.index("## Promised") :].splitlines()
    assert rows[-1] == "| skab | before the onset: 2 h | 200 a month | 0.548 | 1 | 1.8 | provisional |"
    assert not any("knn" in row for row in rows)
    assert [row[0] for row in list_promises(report)] == ["", "fuse", "knn", "knn"]


def test_without_healthy_time_there_is_no_promise_to_judge() -> None:
    """A table without rows is not printed."""
    nothing = join_kept([Kept("before the onset", "month", 100.0, 0.0, 0, provisional=True)])
    assert nothing == []
    assert "Promised" not in make_page([Report("skab", 2, {"fuse": {}}, {"fuse": nothing})], {})
