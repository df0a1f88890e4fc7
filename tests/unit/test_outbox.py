"""The outbox: numbered without holes, bounded, counted, and never trusted blindly."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.outbox.file import OutboxAtCap, OutboxBusy, OutboxForeign
from edge.outbox.glance import glance
from edge.outbox.outbox import Outbox
from edge.polling.gate import PollingGate
from models.telemetry import DroppedRange, Frame, MachinePath, decode_batch

PUMP = MachinePath.parse("site/area/line/pump")
FAN = MachinePath.parse("site/area/line/fan")


def frame(*values: float | None, start: int = 1) -> Frame:
    """Return one tag's values, a nanosecond apart."""
    return Frame(list(range(start, start + len(values))), {"flow": list(values)})


def make(path: Path, bytes_max: int = 10_000_000, payload_bytes_max: int = 100_000) -> Outbox:
    """Return an opened outbox."""
    outbox = Outbox(path, "pi-01", bytes_max, payload_bytes_max)
    outbox.open()
    return outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox of a test lies."""
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    made = make(path)
    yield made
    made.close()


def test_batches_are_numbered_from_one_and_survive_a_restart(path: Path) -> None:
    """A flush is one batch per machine with consecutive sequences; the next program counts on."""
    first = make(path)
    epoch = first.identity.epoch
    put = first.put([(PUMP, [frame(1.5, None)]), (FAN, [frame(2.5)])], 10)
    first.close()
    second = make(path)
    more = second.put([(PUMP, [frame(3.5)])], 20)
    assert [batch.sequence for batch in put.batches + more.batches] == [1, 2, 3]
    assert second.identity.epoch == epoch
    read, complete = second.read([(1, 3)], 10, 1_000_000)
    assert complete
    assert read == put.batches + more.batches
    decoded = [decode_batch(batch.payload) for batch in read]
    assert [(batch.gateway, batch.epoch, batch.sequence) for batch in decoded] == [
        ("pi-01", epoch, number) for number in (1, 2, 3)
    ]
    assert decoded[0].frames == [frame(1.5, None)]
    totals = second.totals()
    assert (totals.sequence_last, totals.values_total, totals.waiting_values) == (3, 3, 3)
    assert totals.waiting == [(1, 3)]
    second.close()


def test_release_lets_go_of_what_is_receipted_only(path: Path) -> None:
    """Receipted ranges go, unknown ones are ignored, and the sums stay right over a restart."""
    outbox = make(path)
    put = outbox.put([(PUMP, [frame(float(number))]) for number in range(10)], 1)
    assert outbox.release([(2, 3), (9, 2**53), (50, 60)]) == 4
    left = [batch for batch in put.batches if batch.sequence in (1, 4, 5, 6, 7, 8)]
    expected = ([(1, 1), (4, 8)], 6, sum(len(batch.payload) for batch in left))
    totals = outbox.totals()
    assert (totals.waiting, totals.waiting_values, totals.waiting_bytes) == expected
    outbox.close()
    again = make(path).totals()
    assert (again.waiting, again.waiting_values, again.waiting_bytes) == expected
    assert again.sequence_last == 10


def test_a_sequence_is_never_used_twice_though_everything_was_released(path: Path) -> None:
    """An empty file still knows how far it has counted."""
    outbox = make(path)
    outbox.put([(PUMP, [frame(1.0)])], 1)
    outbox.release([(1, 1)])
    outbox.close()
    assert make(path).put([(PUMP, [frame(2.0)])], 2).batches[0].sequence == 2


def test_a_full_outbox_drops_the_oldest_and_counts_them(path: Path) -> None:
    """What does not fit goes oldest first; ranges and values are kept for the status, over a restart too."""
    one = len(make(path).put([(PUMP, [frame(1.0, 2.0)])], 1).batches[0].payload)
    other = path.with_name("small.sqlite")
    outbox = make(other, bytes_max=4 * one)
    puts = [outbox.put([(PUMP, [frame(1.0, 2.0)])], 1) for _ in range(7)]
    reason = f"the outbox was full ({4 * one} bytes)"
    assert [put.dropped for put in puts[:4]] == [[], [], [], []]
    assert puts[4].dropped == [DroppedRange(1, 1, 2, reason)]
    totals = outbox.totals()
    assert totals.waiting == [(4, 7)]
    assert totals.dropped == [DroppedRange(1, 3, 6, reason)]
    assert (totals.values_total, totals.waiting_values, totals.waiting_bytes) == (14, 8, 4 * one)
    outbox.close()
    assert make(other, bytes_max=4 * one).totals() == totals


def test_a_batch_larger_than_the_broker_takes_is_cut(path: Path) -> None:
    """No payload exceeds the limit, and together they hold every value once."""
    outbox = make(path, payload_bytes_max=4_000)
    long = Frame(list(range(1, 1001)), {"a": [float(n) for n in range(1000)], "b": [None] * 1000})
    put = outbox.put([(PUMP, [long])], 1)
    assert len(put.batches) > 3
    assert max(len(batch.payload) for batch in put.batches) <= 4_000
    decoded = [decode_batch(batch.payload) for batch in put.batches]
    assert [batch.sequence for batch in decoded] == list(range(1, len(decoded) + 1))
    assert [value for batch in decoded for value in batch.frames[0].values["a"]] == long.values["a"]


def test_reading_is_bounded(outbox: Outbox) -> None:
    """At most so many batches and bytes come at once, but always one; the caller learns if that is all."""
    put = outbox.put([(PUMP, [frame(float(number))]) for number in range(5)], 1)
    size = len(put.batches[0].payload)
    assert outbox.read([(1, 5)], 3, 10**6) == (put.batches[:3], False)
    assert outbox.read([(1, 5)], 10, 2 * size) == (put.batches[:2], False)
    assert outbox.read([(1, 5)], 10, 1) == (put.batches[:1], False)
    assert outbox.read([(1, 1), (4, 9)], 10, 10**6) == ([put.batches[n] for n in (0, 3, 4)], True)


def test_a_failed_transaction_changes_nothing(outbox: Outbox) -> None:
    """An error in the middle of a put leaves neither rows nor a used-up sequence."""
    outbox.put([(PUMP, [frame(1.0)])], 1)
    before = outbox.totals()
    with pytest.raises(OverflowError):
        outbox.put([(PUMP, [frame(2.0)])], 2**80)
    assert outbox.totals() == before
    assert outbox.put([(PUMP, [frame(3.0)])], 2).batches[0].sequence == 2


def test_only_one_program_may_open_it(path: Path, outbox: Outbox) -> None:
    """The second is told who has it."""
    with pytest.raises(OutboxBusy, match=f"process {os.getpid()}"):
        make(path)
    assert outbox.put([(PUMP, [frame(1.0)])], 1).batches


@pytest.mark.parametrize("content", [b"this is no database" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside_and_a_fresh_one_begun(path: Path, content: bytes) -> None:
    """The old file is kept beside under a name that says so, and the new one has an epoch of its own."""
    path.write_bytes(content)
    with capture_logs() as said:
        outbox = make(path)
    kept = list(path.parent.glob("outbox.sqlite.bad-*"))
    assert [file.read_bytes() for file in kept] == [content]
    assert outbox.totals().sequence_last == 0
    assert [(line["event"], line["kept_as"]) for line in said] == [("outbox_set_aside", str(kept[0]))]
    outbox.close()


def test_a_torn_outbox_is_set_aside(path: Path) -> None:
    """Pages that lie about the batches are found at the start, not while values flow."""
    first = make(path)
    for number in range(50):
        first.put([(PUMP, [frame(*([1.0] * 500))])], number)
    epoch = first.identity.epoch
    first.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 20))
    second = make(path)
    assert second.identity.epoch != epoch
    assert len(list(path.parent.glob("outbox.sqlite.bad-*"))) == 1
    second.close()


def test_another_programs_database_is_not_touched(path: Path) -> None:
    """A SQLite file that is not an outbox is set aside whole."""
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.execute("INSERT INTO recipes VALUES ('soup')")
    other.commit()
    other.close()
    make(path).close()
    (kept,) = path.parent.glob("outbox.sqlite.bad-*")
    assert sqlite3.connect(kept).execute("SELECT name FROM recipes").fetchall() == [("soup",)]


def test_another_gateways_values_are_refused_while_they_wait(path: Path) -> None:
    """Under a new gateway name what waits would be refused by the cloud: the start fails."""
    outbox = make(path)
    outbox.put([(PUMP, [frame(1.0)])], 1)
    outbox.close()
    with pytest.raises(OutboxForeign, match="holds 1 batches of gateway pi-01, the settings say pi-02"):
        Outbox(path, "pi-02", 10**7).open()
    again = make(path)
    again.release([(1, 1)])
    again.close()
    renamed = Outbox(path, "pi-02", 10**7)
    renamed.open()
    assert renamed.identity.gateway == "pi-02"
    renamed.close()


def test_it_can_be_looked_into_while_in_use(path: Path, outbox: Outbox) -> None:
    """`outbox show` reads beside the running agent."""
    outbox.put([(PUMP, [frame(1.0, 2.0)]), (FAN, [frame(1.0)])], 7)
    outbox.put([(PUMP, [frame(3.0)])], 9)
    seen = glance(path)
    assert [(m.machine, m.batches, m.values, m.oldest_ns) for m in seen.machines] == [
        (str(FAN), 1, 1, 7),
        (str(PUMP), 2, 3, 7),
    ]
    assert (seen.gateway, seen.sequence_last, seen.values_total) == ("pi-01", 3, 4)


def test_commits_are_made_for_power_cuts(outbox: Outbox) -> None:
    """Write-ahead log with a sync at every commit: NORMAL would lose the last commits to a power cut."""
    ask = outbox._tables.connection.execute
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ask("PRAGMA synchronous").fetchone() == (2,)


def test_a_batch_too_large_for_a_new_broker_is_cut_again(path: Path) -> None:
    """Its values go on under new sequences; the old one counts as given up without a value."""
    outbox = make(path)
    long = Frame(list(range(1, 1001)), {"flow": [float(number) for number in range(1000)]})
    old = outbox.put([(PUMP, [frame(1.0)]), (PUMP, [long])], 1)
    before = outbox.totals()
    outbox.payload_bytes_max = 4_000
    put = outbox.recut(2, 2)
    assert max(len(batch.payload) for batch in put.batches) <= 4_000
    last = put.batches[-1].sequence
    assert [batch.sequence for batch in put.batches] == list(range(3, last + 1))
    parts = [decode_batch(batch.payload).frames[0].values["flow"] for batch in put.batches]
    assert [value for part in parts for value in part] == long.values["flow"]
    totals = outbox.totals()
    assert totals.waiting == [(1, 1), (3, last)]
    assert (totals.values_total, totals.waiting_values) == (before.values_total, before.waiting_values)
    assert totals.waiting_bytes == sum(len(batch.payload) for batch in [old.batches[0], *put.batches])
    assert [(gone.first, gone.last, gone.values) for gone in totals.dropped] == [(2, 2, 0)]
    assert outbox.recut(2, 3).batches == []
    outbox.close()
    assert make(path).totals() == totals


def test_what_is_too_old_goes_and_is_counted(path: Path) -> None:
    """With an age cap the oldest go at the next put, named as too old; without one nothing ever does."""
    hour = 3_600_000_000_000
    capped, patient = Outbox(path, "pi-01", 10**7, age_max_s=3600.0), make(path.with_name("patient.sqlite"))
    capped.open()
    for outbox in (capped, patient):
        for number in range(4):
            outbox.put([(PUMP, [frame(1.0, 2.0)])], number * hour)
        outbox.put([(PUMP, [frame(3.0)])], 3 * hour)
    gone = DroppedRange(1, 2, 4, "older than outbox.age_max_s (60 min)")
    assert capped.totals().dropped == [gone]
    assert (capped.totals().waiting, capped.totals().waiting_values) == ([(3, 5)], 5)
    assert (patient.totals().waiting, patient.totals().dropped) == ([(1, 5)], [])
    capped.close()
    patient.close()


def test_a_full_outbox_may_refuse_instead(path: Path) -> None:
    """With `stop_polling` nothing is given up: the put is refused, and taken once receipts made room."""
    outbox = Outbox(path, "pi-01", 1_000, when_full="stop_polling")
    outbox.open()
    taken = 0
    with pytest.raises(OutboxAtCap, match="bring broker and cloud back"):  # noqa: PT012  # it goes well until full
        while True:
            outbox.put([(PUMP, [frame(1.0)])], 1)
            taken += 1
    totals = outbox.totals()
    assert (totals.waiting, totals.dropped, totals.values_total) == ([(1, taken)], [], taken)
    outbox.release([(1, 1)])
    assert outbox.put([(PUMP, [frame(2.0)])], 2).batches[0].sequence == taken + 1
    outbox.release([(1, taken + 1)])
    larger_than_all = [frame(*range(1_000))]
    assert outbox.put([(PUMP, larger_than_all)], 3).dropped == []
    outbox.close()


def test_the_gate_opens_only_for_room_worth_polling_for() -> None:
    """It stays closed until a tenth is free, so that machines are not connected for a single flush."""
    gate = PollingGate()
    gate.close("full")
    gate.review(91, 100)
    assert gate.reason == "full"
    gate.review(90, 100)
    assert gate.reason == ""
