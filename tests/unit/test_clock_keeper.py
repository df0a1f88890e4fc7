"""A clock that begins in 1970, or jumps: values wait, and get their true time, and no other."""

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.polling.clock_doubt import AHEAD_S, NS_PER_S, PATIENCE_S, ClockJudge
from edge.polling.clock_keeper import ClockKeeper, Found, Lost
from edge.polling.clock_news import ClockNews
from edge.polling.collector import Collector
from models.telemetry import Frame, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
FAN = MachinePath.parse("site/area/line/fan")
SECOND = NS_PER_S
TRUE = 1_795_337_912 * SECOND
YEARS = 10**9 * SECOND


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
    assert keeper.is_doubtful
    assert keeper.values_held == len(waits)
    mono += SECOND
    released = keeper.release(TRUE + mono, mono)
    assert times(released) == truth
    assert (keeper.is_doubtful, keeper.values_held, keeper.values_restamped_total) == (False, 0, len(waits))
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


def test_an_old_timestamp_after_the_jump_is_the_machines_own() -> None:
    """A setpoint that nobody changed for a week is told when it connects: it was not asked for before."""
    synchronised = [False]
    for wrong in (10, TRUE - 3600 * SECOND, TRUE - SECOND):
        synchronised[0] = False
        judge = ClockJudge(TRUE - 600 * SECOND, is_synchronised=lambda: synchronised[0], first_sync_s=120)
        keeper = ClockKeeper(judge)
        assert times(keeper.admit(PUMP, poll(wrong), wrong, 10)) == []
        synchronised[0] = True
        week_ago = TRUE - 7 * 86_400 * SECOND
        found = keeper.admit(PUMP, [*poll(week_ago), *poll(TRUE - 5 * SECOND)], TRUE, 30)
        assert times(found)[1:] == [week_ago, TRUE - 5 * SECOND]


def test_a_machine_with_a_clock_of_its_own_need_not_wait() -> None:
    """An OPC UA server knows the time although the gateway does not: its values go on as they are."""
    keeper = ClockKeeper()
    both = [Frame([TRUE], {"a": [1.0]}), Frame([10], {"b": [1.0]})]
    assert times(keeper.admit(PUMP, both, 10, 10)) == [TRUE]
    assert keeper.values_held == 1


