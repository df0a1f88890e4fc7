"""What may be let go, what a copy keeps, and the number that outlives restarts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.sparkplug.bdseq import BirthDeathSequence
from edge.sparkplug.forwarding import FETCH_BATCHES_MAX, UNCONFIRMED_BYTES_MAX, Forwarding
from edge.sparkplug.hold import MemoryHold
from tests.unit.sparkplug_rig import make_batch


def test_a_batch_is_let_go_when_the_broker_answered_and_the_time_passed() -> None:
    """Only what was sent before the question, and only after settle_s."""
    forwarding = Forwarding([(1, 2)], settle_s=30)
    forwarding.send(1, 100)
    forwarding.ask(9)
    forwarding.send(2, 100)
    assert not forwarding.wants_answer()
    forwarding.answer(8, 0.0)
    assert forwarding.take_settled(100.0) == []
    forwarding.answer(9, 100.0)
    assert forwarding.take_settled(129.9) == []
    assert forwarding.take_settled(130.0) == [(1, 1)]
    assert forwarding.wants_answer()


def test_the_broker_is_not_given_more_than_it_answers_for() -> None:
    """Unanswered bytes have a bound."""
    forwarding = Forwarding([], settle_s=0)
    forwarding.send(1, UNCONFIRMED_BYTES_MAX)
    assert not forwarding.has_room
    forwarding.ask(1)
    forwarding.answer(1, 0.0)
    assert forwarding.has_room


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["put", "hold", "drop", "aside"]), st.integers(0, 30)),
            st.tuples(st.sampled_from(["ask", "answer", "lose", "settle", "fetch"]), st.just(0)),
        ),
        max_size=60,
    )
)
def test_no_batch_is_forgotten_and_none_is_let_go_unsent(steps: list[tuple[str, int]]) -> None:
    """In whatever order: a batch waits, is under way, was let go after it was sent, or dropped."""
    forwarding = Forwarding([], settle_s=0)
    sequence = mid = 0
    sent: set[int] = set()
    released: set[int] = set()
    dropped: set[int] = set()
    for now, (step, number) in enumerate(steps):
        if step in ("put", "hold", "aside"):
            sequence += 1
            if step == "put":
                forwarding.send(sequence, 1)
                sent.add(sequence)
            elif step == "hold":
                forwarding.hold(sequence)
            else:
                forwarding.set_aside(sequence)
        elif step == "drop" and 0 < number <= sequence and number not in sent:
            forwarding.forget([(number, number)])
            dropped.add(number)
        elif step == "ask" and forwarding.wants_answer():
            mid += 1
            forwarding.ask(mid)
        elif step == "answer":
            forwarding.answer(mid, float(now))
        elif step == "lose":
            forwarding.lose()
        elif step == "settle":
            for first, last in forwarding.take_settled(float(now)):
                released.update(range(first, last + 1))
        elif step == "fetch":
            for first, last in forwarding.plan_fetch():
                for fetched in range(first, last + 1):
                    forwarding.send(fetched, 1)
                    sent.add(fetched)
    assert released <= sent
    forwarding.lose()
    waiting: set[int] = set()
    while ranges := forwarding.plan_fetch():
        assert sum(last - first + 1 for first, last in ranges) <= FETCH_BATCHES_MAX
        for first, last in ranges:
            waiting.update(range(first, last + 1))
            forwarding.forget([(first, last)])
    assert waiting | released | dropped == set(range(1, sequence + 1))
    assert not waiting & released


async def test_the_hold_keeps_the_newest_and_counts_the_rest() -> None:
    """The copy in memory has a bound in bytes."""
    size = len(make_batch(1).payload)
    hold = MemoryHold(3 * size)
    assert [hold.add(make_batch(sequence)) for sequence in (1, 2, 3)] == [[], [], []]
    assert hold.add(make_batch(4)) == [1]
    assert hold.values_dropped_total == 1
    found, complete = await hold.read([(1, 4)], 10, 10**6)
    assert ([batch.sequence for batch in found], complete) == ([2, 3, 4], True)
    found, complete = await hold.read([(1, 4)], 2, 10**6)
    assert ([batch.sequence for batch in found], complete) == ([2, 3], False)
    assert await hold.release([(1, 3)]) == 2
    assert hold.held_bytes == size


# -- bdSeq --------------------------------------------------------------------------------------------------


def test_tck_id_topics_nbirth_bdseq_increment(tmp_path: Path) -> None:
    """bdSeq starts at zero, counts one further at each CONNECT, over restarts, and begins again after 255."""
    file = tmp_path / "outbox.bdseq"
    numbers = [BirthDeathSequence(file).take_next() for _ in range(3)]
    sequence = BirthDeathSequence(file)
    numbers += [sequence.take_next() for _ in range(254)]
    assert numbers == [count % 256 for count in range(257)]


@pytest.mark.parametrize("content", [b"256\n", b"", b"nonsense", b"\xff\xfe"])
def test_a_damaged_number_is_said_and_counted_from_zero(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the file, the gateway starts."""
    file = tmp_path / "outbox.bdseq"
    file.write_bytes(content)
    with capture_logs() as said:
        sequence = BirthDeathSequence(file)
        assert [sequence.take_next(), sequence.take_next()] == [0, 1]
    assert [line["event"] for line in said] == ["bdseq_not_kept"]
    assert file.read_text() == "1\n"


def test_a_disk_that_refuses_is_said_once_and_counted_on_in_memory(tmp_path: Path) -> None:
    """The folder is not there."""
    sequence = BirthDeathSequence(tmp_path / "gone" / "outbox.bdseq")
    with capture_logs() as said:
        assert [sequence.take_next() for _ in range(3)] == [0, 1, 2]
    assert [line["event"] for line in said] == ["bdseq_not_kept"]
