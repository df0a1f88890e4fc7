"""Messages of a subscription that did not arrive: each is counted as lost or comes late."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from edge.drivers import NotConnected
from edge.drivers.columns import Rows
from edge.drivers.news import News
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.notifications import Message
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.drivers.opcua.subscription import OpcuaSubscription

SETTINGS = OpcuaMachineSettings.model_validate(
    {
        "kind": "opcua",
        "path": "site/area/line/pump",
        "url": "opc.tcp://10.0.0.7:4840",
        "allow_insecure": True,
        "tags": [{"name": "flow", "node_id": "ns=2;s=flow"}],
    }
)


class Server:
    """A session with a server that has forgotten every message; `on_ask` happens before each answer."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.on_ask: Callable[[int], None] = lambda _: None
        self.subscription = OpcuaSubscription(cast(OpcuaSession, self), SETTINGS, 1.0, [0], News())

    async def call(
        self, items: Sequence[int], service: Callable[[Any, list[int]], Awaitable[list[Any]]]
    ) -> list[None]:
        """Have a message sent once more: there is none."""
        self.asked += items
        self.on_ask(items[0])
        return [None]

    def tell(self, *numbers: int) -> None:
        """Let messages arrive, each with a value."""
        for number in numbers:
            self.subscription.take(Message(1, number, Rows([0], [1_000 * number], [1.0])))

    def end(self) -> None:
        """Be gone."""
        raise NotConnected("gone")


async def test_a_message_that_goes_missing_while_others_are_asked_for_is_asked_for_next() -> None:
    """The one asked for is counted at once, the other when it was asked for: none is forgotten."""
    server = Server()
    server.tell(1, 3)
    server.on_ask = lambda number: server.tell(4, 6) if number == 2 else None
    await server.subscription.recover()
    first = server.subscription.take_lost()
    await server.subscription.recover()
    second = server.subscription.take_lost()
    assert server.asked == [2, 5]
    assert sum(lost.lost for lost in (first, second) if lost is not None) == 2
    spans = [(lost.first_ns, lost.last_ns) for lost in (first, second) if lost is not None]
    assert min(first for first, _ in spans) == 1_000
    assert max(last for _, last in spans) == 6_000


async def test_what_cannot_be_asked_for_any_more_is_lost() -> None:
    """The connection ends between two questions: the rest is counted, as newer values have gone on."""
    server = Server()
    server.tell(1, 5)
    server.on_ask = lambda number: server.end() if number == 3 else None
    with pytest.raises(NotConnected):
        await server.subscription.recover()
    lost = server.subscription.take_lost()
    assert lost is not None
    assert (lost.lost, lost.first_ns, lost.last_ns) == (3, 1_000, 5_000)


async def test_what_was_never_asked_for_before_the_end_is_lost() -> None:
    """Another subscription of the session noticed the end: this one had no turn."""
    server = Server()
    server.tell(1, 4)
    server.subscription.give_up()
    lost = server.subscription.take_lost()
    assert lost is not None
    assert lost.lost == 2
    assert server.subscription.take_lost() is None
