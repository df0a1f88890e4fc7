"""Ending tasks: also one that swallows its cancellation ends."""

import asyncio

from edge.ending import end_tasks


async def test_a_task_that_swallows_its_cancellation_is_told_again() -> None:
    """As a wait that is answered in the same instant does in Python 3.11."""
    swallowed = 0

    async def poll() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    task = asyncio.create_task(poll())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task], again_s=0.05), 10)
    assert swallowed == 2
    assert task.cancelled()


async def test_tasks_that_have_failed_or_ended_are_no_trouble() -> None:
    """Whatever a task ended with, ending goes on."""

    async def fail() -> None:
        raise ValueError("a fault")

    async def rest() -> None:
        await asyncio.sleep(30)

    tasks = [asyncio.create_task(fail()), asyncio.create_task(rest())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.done() for task in tasks)
    await end_tasks([])
