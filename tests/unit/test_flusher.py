"""What the flusher says of values that are lost: how many, why, and once a minute at most."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.outbox.file import OutboxFull
from edge.outbox.outbox import Outbox, Put
from edge.outbox.thread import OutboxThread
from edge.polling import flusher as module
from edge.polling.collector import Collector
from edge.polling.flusher import Flusher
from edge.polling.gaps import Pace
from models.telemetry import Frame, MachinePath, decode_batch

PUMP = MachinePath.parse("site/area/line/pump")


def frame(number: int) -> Frame:
    """Return one value."""
    return Frame([number], {"flow": [float(number)]})


async def test_a_failing_disk_costs_the_oldest_values_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory keeps the newest; the loss is said with the disk's reason, and what was kept is put at last."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector(10)
    await outbox.open()
    puts: list[Put] = []
    flusher = Flusher(collector, outbox, 0.01, puts.append)
    real = Outbox.put

    def refuse(*_: object, **__: object) -> Put:
        raise OutboxFull("the disk is full: make room")

    monkeypatch.setattr(Outbox, "put", refuse)
    with capture_logs() as said:
        for number in range(1, 26):
            collector.add(PUMP, [frame(number)])
            await flusher.flush()
        monkeypatch.setattr(Outbox, "put", real)
        await flusher.flush()
    (lost,) = [line for line in said if line["event"] == "values_dropped"]
    assert (lost["values"], lost["reason"]) == (1, "the disk is full: make room")
    assert flusher.values_dropped_total == 15
    events = [line["event"] for line in said]
    assert (events.count("outbox_unwritable"), events.count("outbox_writable")) == (1, 1)
    told, kept = (decode_batch(batch.payload) for batch in (await outbox.read([(1, 9)], 9, 10**6))[0])
    (gap,) = told.gaps
    assert (gap.first, gap.last, gap.reason, gap.tags, gap.values) == (0, 16, "memory_full", ["flow"], 15)
    assert kept.frames[0].timestamps == list(range(16, 26))
    await outbox.close()


async def test_what_a_full_outbox_gives_up_is_said_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second message counts all that went since the first, not only what the last flush cost."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 500)), Collector()
    await outbox.open()
    flusher = Flusher(collector, outbox, 0.01, lambda _: None)
    with capture_logs() as said:
        for number in range(1, 31):
            if number == 30:
                monkeypatch.setattr(module, "SAY_AGAIN_S", 0.0)
            collector.add(PUMP, [frame(number)])
            await flusher.flush()
    first, second = [line["dropped_values"] for line in said if line["event"] == "outbox_full"]
    totals = await outbox.totals()
    assert first == 1
    assert first + second == 30 - totals.waiting_values == sum(gone.values for gone in totals.dropped)
    await outbox.close()


async def test_a_fault_costs_one_flush_not_all_that_follow(tmp_path: Path) -> None:
    """It reaches the supervisor once; the next flush takes what has come since to the disk, and goes on."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector()
    await outbox.open()
    puts: list[Put] = []

    def stumble_once(put: Put) -> None:
        puts.append(put)
        if len(puts) == 1:
            raise RuntimeError("a mistake of ours")

    flusher = Flusher(collector, outbox, 0.01, stumble_once)
    collector.add(PUMP, [frame(1)])
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        await flusher.flush()
    for number in (2, 3):
        collector.add(PUMP, [frame(number)])
        await flusher.flush()
    assert [decode_batch(put.batches[-1].payload).frames[0].timestamps for put in puts] == [[1], [2], [3]]
    await outbox.close()


async def test_what_ends_with_the_program_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end the disk still refuses: how many values go with the memory that held them."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector()
    await outbox.open()
    flusher = Flusher(collector, outbox, 0.01, lambda _: None)

    def refuse(*_: object, **__: object) -> Put:
        raise OutboxFull("the disk is full: make room")

    with capture_logs() as said:
        await flusher.finish()
        monkeypatch.setattr(Outbox, "put", refuse)
        collector.add(PUMP, [frame(1), frame(2)])
        await flusher.finish()
    lost = [(line["values"], line["reason"]) for line in said if line["event"] == "values_lost"]
    assert lost == [(2, "the disk is full: make room")]
    await outbox.close()


async def test_what_comes_after_a_silence_is_flushed_at_once_and_sets_the_pace(tmp_path: Path) -> None:
    """A machine that is read once a flush_s is not kept waiting for the next one each time."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector()
    await outbox.open()
    loop, put_at = asyncio.get_running_loop(), list[float]()
    flusher = Flusher(collector, outbox, 2.0, lambda _: put_at.append(loop.time()))
    running = asyncio.create_task(flusher.run())
    await asyncio.sleep(2.3)
    added_at = loop.time()
    collector.add(PUMP, [frame(1)])
    await asyncio.sleep(0.5)
    collector.add(PUMP, [frame(2)])
    while len(put_at) < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    await outbox.close()
    assert put_at[0] - added_at < 1.0
    assert put_at[1] - put_at[0] > 1.5


@pytest.mark.parametrize(
    ("machines", "whole", "waits"), [(1, True, False), (1, False, True), (2, True, True)]
)
async def test_a_flush_waits_a_moment_where_more_may_come(
    tmp_path: Path, machines: int, whole: bool, waits: bool
) -> None:
    """One machine that says all in one read is not waited for; parts, and several machines, go together."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector()
    await outbox.open()
    puts: list[Put] = []
    for number in range(machines):
        collector.begin(MachinePath("s", "a", "l", f"m{number}"), Pace(), comes_whole=whole)
    running = asyncio.create_task(Flusher(collector, outbox, 0.3, puts.append).run())
    await asyncio.sleep(0.5)
    collector.add(PUMP, [frame(1)])
    await asyncio.sleep(0.005)
    collector.add(PUMP, [frame(2)])
    while sum(put.batches != [] for put in puts) < 1 + (not waits):
        await asyncio.sleep(0.01)
    running.cancel()
    await outbox.close()
    with_values = [put for put in puts if put.batches]
    assert len(with_values) == (1 if waits else 2)


async def test_what_comes_after_a_silence_waits_for_nothing_however_long_it_was(tmp_path: Path) -> None:
    """Looking after an empty collector begins no pace that the next values would have to wait for."""
    outbox, collector = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)), Collector()
    await outbox.open()
    loop, put_at = asyncio.get_running_loop(), list[float]()
    take = lambda put: put_at.append(loop.time()) if put.batches else None  # noqa: E731  # said here only
    running = asyncio.create_task(Flusher(collector, outbox, 2.0, take).run())
    await asyncio.sleep(4.3)  # it has looked after 3.8 s, and would not again before 5.6 s
    added_at = loop.time()
    collector.add(PUMP, [frame(1)])
    while not put_at:
        await asyncio.sleep(0.002)
    running.cancel()
    await outbox.close()
    assert put_at[0] - added_at < 0.9
