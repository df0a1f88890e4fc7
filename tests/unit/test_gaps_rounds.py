"""Missed polls around reads that follow a loss, or of which nothing was reported: no more than they were."""

import pytest

from edge.polling.gaps import NS_PER_S
from tests.unit.gaps_rig import PUMP, Gateway, list_covered, measure


def test_a_slow_first_read_after_a_loss_is_told_once() -> None:
    """The gap of the loss covers the polls before it; those after it are a gap of their own, behind it."""
    gateway = Gateway()
    gateway.poll(0.01)
    gateway.wait(1)
    gateway.lose()
    gateway.wait(60)
    gateway.connect()
    gateway.poll_late(4.5, 4)
    gateway.wait(0.5)
    gateway.poll(0.01)
    gateway.flush()
    lost, missed = sorted(gateway.gaps, key=lambda gap: gap.first)
    assert (lost.reason, missed.reason) == ("connection_lost", "cycles_missed")
    assert lost.last == missed.first == gateway.taken[1]
    assert missed.detail.startswith("2 polls")


def test_missed_polls_do_not_last_until_the_next_report() -> None:
    """A deadband keeps back what is read for ten minutes: the gap ends at the next read all the same."""
    gateway = Gateway()
    gateway.poll(0.01)
    for took_s, cycles in ((0.01, 0), (3.5, 3), (0.01, 0), *[(0.01, 0)] * 600):
        gateway.wait(1 - took_s % 1)
        gateway.read_nothing_new(took_s)
        if cycles:
            gateway.collector.miss(PUMP, cycles, 1.0)
    gateway.wait(1)
    gateway.poll(0.01)
    gateway.flush()
    assert sum(measure(gateway.gaps)) == pytest.approx(5, abs=0.1)
    assert sum(int(gap.detail.split()[0]) for gap in gateway.gaps) == 3


def test_missed_polls_of_values_that_rest_do_not_last_until_they_change() -> None:
    """An OPC UA server that is polled has nothing new for ten minutes: the polls that answered count."""
    gateway = Gateway()
    gateway.poll(0.01)
    for took_s, cycles in ((0.01, 0), (3.5, 3), (0.01, 0), *[(0.01, 0)] * 600):
        gateway.wait(1)
        gateway.wait(took_s)
        gateway.collector.add(PUMP, [])
        if cycles:
            gateway.collector.miss(PUMP, cycles, 1.0)
    gateway.wait(1)
    gateway.poll(0.01)
    gateway.flush()
    assert 3 <= sum(measure(gateway.gaps)) <= 7
    assert max(gap.last for gap in gateway.gaps) < gateway.taken[0] + 10 * NS_PER_S
    assert list_covered(gateway) == []
