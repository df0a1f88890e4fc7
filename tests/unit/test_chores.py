"""Chores turn when somebody comes by, at once when somebody hurries, and by themselves when nobody does."""

import asyncio
import time

from edge.chores import Chores


async def test_a_chore_turns_when_somebody_comes_by_after_its_pause() -> None:
    """Not before it is due; a little early counts, or it would miss whoever comes once a second."""
    chores = Chores()
    pausing = asyncio.create_task(chores.pause(0.5))
    await asyncio.sleep(0.2)
    chores.come_by()
    await asyncio.sleep(0)
    assert not pausing.done()
    await asyncio.sleep(0.27)
    chores.come_by()
    await asyncio.sleep(0)
    assert pausing.done()


async def test_a_chore_turns_by_itself_where_nobody_comes_by() -> None:
    """Half its pause late."""
    begun_s = time.monotonic()
    await Chores().pause(0.1)
    assert 0.14 <= time.monotonic() - begun_s < 5


async def test_all_chores_turn_when_somebody_hurries() -> None:
    """Whatever their pauses were; and an ended one is forgotten."""
    chores = Chores()
    pausing = [asyncio.create_task(chores.pause(60)) for _ in range(3)]
    await asyncio.sleep(0)
    pausing[0].cancel()
    await asyncio.sleep(0)
    chores.hurry()
    chores.hurry()
    await asyncio.wait(pausing, timeout=5)
    assert [task.cancelled() for task in pausing] == [True, False, False]
    assert all(task.done() for task in pausing)
