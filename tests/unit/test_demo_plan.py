"""The demo's plan: everything falls into its length, in the order of the story."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.demo.plan import DemoRefused, Scenario, plan_demo


@given(st.sampled_from(list(Scenario)), st.floats(1, 60))
def test_the_story_keeps_its_order_whatever_its_length(scenario: Scenario, minutes: float) -> None:
    """Health, onset, outage, failure, end; what does not happen has no time."""
    plan = plan_demo(scenario, minutes)
    assert 0 < plan.outage_begins_s < plan.outage_ends_s < plan.end_s
    assert plan.outage_ends_s - plan.outage_begins_s == pytest.approx(10)
    assert (plan.onset_s is None) == (scenario is Scenario.HEALTHY)
    assert (plan.failure_s is None) == (scenario in (Scenario.HEALTHY, Scenario.STUCK_TAG))
    if plan.onset_s is not None and plan.failure_s is not None:
        assert plan.onset_s < plan.outage_begins_s
        assert plan.onset_s < plan.failure_s <= plan.end_s - 14 + 1e-9


def test_two_minutes_show_half_a_minute_of_health_and_a_minute_of_wear() -> None:
    """The default is the story of the README."""
    plan = plan_demo(Scenario.BEARING, 2)
    assert (plan.onset_s, plan.failure_s) == (40, 104)
    assert plan.outage_begins_s == 72


@pytest.mark.parametrize("minutes", [0, 0.5, 61, float("nan"), float("inf")])
def test_a_length_out_of_bounds_is_refused(minutes: float) -> None:
    """The message names the bounds."""
    with pytest.raises(DemoRefused, match=r"outside 1\.\.60"):
        plan_demo(Scenario.BEARING, minutes)
