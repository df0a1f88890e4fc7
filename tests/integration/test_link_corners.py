"""A link in a loop at the edges of what brokers say: late, parting, and silent on one message for ever."""

import asyncio
from itertools import pairwise

import pytest

from models.link import BrokerSettings, LinkDown
from models.link.shortcut import ShortcutClient
from tests.integration.edge_rig import until
from tests.integration.link_rig import Ear, listening
from tests.integration.mqtt_rig import RECEIVE_MAX, ScriptedBroker

CONNACK_KEEPALIVE_1_S = bytes((0x20, 6, 0, 0, 3, 0x13, 0, 1))
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"
DISCONNECT_SHUTTING_DOWN = bytes((0xE0, 2, 0x8B, 0))


async def test_a_keepalive_that_is_told_late_is_kept() -> None:
    """A broker that is slow to greet, and wants to hear something each second, hears it."""
    loop = asyncio.get_running_loop()
    pings_s: list[float] = []

    async def greet_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await asyncio.sleep(1.5)
        writer.write(CONNACK_KEEPALIVE_1_S)
        pings_s.append(loop.time())
        while await reader.read(2) == PINGREQ:
            pings_s.append(loop.time())
            writer.write(PINGRESP)
        writer.close()

    server = await asyncio.start_server(greet_late, "127.0.0.1", 0)
    ear = Ear(BrokerSettings(port=server.sockets[0].getsockname()[1]), "punctual")
    async with listening(ear):
        await until(lambda: len(pings_s) > 2, "it pings", 15)
        assert max(later - ping for ping, later in pairwise(pings_s)) < 2.5
    server.close()


async def test_a_broker_that_has_said_goodbye_is_given_nothing() -> None:
    """Until the next connection stands there is none, though the broker has ended this one in order."""
    broker = ScriptedBroker()
    ear = Ear(broker.settings, "left")
    async with listening(ear):
        broker.babble(DISCONNECT_SHUTTING_DOWN)
        await until(lambda: bool(ear.losses), "the end is heard")
        assert not ear.link.is_connected()
        with pytest.raises(LinkDown, match="no connection"):
            ear.link.publish("t", b"lost")
        await until(ear.link.is_connected, "connected again", 30)
    broker.stop()


async def test_a_message_that_waits_for_ever_keeps_its_number() -> None:
    """After 65,535 more the numbers begin anew, and one whose answer is still out is passed over."""
    broker = ScriptedBroker(
        {RECEIVE_MAX: 2}, puback=lambda message: None if message.payload == b"first" else 0
    )
    ear = Ear(broker.settings, "counting")
    async with listening(ear):
        first = ear.link.publish("t", b"first")
        ear.link._client._last_mid = first - 1  # type: ignore[union-attr]  # as after so many
        second = ear.link.publish("t", b"second")
        await until(lambda: second in ear.answers, "the other is answered for")
        assert first != second
    broker.stop()


async def test_half_a_length_that_is_none_ends_the_connection() -> None:
    """What cannot be MQTT any more is left at once, though its last byte has not come."""
    broker = ScriptedBroker()
    ear = Ear(broker.settings.model_copy(update={"keepalive_s": 60}), "impatient")
    async with listening(ear):
        broker.babble(b"\x30\xff\xff\xff\xff")
        await until(lambda: bool(ear.losses), "the end", 15)
        await until(ear.link.is_connected, "connected again", 30)
    broker.stop()


def test_what_is_acknowledged_too_late_is_not_sent_to_the_next_connection() -> None:
    """Its first packet is a CONNECT, whatever was acknowledged while it came about."""
    client = ShortcutClient("late", on_taken=print, on_answered=print)
    client.send_acks([1])
    client.send_acks([2])
    client.begin_anew()
    assert not client.want_write()
