"""Links that a test's own loop turns, and all that they say."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edge.ending import end_link
from models.link import BrokerSettings, Link, LinkMessage, LinkState
from tests.integration.edge_rig import until


class Ear:
    """A link in this loop, and all that it says."""

    def __init__(
        self,
        settings: BrokerSettings,
        name: str,
        *topics: str,
        on_message: Callable[[LinkMessage], None] | None = None,
    ) -> None:
        self.states: list[LinkState] = []
        self.messages: list[LinkMessage] = []
        self.answers: dict[int, int] = {}
        self.swarms = 0
        self.link = Link(
            settings,
            name,
            on_message=on_message or self._take,
            on_state=self.states.append,
            on_delivered=self.answers.__setitem__,
            subscriptions=topics,
        )
        self.link.start_in_loop(self._count)

    @property
    def losses(self) -> list[str]:
        """Why there was no connection, each time."""
        return [state.reason for state in self.states if not state.connected]

    def _take(self, message: LinkMessage) -> None:
        self.messages.append(message)
        self.link.acknowledge(message)

    def _count(self) -> None:
        self.swarms += 1


@asynccontextmanager
async def listening(*ears: Ear) -> AsyncIterator[None]:
    """Have links connected; leave with them."""
    try:
        await until(lambda: all(ear.link.is_connected() for ear in ears), "connected")
        yield
    finally:
        for ear in ears:
            await end_link(ear.link)


def is_heard(source: Ear, sink: Ear, topic: str) -> bool:
    """Publish; return whether anything has arrived."""
    source.link.publish(topic, b"")
    return bool(sink.messages)
