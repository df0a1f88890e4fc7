"""A thread that does one thing after the other for the event loop: one hand-over there, one wake-up back.

What an executor of the standard library does besides (futures of two kinds, their locks, idle workers) was a
twentieth of what a gateway at rest computes.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Clerk:
    """`ask` is for one event loop. The thread begins with the first thing to do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Have `work` done after all that was asked for before; the future ends as it does."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        order = _Order(work, asyncio.get_running_loop())
        self._orders.put(order)
        return order.answer

    def end(self) -> None:
        """Return once all is done; nothing may be asked for any more."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order.carry_out()


class _Order:
    """One thing to do. As a context it takes what the work raises, whatever it is, to whoever asked."""

    def __init__(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._work = work
        self._loop = loop
        self._result: Any = None
        self._error: BaseException | None = None

    def carry_out(self) -> None:
        with self:
            self._result = self._work()
        with suppress(RuntimeError):  # the loop has ended, and nobody waits for this any more
            self._loop.call_soon_threadsafe(self._hand_in)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._error = error
        return True

    def _hand_in(self) -> None:
        error, self._error = self._error, None  # which refers to this order by its traceback
        if self.answer.done():  # whoever asked was cancelled
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self._result)
