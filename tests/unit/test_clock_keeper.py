"""A clock that begins in 1970: values wait, and get their true time; never is one filed decades ago."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.polling.clock_keeper import BUILT_NS, PATIENCE_S, SLACK_S, ClockKeeper, Found, find_floor
from edge.polling.clock_news import ClockNews
from edge.polling.collector import Collector
from models.telemetry import Frame, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
FAN = MachinePath.parse("site/area/line/fan")
SECOND = 1_000_000_000
TRUE = 1_795_337_912 * SECOND


def times(found: Found) -> list[int]:
    """Return every timestamp, in the order in which they come."""
    return [at for _, frames in found for frame in frames for at in frame.timestamps]


def poll(at: int, value: float = 1.0) -> list[Frame]:
    """Return what a driver read at `at` by the gateway's clock."""
    return [Frame([at], {"a": [value]})]


def test_a_right_clock_changes_nothing() -> None:
    """The very same frames go on."""
    frames = poll(TRUE)
    ((machine, admitted),) = ClockKeeper().admit(PUMP, frames, TRUE, 5)
    assert (machine, admitted[0] is frames[0]) == (PUMP, True)


@given(st.lists(st.tuples(st.integers(1, 10 * SECOND), st.integers(0, SECOND)), min_size=1, max_size=30))
def test_values_read_before_the_clock_was_set_get_their_true_time(waits: list[tuple[int, int]]) -> None:
    """However the wrong clock creeps and jumps in between: each value ends where it truly was read."""
    keeper, mono, wrong = ClockKeeper(), 0, 0
    truth = []
    for wait, jump in waits:
        mono += wait
        wrong += wait + jump  # the wrong clock is slewed forward too
        truth.append(TRUE + mono)
        assert times(keeper.admit(PUMP, poll(1 + wrong), 1 + wrong, mono)) == []
    assert keeper.is_behind
    assert keeper.values_held == len(waits)
    mono += SECOND
    released = keeper.release(TRUE + mono, mono)
    assert times(released) == truth
    assert (keeper.is_behind, keeper.values_held, keeper.values_restamped_total) == (False, 0, len(waits))
    assert times(keeper.admit(PUMP, poll(TRUE + mono), TRUE + mono, mono)) == [TRUE + mono]


def test_the_next_value_brings_the_held_ones_of_all_machines_before_it() -> None:
    """Whoever is read first after the jump frees the others."""
    keeper = ClockKeeper()
    keeper.admit(PUMP, poll(10), 10, 10)
    keeper.admit(FAN, poll(20), 20, 20)
    found = keeper.admit(PUMP, poll(TRUE), TRUE, 30)
    assert [(machine, times([(machine, frames)])) for machine, frames in found] == [
        (PUMP, [TRUE - 20]),
        (FAN, [TRUE - 10]),
        (PUMP, [TRUE]),
    ]


def test_a_value_asked_for_before_the_jump_and_read_after_it_is_of_now() -> None:
    """The middle between 1970 and today is a day in 1998: never that."""
    keeper = ClockKeeper()
    keeper.admit(PUMP, poll(10), 10, 10)
    (_, (held,)), (_, (straggler,)) = keeper.admit(PUMP, poll(TRUE // 2), TRUE, 30)
    assert (held.timestamps, straggler.timestamps) == ([TRUE - 20], [TRUE])
    later = poll(TRUE // 2)  # long after, such a time is the machine's own idea
    assert times(keeper.admit(PUMP, later, TRUE + 100 * SECOND, 100 * SECOND)) == [TRUE // 2]


def test_a_machine_with_a_clock_of_its_own_need_not_wait() -> None:
    """An OPC UA server knows the time although the gateway does not: its values go on as they are."""
    keeper = ClockKeeper()
    both = [Frame([TRUE], {"a": [1.0]}), Frame([10], {"b": [1.0]})]
    assert times(keeper.admit(PUMP, both, 10, 10)) == [TRUE]
    assert keeper.values_held == 1


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    """Ten values of room: the ten newest stay, the rest is counted."""
    keeper = ClockKeeper(held_values_max=10)
    for at in range(1, 26):
        keeper.admit(PUMP, poll(at), at, at)
    assert (keeper.values_held, keeper.values_dropped_total) == (10, 15)
    assert times(keeper.release(TRUE, 25)) == list(range(TRUE - 9, TRUE + 1))


def test_a_clock_behind_the_outbox_is_believed_after_a_while() -> None:
    """Maybe the clock was ahead when the outbox was written; but 1970 is never believed."""
    late = PATIENCE_S * SECOND + 2
    keeper = ClockKeeper(floor_ns=TRUE)
    keeper.admit(PUMP, poll(TRUE - 1), TRUE - 1, 1)
    assert keeper.is_behind
    assert times(keeper.release(TRUE - 2 + late, late)) == [TRUE - 1]
    assert not keeper.is_behind
    stubborn = ClockKeeper(floor_ns=TRUE)
    stubborn.admit(PUMP, poll(1), 1, 1)
    assert stubborn.release(1_000 * late, 1_000 * late) == []


def test_the_outbox_knows_what_time_it_was_at_least(tmp_path: Path) -> None:
    """Its newest file, with some slack; without one, the date of this program."""
    outbox = tmp_path / "outbox.sqlite"
    assert find_floor(outbox) == BUILT_NS
    outbox.touch()
    os.utime(outbox, ns=(1, TRUE))
    assert find_floor(outbox) == TRUE - SLACK_S * SECOND
    log = tmp_path / "outbox.sqlite-wal"
    log.touch()
    os.utime(log, ns=(1, TRUE + SECOND))
    assert find_floor(outbox) == TRUE + SECOND - SLACK_S * SECOND
    os.utime(log, ns=(1, 1))
    os.utime(outbox, ns=(1, 1))
    assert find_floor(outbox) == BUILT_NS


def test_a_flush_brings_what_waited_and_it_is_said_once() -> None:
    """The collector gives nothing while the clock is wrong; once it is set the next flush has all of it."""
    clocks = [(100, 100)]
    collector, news = Collector(read_clocks=lambda: clocks[0]), ClockNews()
    with capture_logs() as said:
        for _ in range(3):
            collector.add(PUMP, poll(100))
            assert collector.take() == []
            news.tell(collector.keeper)
        clocks[0] = (TRUE, 200)
        assert collector.take() == [(PUMP, [Frame([TRUE - 100], {"a": [1.0]})] * 3)]
        news.tell(collector.keeper)
        news.tell(collector.keeper)
    behind, mended = said
    assert (behind["event"], mended["event"], mended["values"]) == ("clock_behind", "clock_set", 3)
    assert "2026-01-01T00:00:00Z" in behind["reason"]


def test_what_a_wrong_clock_costs_is_said() -> None:
    """Values over the bound, and those that an end finds still waiting."""
    keeper, news = ClockKeeper(held_values_max=2), ClockNews()
    for at in (1, 2, 3):
        keeper.admit(PUMP, poll(at), at, at)
    with capture_logs() as said:
        news.tell_end(keeper)
        keeper.release(TRUE, 4)
        news.tell(keeper)
        news.tell(keeper)
    assert [(line["event"], line["values"]) for line in said] == [
        ("values_dropped", 2),
        ("values_dropped", 1),
    ]
