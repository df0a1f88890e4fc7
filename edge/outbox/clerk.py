"""A thread that does one thing after the other for the event loop: one hand-over there, one wake-up back.

What an executor of the standard library does besides (futures of two kinds, their locks, idle workers) was a
twentieth of what a gateway at rest computes.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

RINGS_MAX = 4_096
"""So many bytes are read from the bell at once: one is enough to wake up, more of them say nothing more."""

Result = TypeVar("Result")


class Clerk:
    """`ask` is for one event loop. The thread begins with the first thing to do, and ends with `end`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._carried_out: deque[_Order] = deque()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = self._rope = -1
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked for is done: nothing that the work touches changes now."""
        return not self._under_way

    def ask(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Have `work` done after all that was asked for before; the future ends as it does."""
        loop = self._loop or self._begin()
        order = _Order(work, loop.create_future())
        self._under_way += 1
        self._orders.put(order)
        return order.answer

    def end(self) -> None:
        """Return once all is done and answered; nothing may be asked for any more."""
        if self._thread is None or self._loop is None:
            return
        self._orders.put(None)
        self._thread.join()
        self._hear()
        self._loop.remove_reader(self._bell)
        os.close(self._bell)
        os.close(self._rope)

    def _begin(self) -> asyncio.AbstractEventLoop:
        # A bell of our own: the loop's way for other threads costs four times as much.
        self._loop = loop = asyncio.get_running_loop()
        self._bell, self._rope = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._rope, False)
        loop.add_reader(self._bell, self._hear)
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        return loop

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order.carry_out()
            self._carried_out.append(order)
            with suppress(BlockingIOError):  # it rings already
                os.write(self._rope, b"\0")

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, RINGS_MAX)
        while self._carried_out:
            self._under_way -= 1
            self._carried_out.popleft().hand_in()


class _Order:
    """One thing to do. As a context it takes what the work raises, whatever it is, to whoever asked."""

    def __init__(self, work: Callable[[], Any], answer: "asyncio.Future[Any]") -> None:
        self.answer = answer
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None

    def carry_out(self) -> None:
        with self:
            self._result = self._work()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._error = error
        return True

    def hand_in(self) -> None:
        error, self._error = self._error, None  # which refers to this order by its traceback
        if self.answer.done():  # whoever asked was cancelled
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self._result)
