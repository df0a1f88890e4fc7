"""Receipted batches leave the outbox with a put where values flow, by a write of their own where none do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.outbox.file import OutboxFull
from edge.outbox.outbox import Outbox, Put
from edge.outbox.thread import OutboxThread
from edge.publishing.releasing import COMPANY_S_MAX, WAIT_S_MAX, Releasing
from models.telemetry import Frame, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")


def flush(number: int) -> list[tuple[MachinePath, list[Frame]]]:
    """Return one value to be put."""
    return [(PUMP, [Frame([number], {"flow": [float(number)]})])]


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[OutboxThread]:
    """An open outbox in which batches 1 to 4 wait."""
    opened = OutboxThread(Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7))
    await opened.open()
    for number in range(1, 5):
        await opened.put(flush(number))
    yield opened
    await opened.close()


async def waiting(outbox: OutboxThread) -> list[tuple[int, int]]:
    """Return which batches lie there."""
    return (await outbox.totals()).waiting


async def test_what_has_waited_goes_with_the_next_put(outbox: OutboxThread) -> None:
    """In its transaction: no write of its own, and the totals are those of what is left."""
    releasing = Releasing(outbox)
    releasing.add([(1, 2), (4, 4)])
    await outbox.put(flush(5))
    assert await waiting(outbox) == [(1, 5)]  # it has not waited yet
    releasing.review(0.0)
    await outbox.put(flush(6))
    totals = await outbox.totals()
    assert (totals.waiting, totals.waiting_values, totals.dropped) == ([(3, 3), (5, 6)], 3, [])
    found, _ = await outbox.read([(1, 9)], 9, 10**6)
    assert [batch.sequence for batch in found] == [3, 5, 6]
    assert totals.waiting_bytes == sum(len(batch.payload) for batch in found)


async def test_what_comes_next_waits_again(outbox: OutboxThread) -> None:
    """Ten seconds from the last time, by the loop's clock."""
    releasing, now = Releasing(outbox), asyncio.get_running_loop().time()
    releasing.add([(1, 1)])
    releasing.review(now)
    await outbox.put(flush(5))
    releasing.add([(2, 2)])
    releasing.review(now + WAIT_S_MAX - 1)
    await outbox.put(flush(6))
    assert await waiting(outbox) == [(2, 6)]
    releasing.review(now + WAIT_S_MAX + 10)
    await outbox.put(flush(7))
    assert await waiting(outbox) == [(3, 7)]


async def test_without_a_put_it_goes_by_itself(outbox: OutboxThread) -> None:
    """A machine may say nothing for hours."""
    releasing = Releasing(outbox)
    running = asyncio.create_task(releasing.run())
    releasing.add([(1, 3)])
    releasing.review(0.0)
    await asyncio.sleep(0.2)
    assert await waiting(outbox) == [(1, 4)]
    releasing.review(COMPANY_S_MAX)
    async with asyncio.timeout(10):
        while await waiting(outbox) != [(4, 4)]:
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_put_that_fails_keeps_nothing_back(
    outbox: OutboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk deleting may still succeed, and is what makes room."""
    releasing, real = Releasing(outbox), Outbox.put

    def refuse(*_: object, **__: object) -> Put:
        raise OutboxFull("the disk is full: make room")

    running = asyncio.create_task(releasing.run())
    releasing.add([(1, 3)])
    releasing.review(0.0)
    monkeypatch.setattr(Outbox, "put", refuse)
    with pytest.raises(OutboxFull):
        await outbox.put(flush(5))
    async with asyncio.timeout(10):
        while await waiting(outbox) != [(4, 4)]:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(Outbox, "put", real)
    await outbox.put(flush(5))
    assert await waiting(outbox) == [(4, 5)]
    running.cancel()


async def test_a_fault_before_a_put_forgets_nothing(
    outbox: OutboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was ripe when the frames could not even be encoded goes with the next put."""
    releasing = Releasing(outbox)
    releasing.add([(1, 3)])
    releasing.review(0.0)

    def stumble(_: object) -> None:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patched:
        patched.setattr("edge.outbox.thread.make_ready", stumble)
        with pytest.raises(RuntimeError):
            await outbox.put(flush(5))
    await outbox.put(flush(5))
    assert await waiting(outbox) == [(4, 5)]


def test_what_is_delivered_is_never_given_up_for_room(tmp_path: Path) -> None:
    """At the cap the receipted batches make the room; only what is still too much goes, and is counted."""
    outbox = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)
    outbox.open()
    for number in range(1, 5):
        outbox.put(flush(number), number)
    outbox.bytes_max = outbox.waiting_bytes
    put = outbox.put(flush(5), 5, receipted=[(0, 1), (90, 99)])
    assert (put.dropped, outbox.totals().waiting) == ([], [(2, 5)])
    put = outbox.put([*flush(6), *flush(7)], 6, receipted=[(2, 2)])
    assert [(gone.first, gone.last, gone.values) for gone in put.dropped] == [(3, 3, 1)]
    assert (outbox.totals().waiting, outbox.totals().waiting_values) == ([(4, 7)], 4)
    outbox.close()
    again = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**7)
    again.open()
    assert (again.totals().waiting, again.totals().waiting_values) == ([(4, 7)], 4)
    again.close()
