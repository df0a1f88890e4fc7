"""Ends tasks and links, also those that a library, or a broker, keeps from hearing that they should end."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.link import Link

CANCEL_AGAIN_S = 4.0
"""Longer than an orderly end takes (closing a session, saying goodbye), which a second word would cut."""

STOP_TIMEOUT_S = 3.0
"""A broker that reads nothing must not keep us from ending."""


async def end_tasks(tasks: Iterable[asyncio.Task[None]], again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel `tasks` and return when all have ended, whatever they ended with.

    Python 3.11's `asyncio.wait_for`, which pymodbus waits with, swallows a cancellation that comes in the
    same instant as an answer or a loss: so the tasks are told again until they have heard.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        ended, pending = await asyncio.wait(pending, timeout=again_s)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain of it later


async def end_link(link: "Link", *, with_will: bool = False) -> None:
    """Say goodbye to the broker (`with_will`: and have it publish the will); return soon in any case."""
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await link.leave(with_will=with_will)
