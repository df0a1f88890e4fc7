"""The promises of the alert state machine: patience, one alert, no repeat, no storm from late values."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alerts.settings import AlertSettings
from cloud.alerts.states import Change, JudgedWindow, Progress, advance, weigh_contributions
from cloud.watch.observations import Contribution, Observation
from tests.unit.alert_rig import TEMPERATURE, VIBRATION, observe

RULES = AlertSettings()
STUCK = {"flow": "unchanged for 14 s"}


def follow(
    seen: Iterable[Observation], rules: AlertSettings = RULES, progress: Progress | None = None
) -> tuple[Progress, list[tuple[float, Change]]]:
    """Return the last progress and every change with the second that it came at."""
    progress = progress or Progress()
    start = observe(0).timestamp
    changes = []
    for one in seen:
        progress, change = advance(progress, one, rules)
        if change is not None:
            changes.append(((one.timestamp - start) / 1e9, change))
    return progress, changes


def steps(changes: list[tuple[float, Change]]) -> list[tuple[float, str]]:
    """Return when what changed, without the evidence."""
    return [(second, change.step) for second, change in changes]


def test_eight_of_ten_windows_above_the_limit_raise_one_alert() -> None:
    """The eighth window above raises; nothing more is raised while it stays above."""
    _, changes = follow(observe(second, 2.0) for second in range(60))
    assert steps(changes) == [(7, "raised")]
    assert changes[0][1].kind == "machine"


def test_two_windows_of_ten_may_miss() -> None:
    """Noise around the limit does not start the count anew, as long as eight of ten are above."""
    scores = [2, 2, 2, 0.9, 2, 2, 0.9, 2, 2, 2]
    _, changes = follow(observe(second, score) for second, score in enumerate(scores))
    assert steps(changes) == [(9, "raised")]


def test_seven_of_ten_are_not_enough() -> None:
    """A pattern that never has eight of ten above is not raised however long it lasts."""
    _, changes = follow(observe(second, 0.9 if second % 10 in (0, 3, 6) else 5.0) for second in range(300))
    assert changes == []


def test_the_on_delay_counts_seconds_from_the_first_of_the_windows() -> None:
    """Fast windows alone do not raise: the seconds must pass too."""
    _, changes = follow(observe(n / 10, 2.0) for n in range(100))
    assert steps(changes) == [(5.0, "raised")]
    _, changes = follow((observe(second, 2.0) for second in range(100)), AlertSettings(on_delay_s=60.0))
    assert steps(changes) == [(60, "raised")]


def test_the_alert_clears_after_the_off_delay_well_below_the_limit() -> None:
    """Below the limit is not enough (hysteresis), and one window above starts the off-delay anew."""
    progress, changes = follow(observe(second, 2.0) for second in range(10))
    assert len(changes) == 1
    between = [observe(second, 0.8) for second in range(10, 100)]
    calm = [observe(second, 0.3) for second in range(100, 120)]
    again = [observe(120, 0.7)]
    rest = [observe(second, 0.3) for second in range(121, 200)]
    progress, changes = follow([*between, *calm, *again, *rest], progress=progress)
    assert steps(changes) == [(151, "cleared")]
    assert progress.alert is None


def test_a_cleared_machine_needs_the_whole_on_delay_again() -> None:
    """What stood in the windows before an alert was cleared does not help to raise the next."""
    scores = [2.0] * 10 + [0.1] * 31 + [2.0] * 10
    _, changes = follow(observe(second, score) for second, score in enumerate(scores))
    assert steps(changes) == [(7, "raised"), (40, "cleared"), (48, "raised")]


def test_a_faulty_tag_raises_a_tag_alert_after_its_own_delay() -> None:
    """Only a fault that lasts is told; it clears when the tag has been well for the off-delay."""
    flicker = [observe(s, faulty_tags=STUCK if s % 8 else {}) for s in range(41)]
    stuck = [observe(s, faulty_tags=STUCK) for s in range(41, 80)]
    well = [observe(s) for s in range(80, 120)]
    _, changes = follow([*flicker, *stuck, *well])
    assert steps(changes) == [(51, "raised"), (110, "cleared")]
    assert (changes[0][1].kind, changes[0][1].faulty) == ("tag", ["flow"])


def test_a_tag_alert_is_escalated_when_the_machine_itself_goes_wrong() -> None:
    """The same alert becomes a machine's: there is no second one."""
    stuck = [observe(s, faulty_tags=STUCK) for s in range(20)]
    worn = [observe(s, 3.0, faulty_tags=STUCK, contributions=[VIBRATION]) for s in range(20, 60)]
    progress, changes = follow([*stuck, *worn])
    assert steps(changes) == [(10, "raised"), (27, "escalated")]
    assert changes[1][1].kind == "machine"
    assert changes[1][1].contributions == [VIBRATION]
    assert progress.alert == "machine"


def test_another_faulty_tag_widens_the_open_alert() -> None:
    """A second broken sensor is written into the alert that is open."""
    both = STUCK | {"speed": "bad quality"}
    seen = [observe(s, faulty_tags=STUCK if s < 30 else both) for s in range(60)]
    _, changes = follow(seen)
    assert steps(changes) == [(10, "raised"), (40, "widened")]
    assert changes[1][1].faulty == ["flow", "speed"]


