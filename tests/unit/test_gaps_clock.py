"""Gaps beside a wall clock that is set meanwhile, or is not believed: as long, and where, as they were."""

import pytest

from edge.polling.gaps import NS_PER_S
from models.telemetry import Frame
from tests.unit.gaps_rig import NOW, PUMP, Gateway, list_covered, measure

HOUR = 3_600.0
STEPS = [HOUR, -HOUR, 0.05, -0.05, 2.0]


@pytest.mark.parametrize("by_s", STEPS)
def test_missed_polls_last_as_long_as_by_the_steady_clock(by_s: float) -> None:
    """The clock is set between the value before and the late one: four polls, not an hour."""
    gateway = Gateway(is_synchronised=True)
    gateway.poll(0.01)
    gateway.wait(0.99)
    gateway.set_clock(by_s)
    gateway.poll_late(4.51, 4)
    gateway.wait(0.5)
    gateway.poll(0.01)
    gateway.flush()
    # From a value in the middle of a short read to one in the middle of a long one, and on to a short one.
    first, second = measure(gateway.gaps)
    assert (first, second) == (pytest.approx(3.25, abs=0.06), pytest.approx(2.76, abs=0.01))
    assert gateway.gaps[0].last == gateway.gaps[1].first
    assert list_covered(gateway) == []


@pytest.mark.parametrize("by_s", STEPS)
def test_missed_polls_after_the_late_one_last_as_long_as_by_the_steady_clock(by_s: float) -> None:
    """The clock is set between the late value and the next: the count before and after stays the same."""
    gateway = Gateway(is_synchronised=True)
    gateway.poll(0.01)
    gateway.wait(0.99)
    gateway.poll_late(4.51, 4)
    gateway.set_clock(by_s)
    gateway.wait(0.5)
    gateway.poll(0.01)
    gateway.flush()
    first, second = gateway.gaps
    assert measure([first]) == [pytest.approx(3.25, abs=0.01)]
    assert measure([second]) == [pytest.approx(2.76, abs=0.06)]
    assert [gap.detail.split()[0] for gap in gateway.gaps] == ["2", "2"]
    assert list_covered(gateway) == []


@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
def test_a_clock_that_is_set_during_the_late_poll_makes_no_long_gap(by_s: float) -> None:
    """Its timestamp is half of each clock; the gaps are no longer than the time that passed."""
    gateway = Gateway(is_synchronised=True)
    gateway.poll(0.01)
    gateway.wait(0.99)
    gateway.set_clock(by_s)
    gateway.poll_late(4.51, 4, half_stepped_s=by_s)
    gateway.wait(0.5)
    gateway.poll(0.01)
    gateway.flush()
    assert sum(int(gap.detail.split()[0]) for gap in gateway.gaps) == 4
    assert 4 <= sum(measure(gateway.gaps)) <= 10


def test_a_machine_with_a_clock_of_its_own_keeps_its_timestamps() -> None:
    """The gateway's clock is set, the machine's is not: the gap ends where the machine's values are."""
    gateway = Gateway()
    of_machine = gateway.wall_ns
    gateway.poll(0.01)
    gateway.wait(3.99)
    gateway.set_clock(HOUR)
    steady_ns = gateway.read_clocks()[1]
    gateway.collector.add(PUMP, [_row(of_machine + steady_ns)])
    gateway.collector.miss(PUMP, 3, 1.0)
    gateway.wait(1)
    gateway.collector.add(PUMP, [_row(of_machine + steady_ns + NS_PER_S)])
    gateway.flush()
    (gap,) = gateway.gaps
    assert (gap.first, gap.last) == (gateway.taken[0], gateway.taken[1])


def test_missed_polls_while_the_clock_is_doubted_are_recorded_once_it_is_right() -> None:
    """An hour back: values wait. Three polls fall out: the gap lies between the values' true times."""
    gateway = Gateway()
    gateway.poll(0.01)
    gateway.set_clock(-HOUR)
    for _ in range(3):
        gateway.wait(0.99)
        gateway.poll(0.01)
    gateway.wait(0.99)
    gateway.poll_late(3.5, 3)
    gateway.wait(0.5)
    gateway.poll(0.01)
    assert gateway.flush() == []
    gateway.set_clock(HOUR)
    gateway.wait(0.99)
    gateway.poll(0.01)
    gateway.flush()
    assert len(gateway.taken) == 7
    assert list_covered(gateway) == []
    assert sum(measure(gateway.gaps)) == pytest.approx(5, abs=0.1)
    assert sum(int(gap.detail.split()[0]) for gap in gateway.gaps) == 3


