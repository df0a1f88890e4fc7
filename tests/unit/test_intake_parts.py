"""The inbox, the merging of frames and the dead letters, each alone."""

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.ingest.inbox import Delivery, Inbox
from cloud.ingest.ledger import EpochChange, Ledger, list_accounts
from cloud.ingest.replay import Replayer
from cloud.ingest.shares import merge_frames
from cloud.records import open_records
from cloud.transactions import begin_write
from models.link import LinkMessage
from models.telemetry import Batch, Frame, Topics, Value, encode_batch
from tests.integration.ingest_rig import PUMP, START_NS, MemoryStore


def delivery(payload: bytes = b"x", connection: int = 1) -> Delivery:
    """Return a delivery of now."""
    return Delivery(LinkMessage("t", payload, 1, 1), connection, time.monotonic())


def take(inbox: Inbox, *, enough: int = 1, linger_s: float = 0.0, bytes_max: int = 1000) -> list[Delivery]:
    """Take without patience."""
    return inbox.take(count_max=100, bytes_max=bytes_max, enough=enough, linger_s=linger_s, patience_s=0.0)


def test_the_inbox_is_bounded_in_messages_and_bytes() -> None:
    """What does not fit is refused; taking makes room; a lone giant is taken."""
    inbox = Inbox(messages_max=2, bytes_max=10)
    assert inbox.put(delivery())
    assert not inbox.put(delivery(b"y" * 10))
    assert inbox.put(delivery())
    assert not inbox.put(delivery())
    assert len(take(inbox)) == 2
    assert inbox.put(delivery(b"z" * 100))


def test_the_inbox_gives_out_no_more_bytes_than_asked() -> None:
    """A write is bounded; the rest waits for the next."""
    inbox = Inbox(messages_max=10, bytes_max=1000)
    for _ in range(4):
        inbox.put(delivery(b"x" * 100))
    assert len(take(inbox, bytes_max=150)) == 2
    assert len(take(inbox)) == 2
    assert take(inbox) == []


def test_the_inbox_waits_for_company_no_longer_than_told() -> None:
    """A lone batch leaves when it has lingered; enough of them leave at once."""
    inbox = Inbox(messages_max=10, bytes_max=1000)
    inbox.put(delivery())
    began = time.monotonic()
    assert len(take(inbox, enough=5, linger_s=0.2)) == 1
    assert time.monotonic() - began >= 0.15
    for _ in range(5):
        inbox.put(delivery())
    began = time.monotonic()
    assert len(take(inbox, enough=5, linger_s=30.0)) == 5
    assert time.monotonic() - began < 10


def test_many_that_come_to_a_halt_are_not_waited_for() -> None:
    """Gateways that have sent all they may wait for receipts; a few messages wait for company."""
    inbox = Inbox(1000, 10_000)
    for _ in range(25):
        inbox.put(delivery())
    began = time.monotonic()
    assert len(take(inbox, enough=100, linger_s=30.0)) == 25
    assert time.monotonic() - began < 10
    for _ in range(24):
        inbox.put(delivery())
    began = time.monotonic()
    assert len(take(inbox, enough=100, linger_s=0.4)) == 24
    assert time.monotonic() - began >= 0.35


def test_a_new_connection_empties_the_inbox_of_the_old() -> None:
    """What came by an earlier connection comes again, and gives its room back."""
    inbox = Inbox(messages_max=2, bytes_max=10)
    inbox.put(delivery(b"x" * 8, connection=1))
    inbox.forget_before(2)
    assert inbox.put(delivery(b"y" * 8, connection=2))
    assert [one.connection for one in take(inbox)] == [2]


Row = tuple[int, str, float | None, int | None]


def rows_of(frames: list[Frame]) -> list[Row]:
    """Return frames as (timestamp, tag, value, code) in their order."""
    return [
        (instant, tag, column[row], frame.quality.get(tag, {}).get(row))
        for frame in frames
        for row, instant in enumerate(frame.timestamps)
        for tag, column in frame.values.items()
    ]


@st.composite
def any_frames(draw: st.DrawFn) -> list[Frame]:
    """Frames of few tags whose times may follow each other, repeat or go back."""
    frames = []
    for _ in range(draw(st.integers(0, 8))):
        first, rows = draw(st.integers(1, 30)), draw(st.integers(1, 3))
        tags = draw(st.sampled_from([["a"], ["a", "b"], ["b", "a"], ["b"]]))
        values: dict[str, list[Value]] = {
            tag: draw(st.lists(st.sampled_from([1.0, 2.5, None]), min_size=rows, max_size=rows))
            for tag in tags
        }
        quality = draw(
            st.dictionaries(st.sampled_from(tags), st.dictionaries(st.integers(0, rows - 1), st.just(7)))
        )
        frames.append(Frame(list(range(first, first + rows)), values, quality))
    return frames


