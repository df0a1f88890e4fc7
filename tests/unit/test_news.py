"""What subscriptions tell is kept within a bound, and what had to go is counted."""

import asyncio

import pytest

from edge.drivers import NotConnected
from edge.drivers.columns import Rows
from edge.drivers.news import Dropped, News


def observe(*timestamps: int) -> Rows:
    return Rows([0] * len(timestamps), list(timestamps), [1.0] * len(timestamps))


async def test_news_wait_for_something_and_are_taken_once() -> None:
    """A wait returns as soon as something is there; what is taken is gone."""
    news = News()
    asyncio.get_running_loop().call_later(0.01, news.put, observe(1, 2))
    await asyncio.wait_for(news.wait(30.0), 10.0)
    assert news.take() == [observe(1, 2)]
    assert news.take() == []
    await news.wait(0.001)
    assert news.take() == []


async def test_a_full_buffer_lets_the_oldest_go_and_counts_them() -> None:
    """Memory is bounded when nobody takes, and the loss has its number and its time."""
    news = News(values_max=5)
    for timestamps in ((10, 20), (30,), (40, 50, 60)):
        news.put(observe(*timestamps))
    assert news.take_dropped() == Dropped(2, 9, 21)
    news.put(observe(70, 80))
    news.put(observe(90))
    assert news.take() == [observe(70, 80), observe(90)]
    assert news.take_dropped() == Dropped(4, 29, 61)
    assert news.take_dropped() is None


async def test_an_end_is_said_after_the_last_news() -> None:
    """What had come in before the end is still taken; then the end is said, at once, each time."""
    news = News()
    news.put(observe(1))
    news.end("over")
    news.end("later")
    await news.wait(30.0)
    assert news.take() == [observe(1)]
    for _ in range(2):
        with pytest.raises(NotConnected, match="over"):
            await asyncio.wait_for(news.wait(30.0), 10.0)
