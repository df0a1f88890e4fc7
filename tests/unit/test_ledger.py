"""The ledger: counts each batch once, survives restarts, is shared by processes, names what is missing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from cloud.ingest import ledger as ledger_module
from cloud.ingest.ledger import EpochAccount, EpochChange, Ledger, apply_change, list_accounts
from cloud.ingest.verification import describe, verify
from cloud.records import open_records
from cloud.transactions import RecordsUnavailable
from models.telemetry import DroppedRange, SequenceRanges, Status

KEY = ("pi-01", "9f2c")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Records in a folder of the test's own."""
    return open_records(f"sqlite:///{tmp_path}/records.sqlite")


def record(ledger: Ledger, **facts: object) -> None:
    """Write one change of KEY."""
    with ledger.begin() as connection:
        ledger.record(connection, {KEY: EpochChange(**facts)})  # type: ignore[arg-type]  # fields of EpochChange


def status(**facts: object) -> Status:
    """Return a status of KEY."""
    defaults = {"v": 1, "gateway": KEY[0], "state": "online", "timestamp": 1, "epoch": KEY[1]}
    return Status(**(defaults | facts))  # type: ignore[arg-type]  # fields of Status


@given(st.lists(st.lists(st.integers(1, 60), max_size=20), max_size=8))
def test_a_batch_counts_once_however_often_it_comes(writes: list[list[int]]) -> None:
    """Values stored are those of distinct batches; every other arrival is a duplicate."""
    account = EpochAccount(*KEY)
    for numbers in writes:
        apply_change(account, EpochChange(stored=[(number, number) for number in numbers]))
    every = [number for numbers in writes for number in numbers]
    assert account.stored == SequenceRanges.of(set(every))
    assert account.values_stored == sum(set(every))
    assert account.duplicates == len(every) - len(set(every))


@given(
    st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.integers(0, 40)
)
def test_missing_is_what_nobody_has(stored: set[int], dead: set[int], waiting: set[int], last: int) -> None:
    """Missing are exactly the produced numbers that are not stored, dead-lettered, waiting or dropped."""
    account = EpochAccount(*KEY)
    apply_change(
        account,
        EpochChange(
            stored=[(number, 1) for number in stored],
            dead_lettered=[(number, 1) for number in dead],
            status=status(
                sequence_last=last,
                waiting=list(SequenceRanges.of(waiting)),
                dropped=[DroppedRange(3, 5, 9, "the outbox is full")],
            ),
        ),
    )
    expected = set(range(1, last + 1)) - stored - dead - waiting - {3, 4, 5}
    assert account.missing() == SequenceRanges.of(expected)


def test_it_is_there_again_after_a_restart(engine: Engine) -> None:
    """A new ledger over the same records knows what the old one wrote."""
    record(Ledger(engine), stored=[(1, 10), (2, 10), (7, 10)], dead_lettered=[(4, 3)], duplicates=2)
    again = Ledger(engine)
    again.load()
    assert [again.look_up(KEY, number) for number in (1, 2, 3, 4, 7)] == [
        *("stored", "stored", None, "dead_lettered", "stored")
    ]
    (account,) = list_accounts(engine)
    assert (account.values_stored, account.values_dead_lettered, account.duplicates) == (30, 3, 2)


def test_two_processes_do_not_lose_each_others_batches(engine: Engine) -> None:
    """Each adds to what the other wrote, though its own memory is older."""
    one, other = Ledger(engine), Ledger(engine)
    for ledger, number in ((one, 1), (other, 2), (one, 3), (other, 4), (one, 2)):
        record(ledger, stored=[(number, 10)])
    (account,) = list_accounts(engine)
    assert list(account.stored) == [(1, 4)]
    assert account.values_stored == 40
    assert account.duplicates == 1


def fail_after_recording(ledger: Ledger) -> None:
    """Record batch 2 and die before the commit."""
    with ledger.begin() as connection:
        ledger.record(connection, {KEY: EpochChange(stored=[(2, 10)])})
        raise RuntimeError("the power is gone")


