"""Waits that end early when the simulator is told to stop."""

import asyncio


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Return when `seconds` are over or `stop` is set; at least once round the loop."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def wait_for_either(*events: asyncio.Event) -> None:
    """Return when the first of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for waiting in pending:
        waiting.cancel()
