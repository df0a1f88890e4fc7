"""Rules of machines in the settings: which machine they are about, and what is wrong with them."""

from pathlib import Path

import pytest

from cloud.watch.rules import find_wishes
from cloud.watch.watching import WatchSettings
from models.anomaly.conditions import RunningCondition
from models.anomaly.running import RunningPlan
from models.settings import SettingsError, parse_settings
from models.telemetry import MachinePath

PUMP = MachinePath.parse("riverside/hall-1/water/pump-7")
FAN = MachinePath.parse("riverside/hall-2/air/fan-1")
GOOD = """\
rules:
  - machines: riverside/*/*/pump-*
    running: ["speed > 50", "valve == 1"]
    settle_s: 30
    ranges: {bearing_temperature: [-40, 150]}
  - machines: "*/*/*/*"
    running_by: [load]
"""


def read(text: str) -> WatchSettings:
    """Return the settings that a file says."""
    return parse_settings(text, Path("cloud.yaml"), WatchSettings)


def test_the_first_rule_that_fits_counts() -> None:
    """A star stands for any letters of one word; a machine that no rule fits has no wishes."""
    rules = read(GOOD).rules
    pump, fan = find_wishes(rules, PUMP), find_wishes(rules, FAN)
    conditions = [RunningCondition("speed", ">", 50.0), RunningCondition("valve", "==", 1.0)]
    assert pump.running == RunningPlan(conditions, [], 30.0)
    assert pump.ranges == {"bearing_temperature": (-40.0, 150.0)}
    assert fan.running == RunningPlan([], ["load"], 60.0)
    assert find_wishes(rules[:1], FAN).running.tags == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("{machines: pump-7}", "write site/area/line/machine"),
        ("{machines: a/b/c/d, running: [speed]}", "write it like `speed > 50`"),
        (
            "{machines: a/b/c/d, running: [x > 1], running_by: [x]}",
            "running and running_by exclude each other",
        ),
        ("{machines: a/b/c/d, ranges: {t: [5, 1]}}", "write the lower end first"),
        ("{machines: a/b/c/d, ranges: {t: [5]}}", "at least 2"),
        ("{machines: a/b/c/d, runing: [x > 1]}", "Did you mean running"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_the_mend(wrong: str, words: str) -> None:
    """At the line of the rule."""
    with pytest.raises(SettingsError) as caught:
        read(f"grid_s: 1.0\nrules:\n  - {wrong}\n")
    assert words in str(caught.value)
    assert "line 3" in str(caught.value) or ":3" in str(caught.value)