def test_a_failed_transaction_leaves_memory_as_the_database_is(engine: Engine) -> None:
    """What was not committed is not remembered."""
    ledger = Ledger(engine)
    record(ledger, stored=[(1, 10)])
    with pytest.raises(RuntimeError):
        fail_after_recording(ledger)
    assert ledger.look_up(KEY, 2) is None
    record(ledger, stored=[(3, 10)])
    assert list(list_accounts(engine)[0].stored) == [(1, 1), (3, 3)]


def test_records_that_are_away_are_named(engine: Engine) -> None:
    """A database error becomes the one error that tells the caller to wait."""
    with (
        pytest.raises(RecordsUnavailable, match=r"records\.sqlite do not answer"),
        Ledger(engine).begin() as it,
    ):
        it.exec_driver_sql("INSERT INTO nowhere VALUES (1)")


def test_an_old_status_changes_nothing() -> None:
    """A status that arrives late does not replace a newer one."""
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(status=status(timestamp=9, sequence_last=50, waiting=[(50, 50)])))
    apply_change(account, EpochChange(status=status(timestamp=8, sequence_last=40, waiting=[(1, 40)])))
    assert (account.sequence_last, list(account.waiting)) == (50, [(50, 50)])


def test_told_losses_are_kept_and_grow() -> None:
    """A loss stays in the account when its gateway no longer repeats it, and counts once when it grows."""
    account = EpochAccount(*KEY)
    small, grown, other = (
        DroppedRange(1, 5, 50, "full"),
        DroppedRange(1, 9, 90, "full"),
        DroppedRange(20, 20, 1, "x"),
    )
    for at, dropped in enumerate(([small], [grown], [other])):
        apply_change(account, EpochChange(status=status(timestamp=at + 1, dropped=dropped)))
    assert account.dropped == [grown, other]


def test_a_replayed_batch_is_stored_and_no_longer_dead() -> None:
    """Stored beats dead-lettered, in batches and in values."""
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(dead_lettered=[(1, 10), (2, 10)]))
    apply_change(account, EpochChange(stored=[(1, 10)]))
    assert list(account.dead_lettered) == [(2, 2)]
    assert (account.values_stored, account.values_dead_lettered) == (10, 10)


def test_a_gateway_that_leaves_endless_gaps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound no new range is opened; the next number of a range still counts."""
    monkeypatch.setattr(ledger_module, "ISLANDS_MAX", 3)
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(stored=[(number, 1) for number in (1, 3, 5, 7, 6)]))
    assert list(account.stored) == [(1, 1), (3, 3), (5, 6)]


def test_the_proof_adds_up() -> None:
    """Produced is stored, waiting, dead-lettered, dropped and missing together; the words name each."""
    account = EpochAccount(*KEY)
    apply_change(
        account,
        EpochChange(
            stored=[(number, 10) for number in range(1, 11)],
            dead_lettered=[(11, 10)],
            duplicates=4,
            status=status(
                sequence_last=16,
                values_total=160,
                waiting=[(15, 16)],
                waiting_values=20,
                dropped=[DroppedRange(12, 12, 10, "the outbox was full")],
            ),
        ),
    )
    proof = verify(account)
    assert (proof.values_produced, proof.values_stored, proof.values_missing) == (160, 100, 20)
    assert (proof.batches_waiting, proof.batches_dead_lettered, proof.batches_dropped) == (2, 1, 1)
    assert proof.missing == [(13, 14)]
    words = describe([proof])
    assert "batches 13 to 14 were let go by the gateway and are not here" in words
    assert "gave up batches 12 to 12 (10 values): the outbox was full" in words
    assert "4 batches came more than once and are stored once" in words
    assert words.endswith("2 batches are MISSING")


def test_what_was_stored_since_the_last_status_is_not_waiting() -> None:
    """Between two statuses the sums still add up: nothing is counted twice."""
    account = EpochAccount(*KEY)
    told = status(sequence_last=4, values_total=40, waiting=[(3, 4)], waiting_values=20)
    apply_change(account, EpochChange(stored=[(1, 10), (2, 10)], status=told))
    apply_change(account, EpochChange(stored=[(3, 10), (4, 10), (5, 10)]))
    proof = verify(account)
    assert (proof.values_produced, proof.values_stored, proof.values_waiting) == (50, 50, 0)
    assert (proof.batches_produced, proof.batches_waiting, proof.values_missing) == (5, 0, 0)