@pytest.mark.parametrize("state", ["learning", "cannot_judge"])
def test_an_unjudged_machine_neither_raises_nor_clears(state: str) -> None:
    """Silence about a machine is no news, good or bad; afterwards the calm must last anew."""
    silent = [observe(s, None, state=state, faulty_tags=STUCK) for s in range(100)]
    assert follow(silent)[1] == []
    progress, _ = follow(observe(s, 2.0) for s in range(100, 110))
    calm = [observe(s, 0.1) for s in range(110, 135)]
    gap = [observe(s, None, state=state) for s in range(135, 300)]
    rest = [observe(s, 0.1) for s in range(300, 400)]
    _, changes = follow([*calm, *gap, *rest], progress=progress)
    assert steps(changes) == [(330, "cleared")]


def test_historical_trouble_raises_nothing() -> None:
    """What comes late from a gateway's backlog is no news."""
    assert follow(observe(s, 9.0, faulty_tags=STUCK, historical=True) for s in range(100))[1] == []


def test_repeats_count_once() -> None:
    """A window that is judged twice (after a restart) is one window."""
    seen = [observe(s, 2.0) for s in range(7)]
    assert follow(seen * 5)[1] == []


def test_a_clock_set_back_does_not_silence_a_machine_for_ever() -> None:
    """Event time from a wrong clock (years ahead) is forgotten once the clock is right again."""
    ahead = [observe(s + 1e9, 0.1) for s in range(5)]
    assert steps(follow([*ahead, *(observe(s, 2.0) for s in range(10))])[1]) == [(7, "raised")]


def test_the_evidence_is_what_stood_out_over_all_windows() -> None:
    """One window's outlier does not name the wrong tag; the numbers are the latest."""
    outlier = Contribution("speed", 9.0, 1.0, 8.0)
    later = Contribution("vibration_velocity", 6.0, 2.0, 6.5)
    windows = [
        JudgedWindow(1, True, [VIBRATION, TEMPERATURE]),
        JudgedWindow(2, True, [outlier, VIBRATION]),
        JudgedWindow(3, False, [outlier, outlier]),
        JudgedWindow(4, True, [later, TEMPERATURE]),
    ]
    assert weigh_contributions(windows) == [later, TEMPERATURE, outlier]


observations = st.lists(
    st.tuples(
        st.sampled_from([0.5, 1.0, 1.0, 1.0, 7.0]),
        st.sampled_from(["judged", "judged", "judged", "judged", "cannot_judge", "learning"]),
        st.sampled_from([0.1, 0.3, 0.9, 1.5, 3.0]),
        st.sampled_from([{}, {}, STUCK, STUCK | {"speed": "bad"}]),
        st.booleans(),
    ),
    max_size=120,
).map(
    lambda rows: [
        observe(
            sum(row[0] for row in rows[: n + 1]),
            score if state == "judged" else None,
            state=state,
            faulty_tags=faulty,
            historical=late and n % 5 == 0,
        )
        for n, (_, state, score, faulty, late) in enumerate(rows)
    ]
)


@settings(max_examples=150, deadline=None)
@given(observations)
def test_changes_follow_each_other_as_they_must(seen: list[Observation]) -> None:
    """One open alert at most, with its evidence in the windows; restarts and repeats change nothing."""
    rules = AlertSettings(on_delay_s=2.0, off_delay_s=4.0, tag_on_delay_s=2.0, windows=5, windows_above=3)
    progress, kind, above = Progress(), None, []
    for one in seen:
        after, change = advance(progress, one, rules)
        # A restart between any two observations, and a repeat of each, change nothing.
        thawed = msgspec.json.decode(msgspec.json.encode(progress), type=Progress)
        assert advance(thawed, one, rules) == (after, change)
        assert advance(after, one, rules) == (after, None)
        if one.state != "judged" or one.historical:
            assert change is None
        else:
            assert one.score is not None
            above.append(one.score > 1.0)
        if change is not None:
            allowed = {
                None: {"raised"},
                "tag": {"escalated", "widened", "cleared"},
                "machine": {"widened", "cleared"},
            }
            assert change.step in allowed[kind]
            if change.step in ("raised", "escalated") and change.kind == "machine":
                assert sum(above[-5:]) >= 3
            kind = None if change.step == "cleared" else change.kind
        assert after.alert == kind
        progress = after


def test_an_alert_clears_at_what_is_usual_of_a_machine_of_many_tags() -> None:
    """Its score never falls to 0.65 of the limit: what nine in ten normal rows stay below is well again."""
    after = [observe(second, 2.0) for second in range(20)]
    usual = {"score": 0.85, "calm": 0.92}
    _, changes = follow([*after, *(observe(second, **usual) for second in range(20, 80))])
    assert steps(changes) == [(7, "raised"), (50, "cleared")]
    _, changes = follow([*after, *(observe(second, 0.95, calm=0.92) for second in range(20, 80))])
    assert steps(changes) == [(7, "raised")]
