"""The outbox's clerk: one thing after the other, and whatever comes of it reaches who asked."""

import asyncio
import threading

import pytest

from edge.outbox.clerk import Clerk


async def test_work_is_done_in_order_in_one_thread() -> None:
    """However much is asked for at once."""
    clerk, done = Clerk("outbox"), list[int]()
    names = await asyncio.gather(
        *(clerk.ask(lambda at=at: (done.append(at), threading.current_thread().name)[1]) for at in range(100))
    )  # type: ignore[misc]  # bound now
    assert done == list(range(100))
    assert set(names) == {"outbox"}
    clerk.end()


async def test_errors_of_any_kind_reach_who_asked_and_end_nothing() -> None:
    """Also those that nobody foresaw; the next work is done as ever."""
    clerk = Clerk("outbox")
    with pytest.raises(ZeroDivisionError):
        await clerk.ask(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        await clerk.ask(lambda: (_ for _ in ()).throw(SystemExit))
    assert await clerk.ask(lambda: 7) == 7
    clerk.end()


async def test_work_is_done_though_nobody_waits_for_it_any_more() -> None:
    """A cancelled question is no cancelled commit."""
    clerk, begun, may_end, done = Clerk("outbox"), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        done.append("work")

    answer = clerk.ask(work)
    await asyncio.to_thread(begun.wait, 10)
    answer.cancel()
    may_end.set()
    await clerk.ask(lambda: done.append("next"))
    assert done == ["work", "next"]
    clerk.end()


async def test_it_is_idle_once_all_is_done_and_told() -> None:
    """Not before: what the work touches may only be looked at then."""
    clerk, may_end = Clerk("outbox"), threading.Event()
    assert clerk.is_idle
    answers = [clerk.ask(lambda: may_end.wait(10)) for _ in range(2)]
    assert not clerk.is_idle
    may_end.set()
    await answers[0]
    await answers[1]
    assert clerk.is_idle
    with pytest.raises(ZeroDivisionError):
        await clerk.ask(lambda: 1 // 0)
    assert clerk.is_idle
    clerk.end()


async def test_the_end_waits_for_all_that_was_asked_for() -> None:
    """And one that was never asked anything ends as well."""
    clerk, done = Clerk("outbox"), list[int]()
    for at in range(10):
        clerk.ask(lambda at=at: done.append(at))  # type: ignore[misc]  # bound now
    clerk.end()
    assert done == list(range(10))
    Clerk("idle").end()
