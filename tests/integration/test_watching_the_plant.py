"""What the detector makes of the simulated plant: wear is seen early and named, health raises nothing."""

import pytest

from edge.simulator.machines import FaultKind
from models.telemetry import MachinePath
from tests.integration.watched_plant import ONSET_S, find_alert, list_machines, make_fault, watch


@pytest.mark.parametrize(
    ("kind", "worn"),
    [
        ("bearing", {"bearing_temperature", "vibration_velocity"}),
        ("cavitation", {"suction_pressure"}),
        ("misalignment", {"bearing_temperature", "vibration_velocity"}),
    ],
)
def test_wear_is_seen_within_thirty_seconds_and_named(kind: FaultKind, worn: set[str]) -> None:
    """Never before the onset; the strongest contributions name the worn tags, not their neighbours."""
    fault = make_fault(kind)
    alert = find_alert(watch(3, fault.machine, 75.0, fault))
    assert alert is not None
    raised_s, seen = alert
    assert ONSET_S < raised_s <= ONSET_S + 30.0
    strongest = {contribution.tag for contribution in seen.contributions[: len(worn)]}
    assert strongest == worn


def test_a_stuck_tag_is_a_tags_fault_and_no_more() -> None:
    """The tag is named faulty within 15 s, the machine is never strange for as long as an alert needs."""
    fault = make_fault("stuck-tag")
    seen = watch(3, fault.machine, 100.0, fault)
    assert find_alert(seen) is None
    faulty = [one for one in seen if one.faulty_tags]
    assert {tag for one in faulty for tag in one.faulty_tags} == {"bearing_temperature"}
    assert ONSET_S < (faulty[0].timestamp - seen[0].timestamp) / 1e9 < ONSET_S + 15.0
    assert faulty[-1] is seen[-1]
    assert faulty[0].faulty_tags["bearing_temperature"].startswith("unchanged for ")
    assert "unchanged for more than " in seen[-1].faulty_tags["bearing_temperature"]


@pytest.mark.parametrize("machine", list_machines(), ids=str)
def test_five_healthy_minutes_raise_nothing(machine: MachinePath) -> None:
    """No alert, no faulty tag, every row judged."""
    seen = watch(7, machine, 300.0)
    assert find_alert(seen) is None
    assert {one.state for one in seen} == {"judged"}
    assert not [one for one in seen if one.faulty_tags]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_ten_healthy_minutes_raise_nothing_whatever_the_seed(seed: int) -> None:
    """Three machines, five seeds: 150 machine-minutes without an alert."""
    for machine in list_machines():
        assert find_alert(watch(seed, machine, 600.0)) is None, (seed, machine)
