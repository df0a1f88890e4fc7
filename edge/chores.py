"""What is not urgent waits for a moment at which the program is awake anyway: waking up is what costs."""

import asyncio
from collections.abc import Callable

LATE_SHARE = 0.5
"""Where nobody comes by, a chore is this part of its pause late."""

EARLY_SHARE = 0.1
"""Whoever comes by once a second comes a little early now and then, and must not be missed for that."""


class Chores:
    """Loops that look after something now and then; whoever has just had real work to do lets them turn."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], float] = {}

    async def pause(self, seconds: float) -> None:
        """Return about so many seconds later, or at once when somebody hurries."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[turn] = loop.time() + (1 - EARLY_SHARE) * seconds
        timer = loop.call_later((1 + LATE_SHARE) * seconds, _end, turn)
        try:
            await turn
        finally:
            timer.cancel()
            del self._waiting[turn]

    def come_by(self) -> None:
        """The program is awake: let those turn whose pause is over."""
        now_s = asyncio.get_running_loop().time()
        self._let_turn(lambda due_s: due_s <= now_s)

    def hurry(self) -> None:
        """Let all turn now: something has happened."""
        self._let_turn(lambda _: True)

    def _let_turn(self, may: Callable[[float], bool]) -> None:
        for turn, due_s in self._waiting.items():
            if may(due_s):
                _end(turn)


def _end(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)