@given(any_frames())
def test_merged_frames_say_the_same(frames: list[Frame]) -> None:
    """Every row, value and code is there once, in order, and every frame's times ascend."""
    before = sorted(rows_of(frames), key=repr)
    merged = merge_frames(frames)
    assert sorted(rows_of(merged), key=repr) == before
    for frame in merged:
        assert frame.timestamps == sorted(set(frame.timestamps))
        assert all(len(column) == len(frame.timestamps) for column in frame.values.values())


def test_frames_that_follow_each_other_become_one() -> None:
    """A hundred small frames of the same tags are one for the store."""
    frames = [Frame([at], {"a": [float(at)]}) for at in range(1, 101)]
    (merged,) = merge_frames(frames)
    assert merged.values["a"] == [float(at) for at in range(1, 101)]
    (merged,) = merge_frames(
        [Frame([1], {"a": (1.0,)}), Frame([2], {"a": (None,)}), Frame([3], {"a": [3.0]})]
    )
    assert merged == Frame([1, 2, 3], {"a": [1.0, None, 3.0]})


def put(folder: Path, *letters: DeadLetter, **limits: int) -> tuple[DeadLetters, int]:
    """Return dead letters with `letters` put, and how many old ones went for them."""
    engine = open_records(f"sqlite:///{folder}/records.sqlite")
    box = DeadLetters(engine, **limits)
    with begin_write(engine) as connection:
        return box, box.put(connection, letters)


def test_dead_letters_are_bounded_oldest_first(tmp_path: Path) -> None:
    """Beyond the limits the oldest go, and it is said how many."""
    letters = [DeadLetter("t", bytes([number]) * 10, "bad", number) for number in range(1, 8)]
    box, dropped = put(tmp_path, *letters, rows_max=3)
    assert dropped == 4
    assert [letter.received_ns for letter in box.list_newest()] == [7, 6, 5]
    assert put(tmp_path, DeadLetter("t", b"new", "bad", 9), bytes_max=25)[1] == 1


def test_the_same_letter_is_kept_once_and_counted(tmp_path: Path) -> None:
    """A poison message that is sent again and again does not fill the table."""
    letter = DeadLetter("t", b"same", "bad", 1, "pi-01")
    put(tmp_path, letter, letter)
    box, _ = put(tmp_path, DeadLetter("t", b"same", "worse", 2, "pi-01"))
    (kept,) = box.list_newest()
    assert (kept.times, kept.received_ns, kept.reason, kept.gateway) == (3, 2, "worse", "pi-01")


def test_a_letter_that_has_become_good_is_stored_by_replay(tmp_path: Path) -> None:
    """After the store's mend a replay stores the values and corrects the ledger."""
    payload = encode_batch(Batch("pi-01", "9f2c", 4, [Frame([START_NS], {"current": [12.5]})]))
    box, _ = put(
        tmp_path, DeadLetter(Topics().batch("pi-01", PUMP), payload, "the store rejected it", 1, "pi-01")
    )
    engine, store = open_records(f"sqlite:///{tmp_path}/records.sqlite"), MemoryStore()
    replayer = Replayer(Topics(), store, Ledger(engine), box)
    (letter_id,) = box.list_ids(unreplayed=True)
    assert replayer.replay(letter_id).stored
    assert store.values == {(PUMP, "current", START_NS): 12.5}
    assert box.list_ids(unreplayed=True) == []
    (account,) = list_accounts(engine)
    assert list(account.stored) == [(4, 4)]


def test_a_replayed_letter_whose_batch_came_again_counts_once(tmp_path: Path) -> None:
    """The receipt of the dead letter was lost, the gateway sent again, the store took it; then a replay."""
    payload = encode_batch(Batch("pi-01", "9f2c", 4, [Frame([START_NS], {"current": [12.5]})]))
    topic = Topics().batch("pi-01", PUMP)
    box, _ = put(tmp_path, DeadLetter(topic, payload, "the store rejected it", 1, "pi-01"))
    engine, key = open_records(f"sqlite:///{tmp_path}/records.sqlite"), ("pi-01", "9f2c")
    ledger = Ledger(engine)
    for change in (EpochChange(dead_lettered=[(4, 1)]), EpochChange(stored=[(4, 1)])):
        with ledger.begin() as connection:
            ledger.record(connection, {key: change})
    (letter_id,) = box.list_ids(unreplayed=True)
    assert Replayer(Topics(), MemoryStore(), Ledger(engine), box).replay(letter_id).stored
    (account,) = list_accounts(engine)
    assert (account.values_stored, account.values_dead_lettered, list(account.stored)) == (1, 0, [(4, 4)])
    assert box.list_ids(unreplayed=True) == []
