"""What a subscription tells is kept within a bound, and every loss is counted."""

import asyncio

import pytest

from edge.drivers import NotConnected
from edge.drivers.columns import Observation
from edge.drivers.news import News


def observe(*timestamps: int) -> list[Observation]:
    return [("a", timestamp, float(timestamp), 0) for timestamp in timestamps]


async def test_news_wait_for_something_and_are_taken_once() -> None:
    """A wait returns as soon as something is there; what is taken is gone."""
    news = News()
    asyncio.get_running_loop().call_later(0.01, news.put, observe(1, 2))
    await asyncio.wait_for(news.wait(30.0, 30.0), 10.0)
    assert news.take() == observe(1, 2)
    assert news.take() == []
    await news.wait(0.001, 30.0)
    assert news.take() == []


async def test_a_full_buffer_lets_the_oldest_go_and_counts_them() -> None:
    """Memory is bounded when nobody takes, and the loss has its number."""
    news = News(values_max=3)
    news.put(observe(1, 2))
    news.put(observe(3, 4, 5))
    assert news.take() == observe(3, 4, 5)
    assert news.take_losses() == {"buffer_full": 2}
    assert news.take_losses() == {}


async def test_missing_notifications_are_counted_by_their_numbers() -> None:
    """After 7 comes 8; a keep-alive has no number of its own; after a gap the count goes on from there."""
    news = News()
    for sequence in (7, None, 8, 11, 12, 12):
        news.hear(sequence)
    assert news.take_losses() == {"notifications_missing": 2}


async def test_an_ended_subscription_is_said_after_its_last_news() -> None:
    """What had come in before the end is still taken; then the end is said, at once, each time."""
    news = News()
    news.put(observe(1))
    news.end("over")
    await news.wait(30.0, 30.0)
    assert news.take() == observe(1)
    for _ in range(2):
        with pytest.raises(NotConnected, match="over"):
            await asyncio.wait_for(news.wait(30.0, 30.0), 10.0)


async def test_silence_beyond_measure_is_an_end() -> None:
    """A server that sends not even keep-alives has lost the subscription."""
    news = News()
    with pytest.raises(NotConnected, match="silent"):
        await news.wait(0.02, 0.01)
    news.hear()
    await news.wait(0.001, 30.0)
