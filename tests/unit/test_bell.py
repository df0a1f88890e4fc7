"""The bell: whoever waits hears it at once, or goes when the time is over."""

import asyncio

import pytest

from edge.polling.bell import Bell


async def test_a_ring_wakes_who_waits_long_before_the_time_is_over() -> None:
    """And stays heard until it is cleared."""
    bell, loop = Bell(), asyncio.get_running_loop()
    loop.call_soon(bell.set)
    async with asyncio.timeout(10):
        await bell.wait_until(loop.time() + 3_600)
        await bell.wait_until(loop.time() + 3_600)
    assert bell.is_set()
    bell.clear()
    assert not bell.is_set()


async def test_the_time_ends_the_waiting_too() -> None:
    """Without a ring, also where it is over already; the next waiting is as long as ever."""
    bell, loop = Bell(), asyncio.get_running_loop()
    begun = loop.time()
    await bell.wait_until(begun + 0.05)
    assert loop.time() - begun >= 0.049
    await bell.wait_until(begun)
    assert not bell.is_set()


async def test_whoever_is_cancelled_leaves_nothing_behind() -> None:
    """A ring after that wakes the next, and nobody else."""
    bell, loop = Bell(), asyncio.get_running_loop()
    waiting = asyncio.create_task(bell.wait_until(loop.time() + 3_600))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bell.set()
    bell.set()
    await bell.wait_until(loop.time() + 3_600)
