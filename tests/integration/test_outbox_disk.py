"""A full disk, really full: the outbox gets out of it by itself, and nothing that it accepted is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.outbox.file import OutboxFull
from edge.outbox.glance import glance
from edge.outbox.outbox import Outbox
from edge.outbox.room import BALLAST_BYTES
from models.telemetry import Frame, decode_batch
from tests.integration.disk_rig import Hog, free_bytes, small_disk
from tests.integration.edge_rig import PATH, CountingDriver, StandInCloud, make_settings, running, until
from tests.servers import Mosquitto

ROWS = 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def open_outbox(disk: Path, bytes_max: int = 100_000_000) -> Outbox:
    """Return the opened outbox of the disk."""
    outbox = Outbox(disk / "outbox.sqlite", "pi-01", bytes_max)
    outbox.open()
    return outbox


def put_one(outbox: Outbox) -> int:
    """Put a batch whose values tell its number; return that."""
    number = outbox.totals().sequence_last + 1
    values = [float(number)] * ROWS
    put = outbox.put([(PATH, [Frame(list(range(1, ROWS + 1)), {"flow": list(values)})])], 1)
    return put.batches[0].sequence


def put_until_full(outbox: Outbox) -> list[int]:
    """Put until the disk takes no more; return what it took."""
    taken: list[int] = []
    with pytest.raises(OutboxFull, match="make room on the disk"):  # noqa: PT012  # it goes well until it is full
        while True:
            taken.append(put_one(outbox))
    return taken


def read_numbers(outbox: Outbox) -> list[int]:
    """Return the numbers of all batches that are there, after a look at each one's values."""
    found, complete = outbox.read([(1, 10**9)], 10**6, 10**9)
    assert complete
    for batch in found:
        assert decode_batch(batch.payload).frames[0].values["flow"] == [float(batch.sequence)] * ROWS
    return [batch.sequence for batch in found]


def test_on_a_full_disk_the_ballast_lets_receipts_make_room(disk: Path) -> None:
    """Full: puts are refused, releases work, their room is used again; with room all goes on by itself."""
    outbox, hog = open_outbox(disk), Hog(disk)
    accepted = [put_one(outbox) for _ in range(200)]
    hog.fill()
    accepted += put_until_full(outbox)
    assert read_numbers(outbox) == accepted
    assert outbox.release([(1, 100)]) == 100
    again = put_until_full(outbox)
    assert again, "the room of what was released is used"
    assert outbox.release([(101, 150)]) == 50, "and what is put there leaves room to release more"
    expected = [*range(151, again[-1] + 1)]
    assert read_numbers(outbox) == expected
    hog.leave()
    expected += [put_one(outbox) for _ in range(100)]
    ballast = disk / "outbox.sqlite.ballast"
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    outbox.close()
    outbox = open_outbox(disk)
    assert read_numbers(outbox) == expected
    assert [(low, high) for low, high in outbox.totals().waiting] == [(151, expected[-1])]
    outbox.close()


def test_without_its_ballast_a_full_disk_cannot_be_emptied(disk: Path) -> None:
    """What the ballast is for: SQLite writes before it deletes."""
    outbox = open_outbox(disk)
    (disk / "outbox.sqlite.ballast").unlink()
    accepted = [put_one(outbox) for _ in range(200)]
    Hog(disk).fill()
    accepted += put_until_full(outbox)
    with pytest.raises(OutboxFull):
        outbox.release([(1, 100)])
    assert read_numbers(outbox) == accepted
    outbox.close()


def test_an_agent_can_begin_on_a_full_disk(disk: Path) -> None:
    """Killed and started again while the disk is full: the outbox opens, and what waits can go."""
    outbox = open_outbox(disk)
    for _ in range(200):
        put_one(outbox)
    outbox.close()
    Hog(disk).fill()
    outbox = open_outbox(disk)
    assert outbox.release([(1, 200)]) == 200
    outbox.close()


def test_the_outbox_alone_does_not_fill_the_disk(disk: Path) -> None:
    """Ten times its cap goes through: file, log and ballast together stay within what the cap promises."""
    cap = 1_000_000
    outbox = open_outbox(disk, cap)
    for _ in range(10 * cap // 1_300):
        put_one(outbox)
    assert free_bytes(disk) > 0
    log = (disk / "outbox.sqlite-wal").stat().st_size
    assert log < 1_500_000
    assert (disk / "outbox.sqlite").stat().st_size < 2 * cap
    totals = outbox.totals()
    assert totals.waiting_bytes <= cap
    (gone,) = totals.dropped
    assert (gone.first, gone.last + 1) == (1, totals.waiting[0][0])
    outbox.close()


async def test_an_agent_lives_through_a_full_disk(disk: Path, mosquitto: Mosquitto) -> None:
    """Another program fills the disk while the cloud is silent: polling goes on, and every value arrives."""
    settings = make_settings(disk, mosquitto.settings, receipt_timeout_s=1)
    cloud = StandInCloud(mosquitto.settings)
    cloud.gives_receipts = False
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    driver, hog = CountingDriver(), Hog(disk)
    with capture_logs() as said:
        async with running(settings, driver):
            await until(lambda: len(cloud.counts) > 20, "values flow")
            await asyncio.to_thread(hog.fill)
            await until(lambda: any(line["event"] == "outbox_unwritable" for line in said), "full", 60)
            before = driver.count
            await until(lambda: driver.count > before + 100, "the machine is read on")
            cloud.gives_receipts = True
            await until(lambda: glance(settings.outbox.path).machines == [], "receipts empty the outbox", 60)
            hog.leave()
            await until(lambda: set(range(1, before + 100)) <= set(cloud.counts), "nothing is missing", 60)
    cloud.stop()
    events = [line["event"] for line in said]
    assert (events.count("outbox_unwritable"), events.count("outbox_writable")) == (1, 1)
    assert "part_died" not in events
    assert "make room on the disk" in next(x["reason"] for x in said if x["event"] == "outbox_unwritable")
