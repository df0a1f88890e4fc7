"""The page of figures: tables, comparisons, and what others published."""

from models.anomaly.benchmarks.page import make_page, make_table
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
