"""Waits before trying again."""

from models.backoff import Backoff, choose_delay_s


def test_waits_double_up_to_a_bound_and_differ() -> None:
    """What is dead is asked less and less often, and not by all at one instant."""
    for attempt, full in ((1, 5.0), (2, 10.0), (3, 20.0), (9, 900.0), (100, 900.0), (100_000, 900.0)):
        waits = [choose_delay_s(attempt, 5.0, 900.0) for _ in range(200)]
        assert full / 2 <= min(waits) < 0.6 * full
        assert 0.9 * full < max(waits) <= full


def test_a_loop_begins_anew_once_it_worked() -> None:
    """Each delay is longer than any of the one before could be shortened to; a success forgets them."""
    backoff = Backoff(1.0, 10.0)
    for full in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
        assert full / 2 <= backoff.next_delay_s() <= full
    backoff.reset()
    assert 0.5 <= backoff.next_delay_s() <= 1.0
