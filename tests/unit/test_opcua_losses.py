"""What subscriptions could not tell becomes gaps with reasons and counts, however it comes."""

from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.columns import Overflow
from edge.drivers.news import Dropped
from edge.drivers.opcua.losses import Losses, LostMessages
from edge.drivers.opcua.sequences import MISSING_MAX, Sequence
from edge.polling.gap_book import GapBook
from models.telemetry import Gap, MachinePath

LAST = 2**32 - 1
PUMP = MachinePath.parse("site/area/line/pump")


def test_overflows_of_one_call_are_one_gap() -> None:
    """Its tags are those that were marked, its count one for each mark, its span that of all."""
    losses = Losses(["a", "b", "c"])
    losses.note_overflows([])
    assert losses.take() == []
    losses.note_overflows([Overflow(2, 10, 20), Overflow(0, 12, 25)])
    losses.note_overflows([Overflow(2, 20, 30)])
    (gap,) = losses.take()
    assert (gap.first, gap.last, gap.reason, gap.tags, gap.values) == (10, 30, "overflow", ["a", "c"], 3)
    assert losses.take() == []


def test_an_overflow_before_anything_was_told_has_a_span() -> None:
    """The first value of a tag can be marked: the gap then ends with it."""
    losses = Losses(["a", "b"])
    losses.note_overflows([Overflow(0, 0, 20)])
    assert [(gap.first, gap.last, gap.values) for gap in losses.take()] == [(18, 20, 1)]


def test_what_was_lost_before_anything_was_told_is_recorded() -> None:
    """The book of gaps leaves out what holds no instant: an overflow or a lost message is none of that."""
    losses = Losses(["a", "b"])
    losses.note_overflows([Overflow(0, 0, 2_000), Overflow(1, 3_000, 3_000)])
    losses.note_messages(LostMessages([0], 0, 2_000, lost=3))
    book = GapBook()
    book.add(PUMP, losses.take())
    coverage = book.take(0, with_frames=False)
    assert coverage is not None
    ((_, gaps),) = coverage.gaps
    assert {gap.reason: (gap.first, gap.last, gap.values) for gap in gaps} == {
        "overflow": (2_000, 3_000, 2),
        "notifications_lost": (1_998, 2_000, None),
    }


def test_lost_messages_name_the_tags_of_their_subscription() -> None:
    """How many values they held nobody knows; how many messages they were is said for a person."""
    losses = Losses(["a", "b", "c"])
    losses.note_messages(LostMessages([0, 2], 10, 20, lost=2))
    (gap,) = losses.take()
    assert (gap.first, gap.last, gap.reason, gap.tags) == (10, 20, "notifications_lost", ["a", "c"])
    assert gap.values is None
    assert gap.detail.startswith("2 messages missing")


def test_gaps_of_unequal_reasons_stay_apart_and_the_whole_machine_needs_no_list() -> None:
    """Empty tags are all tags; spans whose ends disagree are put in order."""
    losses = Losses(["a", "b"])
    losses.note_messages(LostMessages([0, 1], 20, 10, lost=1))
    losses.note_dropped(Dropped(5, 30, 40))
    by_reason = {gap.reason: gap for gap in losses.take()}
    assert by_reason.keys() == {"notifications_lost", "memory_full"}
    lost = by_reason["notifications_lost"]
    assert (lost.first, lost.last, lost.tags) == (10, 20, [])
    assert by_reason["memory_full"].values == 5


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20)
)
def test_whatever_is_lost_the_gap_is_one_that_travels(told: list[tuple[int, int, int]]) -> None:
    """First before last, at most one gap for each reason, and every mark is counted."""
    losses = Losses(["a", "b", "c", "d"])
    for place, first, last in told:
        losses.note_overflows([Overflow(place, first, last)])
    (gap,) = losses.take()
    assert isinstance(gap, Gap)
    assert gap.last - gap.first > 1, "it holds an instant, or it would not be recorded"
    assert gap.values == len(told)
    assert len(gap.detail) <= 300


def test_missing_numbers_are_found() -> None:
    """After 7 comes 8; 9 and 10 are missing before 11; a repeat is nothing new."""
    sequence = Sequence()
    assert [sequence.hear(number) for number in (7, 8, 11, 11, 12)] == [[], [], [9, 10], [], []]


def test_numbers_begin_again_after_the_last_one() -> None:
    """After 2^32 - 1 comes 1, not 0."""
    sequence = Sequence()
    assert [sequence.hear(number) for number in (LAST - 1, LAST, 1, 2)] == [[], [], [], []]
    sequence = Sequence()
    assert [sequence.hear(number) for number in (LAST - 1, 2)] == [[], [LAST, 1]]


def test_a_server_that_counts_anew_has_lost_nothing() -> None:
    """A step beyond belief is no loss, and the count goes on from there; an older one is passed over."""
    sequence = Sequence()
    assert [sequence.hear(number) for number in (5, 5 + MISSING_MAX + 1, 5 + MISSING_MAX + 3)] == [
        [],
        [],
        [5 + MISSING_MAX + 2],
    ]
    sequence = Sequence()
    assert [sequence.hear(number) for number in (10, 9, 11, 13)] == [[], [], [], [12]]


@given(st.integers(1, LAST), st.lists(st.integers(1, 50), max_size=20))
def test_every_number_is_heard_or_missing(first: int, steps: list[int]) -> None:
    """Numbers heard and numbers missing are all numbers, once each."""
    sequence, heard, missing, number = Sequence(), [first], [], first
    assert sequence.hear(first) == []
    for step in steps:
        number = (number + step - 1) % LAST + 1
        missing += sequence.hear(number)
        heard.append(number)
    expected = [(first + at - 1) % LAST + 1 for at in range(sum(steps) + 1)]
    assert sorted(heard + missing) == sorted(expected)