def test_a_loss_while_the_clock_is_doubted_begins_and_ends_at_the_values_around_it() -> None:
    """Twice: both are recorded with their true times, and none of them covers what was read."""
    gateway = Gateway()
    gateway.poll(0.01)
    gateway.set_clock(-HOUR)
    for _ in range(2):
        for _ in range(5):
            gateway.wait(0.99)
            gateway.poll(0.01)
        gateway.wait(1)
        gateway.lose()
        gateway.wait(60)
        gateway.connect()
        gateway.poll(0.01)
    gateway.set_clock(HOUR)
    gateway.wait(0.99)
    gateway.poll(0.01)
    gateway.flush()
    assert len(gateway.taken) == 14
    assert list_covered(gateway) == []
    assert measure(gateway.gaps, "connection_lost") == [pytest.approx(61, abs=0.1)] * 2


def test_a_loss_that_outlasts_the_doubt_begins_at_the_last_value() -> None:
    """It begins while the clock is wrong, grows on record once it is right, and ends later."""
    gateway = Gateway()
    gateway.poll(0.01)
    gateway.set_clock(-HOUR)
    gateway.wait(30)
    gateway.poll(0.01)
    gateway.wait(1)
    gateway.lose()
    gateway.wait(100)
    gateway.set_clock(HOUR)
    (open_gap,) = gateway.flush()
    assert list_covered(gateway) == []
    assert measure([open_gap], "connection_lost") == [pytest.approx(101, abs=0.1)]
    gateway.wait(50)
    gateway.connect()
    gateway.poll(0.01)
    (closed,) = gateway.flush()
    assert (closed.first, closed.last) == (open_gap.first, gateway.taken[-1])


def test_a_machine_that_was_silent_since_the_computer_started_is_on_record() -> None:
    """It was to be read while the clock was in 1970, and never answered: the gap begins there."""
    gateway = Gateway(wall_ns=0)
    gateway.lose()
    gateway.wait(200)
    assert gateway.flush() == []
    gateway.set_clock(NOW / NS_PER_S)
    gateway.wait(1)
    (gap,) = gateway.flush()
    assert (gap.reason, measure([gap], "connection_lost")) == ("connection_lost", [201])
    assert gap.last == gateway.read_clocks()[0]


def test_a_quiet_machine_that_came_back_while_the_clock_was_doubted_leaves_its_gap() -> None:
    """It had nothing to say since: the gap ends when it was back, not in 1970."""
    gateway = Gateway()
    gateway.poll(0.01)
    gateway.wait(1)
    gateway.lose()
    gateway.wait(60)
    gateway.set_clock(-NOW / NS_PER_S)
    gateway.connect()
    gateway.collector.add(PUMP, [])
    gateway.wait(60)
    gateway.set_clock(NOW / NS_PER_S)
    for _ in range(30):
        gateway.wait(1)
        gateway.collector.add(PUMP, [])
    gateway.flush()
    assert measure(gateway.gaps, "connection_lost")[-1] == pytest.approx(61, abs=0.1)


def test_a_machine_that_knows_the_time_better_makes_no_gap_in_the_far_future() -> None:
    """Its values go on while the gateway's clock is in 1970; what is lost after that ends now."""
    gateway = Gateway(wall_ns=0)
    true_ns = NOW - 100 * NS_PER_S
    gateway.connect()
    gateway.collector.add(PUMP, [_row(true_ns + gateway.read_clocks()[1])])
    gateway.set_clock(NOW / NS_PER_S)
    gateway.wait(5)
    gateway.lose()
    gateway.wait(60)
    (gap,) = gateway.flush()
    assert measure([gap], "connection_lost") == [65]


def test_a_gap_after_a_clock_that_was_ahead_begins_at_the_last_value() -> None:
    """Not when the loss was noticed, thirty seconds later."""
    gateway = Gateway(is_synchronised=True)
    gateway.set_clock(HOUR)
    gateway.poll(0.01)
    gateway.set_clock(-HOUR)
    gateway.wait(30)
    gateway.lose()
    gateway.wait(60)
    gateway.connect()
    gateway.poll(0.01)
    gateway.flush()
    assert measure(gateway.gaps, "connection_lost") == [pytest.approx(90, abs=0.1)]


def _row(stamp: int) -> Frame:
    return Frame([stamp], {"a": [1.0]})