def test_a_clock_that_jumps_years_ahead_and_back_costs_nothing() -> None:
    """Nothing is filed in the far future: what was read meanwhile gets its true time when it is back."""
    keeper = ClockKeeper()
    keeper.admit(PUMP, poll(TRUE), TRUE, 0)
    between = TRUE + SECOND + YEARS // 2  # asked for before the jump, answered after it
    assert times(keeper.admit(PUMP, poll(between), TRUE + SECOND + YEARS, SECOND)) == []
    of_server = TRUE + 2 * SECOND
    both = [*poll(of_server + YEARS), Frame([of_server], {"b": [1.0]})]
    assert times(keeper.admit(PUMP, both, of_server + YEARS, 2 * SECOND)) == [of_server]
    assert keeper.judge.doubt == "ahead"
    back = TRUE + 3 * SECOND
    straggler = poll(back + YEARS // 2)
    found = keeper.admit(PUMP, straggler, back, 3 * SECOND)
    assert times(found) == [TRUE + SECOND, of_server, back]
    assert times(keeper.admit(PUMP, poll(back + SECOND), back + SECOND, 4 * SECOND)) == [back + SECOND]


def test_a_clock_set_back_for_hours_waits_and_one_set_back_a_little_does_not() -> None:
    """A minute back is a time service's work, which the timeline clamps; an hour back is looked at first."""
    keeper = ClockKeeper()
    keeper.admit(PUMP, poll(TRUE), TRUE, 0)
    assert times(keeper.admit(PUMP, poll(TRUE - 60 * SECOND), TRUE - 60 * SECOND, 0)) == [TRUE - 60 * SECOND]
    early = TRUE - 3600 * SECOND
    assert times(keeper.admit(PUMP, poll(early), early, SECOND)) == []
    assert keeper.judge.doubt == "behind"
    assert times(keeper.release(TRUE + 2 * SECOND, 2 * SECOND)) == [TRUE + SECOND]


def test_a_clock_that_went_an_hour_ahead_and_comes_back_is_believed_at_once() -> None:
    """It shows again what it did before: the hour was the mistake, and nobody waits for it to pass."""
    keeper = ClockKeeper()
    keeper.admit(PUMP, poll(TRUE), TRUE, 0)
    ahead = TRUE + 3600 * SECOND
    assert times(keeper.admit(PUMP, poll(ahead + SECOND), ahead + SECOND, SECOND)) == [ahead + SECOND]
    back = TRUE + 2 * SECOND
    assert times(keeper.admit(PUMP, poll(back), back, 2 * SECOND)) == [back]
    assert keeper.judge.doubt == ""
    early = TRUE - 3000 * SECOND
    assert times(keeper.admit(PUMP, poll(early), early, 3 * SECOND)) == []


def test_a_clock_that_is_set_is_said_once_and_one_that_drifts_is_not() -> None:
    """Each step, with its size and direction; slewing by milliseconds is nothing to tell."""
    keeper, news = ClockKeeper(), ClockNews()
    with capture_logs() as said:
        for second, by_s in enumerate((0.0, 0.01, 0.02, -3.0, -3.0, 7.0, 7.0)):
            keeper.judge.look(TRUE + second * SECOND + round(by_s * SECOND), second * SECOND)
            news.tell(keeper)
    assert [(line["event"], line["by"]) for line in said] == [
        ("clock_stepped", "-3.02 s"),
        ("clock_stepped", "10 s"),
    ]


def test_what_becomes_of_timestamps_is_said_by_how_far_the_clock_was_set_back() -> None:
    """By seconds they go on just after the last one; by an hour they lie among those of the wrong clock."""
    for back_s, words in ((3, "just after the last one"), (3600, "among those")):
        keeper, news = ClockKeeper(ClockJudge(is_synchronised=lambda: True)), ClockNews()
        with capture_logs() as said:
            keeper.judge.look(TRUE, SECOND)
            keeper.judge.look(TRUE - (back_s - 1) * SECOND, 2 * SECOND)
            news.tell(keeper)
        assert [line["event"] for line in said] == ["clock_stepped"]
        assert words in said[0]["keeping"]
        assert keeper.judge.steps_total == 1


def test_what_a_time_server_says_is_believed_at_once() -> None:
    """Back by an hour, ahead by years, behind the outbox: not in doubt where the clock is synchronised."""
    answers: list[bool | None] = [True]
    judge = ClockJudge(TRUE, is_synchronised=lambda: answers[0])
    assert judge.look(TRUE - 3600 * SECOND, SECOND)
    assert judge.look(TRUE + YEARS, 2 * SECOND)
    assert judge.look(TRUE, 3 * SECOND)
    assert not judge.look(SECOND, 4 * SECOND), "1970 is never believed"
    answers[0] = False
    assert not judge.look(TRUE + YEARS, 5 * SECOND)
    answers[0] = None
    assert not judge.look(TRUE + YEARS, 6 * SECOND)


def test_after_the_computers_start_values_wait_for_the_first_synchronisation() -> None:
    """Two minutes at most; not at all where nobody can say, and never again later."""
    answers: list[bool | None] = [False]
    judge = ClockJudge(is_synchronised=lambda: answers[0], first_sync_s=120)
    keeper = ClockKeeper(judge)
    assert times(keeper.admit(PUMP, poll(TRUE), TRUE, 20 * SECOND)) == []
    assert judge.doubt == "unset"
    answers[0] = True
    true = TRUE + 86_400 * 200 * SECOND
    assert times(keeper.release(true, 30 * SECOND)) == [true - 10 * SECOND]
    answers[0] = False
    assert judge.look(true, 40 * SECOND), "it has been synchronised once"
    for answer, boot_s, believed in (
        (False, 119, False),
        (False, 121, True),
        (None, 1, True),
        (True, 1, True),
    ):
        asked = ClockJudge(is_synchronised=lambda said=answer: said, first_sync_s=120)
        assert asked.look(TRUE, boot_s * SECOND) is believed


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    """Ten values of room: the ten newest stay; what went is known by machine, number and time."""
    keeper = ClockKeeper(held_values_max=10)
    for at in range(1, 26):
        keeper.admit(PUMP if at > 5 else FAN, poll(at), at, at)
    assert (keeper.values_held, keeper.values_dropped_total) == (10, 15)
    held, lost = keeper.take_held()
    assert lost == [Lost(FAN, 1, 5, 5), Lost(PUMP, 6, 15, 10)]
    assert keeper.values_held == 0
    keeper.give_back(held, lost)
    assert keeper.take_held() == (held, lost)
    keeper.give_back(held, lost)
    assert times(keeper.release(TRUE, 25)) == list(range(TRUE - 9, TRUE + 1))


def test_a_clock_behind_the_outbox_is_believed_after_a_while() -> None:
    """Maybe the clock was ahead when the outbox was written; but 1970 is never believed."""
    late = PATIENCE_S * SECOND + 2
    keeper = ClockKeeper(ClockJudge(TRUE))
    keeper.admit(PUMP, poll(TRUE - 1), TRUE - 1, 1)
    assert keeper.is_doubtful
    assert times(keeper.release(TRUE - 2 + late, late)) == [TRUE - 1]
    assert not keeper.is_doubtful
    stubborn = ClockKeeper(ClockJudge(TRUE))
    stubborn.admit(PUMP, poll(1), 1, 1)
    assert stubborn.release(1_000 * late, 1_000 * late) == []


def test_a_clock_that_stays_ahead_is_believed_after_a_while() -> None:
    """A person has set it, for all we know: values go on by it, and it is said."""
    keeper, news = ClockKeeper(), ClockNews()
    keeper.admit(PUMP, poll(TRUE), TRUE, 0)
    ahead = TRUE + 2 * AHEAD_S * SECOND
    with capture_logs() as said:
        assert times(keeper.admit(PUMP, poll(ahead), ahead, SECOND)) == []
        news.tell(keeper)
        late = (PATIENCE_S + 2) * SECOND
        assert times(keeper.release(ahead + late, SECOND + late)) == [ahead]
        news.tell(keeper)
        news.tell(keeper)
    assert [line["event"] for line in said] == ["clock_ahead", "clock_believed"]
    assert "jumped ahead by more than 24 h" in said[0]["reason"]


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
    """Values over the bounds, and those that an end finds where no disk has them."""
    keeper, news = ClockKeeper(held_values_max=2), ClockNews()
    for at in (1, 2, 3):
        keeper.admit(PUMP, poll(at), at, at)
    with capture_logs() as said:
        news.tell_end(keeper, 7)
        keeper.release(TRUE, 4)
        news.tell(keeper, 5)
        news.tell(keeper, 5)
    assert [(line["event"], line["values"]) for line in said] == [
        ("values_dropped", 2),
        ("values_wait_for_clock", 7),
        ("values_dropped", 6),
    ]
