"""Gaps in the outbox: numbered like values, in the same transaction, and saved from damaged files."""

from pathlib import Path

import pytest

from edge.outbox.outbox import Outbox
from edge.outbox.rescue import rescue
from edge.outbox.stored import Coverage
from models.telemetry import Frame, Gap, MachinePath, decode_batch

PUMP = MachinePath.parse("site/area/line/pump")
FAN = MachinePath.parse("site/area/line/fan")


def frame(*values: float | None, start: int = 1) -> Frame:
    """Return one tag's values, a nanosecond apart."""
    return Frame(list(range(start, start + len(values))), {"flow": list(values)})


def make(path: Path, payload_bytes_max: int = 100_000) -> Outbox:
    """Return an opened outbox."""
    outbox = Outbox(path, "pi-01", 10_000_000, payload_bytes_max)
    outbox.open()
    return outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox of a test lies."""
    return tmp_path / "outbox.sqlite"


def test_gaps_are_committed_before_the_frames_they_lead_to(path: Path) -> None:
    """Batches of their own, in the same transaction; how far machines are acquired survives a restart."""
    first = make(path)
    gap = Gap(5, 9, "connection_lost", detail="no answer")
    put = first.put([(PUMP, [frame(1.5)])], 10, coverage=Coverage([(PUMP, [gap])], {str(PUMP): 77}))
    told, values = (decode_batch(batch.payload) for batch in put.batches)
    assert (told.sequence, told.gaps, told.frames) == (1, [gap], [])
    assert (values.sequence, values.gaps, values.frames) == (2, [], [frame(1.5)])
    assert first.totals().values_total == 1
    first.close()
    second = make(path)
    assert second.read_reached() == {str(PUMP): 77}
    assert second.put([], 20, coverage=Coverage([], {str(PUMP): 78, str(FAN): 3})).batches == []
    assert second.read_reached() == {str(PUMP): 78, str(FAN): 3}
    assert second.totals().sequence_last == 2
    second.close()


def test_many_gaps_are_cut_into_what_the_broker_takes(path: Path) -> None:
    """None is lost; one that names more tags than any message holds is told of all tags."""
    outbox = make(path, payload_bytes_max=1_000)
    many = [Gap(number, number + 5, "overflow", ["flow"]) for number in range(40)]
    long = Gap(1, 9, "overflow", [f"tag_{number}" for number in range(300)])
    put = outbox.put([], 1, coverage=Coverage([(PUMP, [*many, long])]))
    assert max(len(batch.payload) for batch in put.batches) <= 1_000
    found = [gap for batch in put.batches for gap in decode_batch(batch.payload).gaps]
    assert found == [*many, Gap(1, 9, "overflow")]
    outbox.payload_bytes_max = 500
    again = outbox.recut(1, 2)
    assert [gap for batch in again.batches for gap in decode_batch(batch.payload).gaps] == decode_batch(
        put.batches[0].payload
    ).gaps
    outbox.close()


def test_a_damaged_file_still_says_how_far_machines_were_acquired(path: Path) -> None:
    """So that the next gap begins where the last one's file ended; and its gaps can be rescued."""
    gap = Gap(5, 9, "connection_lost")
    outbox = make(path)
    outbox.put([(PUMP, [frame(1.5)])], 10, coverage=Coverage([(PUMP, [gap])], {str(PUMP): 77}))
    outbox._tables.connection.execute("DELETE FROM identity")
    outbox.close()
    fresh = make(path)
    assert fresh.totals().sequence_last == 0
    assert fresh.read_reached() == {str(PUMP): 77}
    (aside,) = path.parent.glob("outbox.sqlite.bad-*[0-9Z]")
    assert rescue(aside, fresh, 20) == (2, 1)
    read, _ = fresh.read([(1, 9)], 9, 10**6)
    assert [gap for batch in read for gap in decode_batch(batch.payload).gaps] == [gap]
    fresh.close()
