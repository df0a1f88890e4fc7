"""An event that somebody waits for until a time at most: for a third of what `asyncio.timeout` costs."""

import asyncio


class Bell:
    """Rung, it stays so until it is cleared. One task may wait at a time; used from one event loop only."""

    def __init__(self) -> None:
        self._is_rung = False
        self._waiter: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Return whether it was rung since it was cleared."""
        return self._is_rung

    def set(self) -> None:
        """Ring it."""
        self._is_rung = True
        if self._waiter is not None:
            _end(self._waiter)

    def clear(self) -> None:
        """Let the next one wait again."""
        self._is_rung = False

    async def wait_until(self, until: float) -> None:
        """Return when it is rung, at once where it was, at latest at that time of the loop."""
        if self._is_rung:
            return
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_at(until, _end, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None


def _end(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
