"""The short way past paho, to real brokers and scripted ones: in order, within limits, with every answer."""

import asyncio

from tests.integration.edge_rig import until
from tests.integration.link_rig import Ear, is_heard, listening
from tests.integration.mqtt_rig import RECEIVE_MAX, ScriptedBroker
from tests.servers import Mosquitto


async def test_what_is_asked_behind_messages_is_answered_behind_them(mosquitto: Mosquitto) -> None:
    """The broker hears everything in our order, though the socket takes the messages in pieces."""
    source, sink = Ear(mosquitto.settings, "source", "ask"), Ear(mosquitto.settings, "sink", "big")
    async with listening(sink, source):
        await until(lambda: is_heard(source, sink, "big"), "the subscription stands")
        mids = [source.link.publish("big", bytes(2_000_000)) for _ in range(3)]
        status = source.link.publish("status", b"well", retain=True)
        asked = source.link.ask_broker()
        last = source.link.publish("big", b"last")
        await until(lambda: last in source.answers, "all are answered for", 30)
        assert [mid for mid in source.answers if mid >= mids[0]] == [*mids, status, asked, last]


async def test_a_broker_gets_no_more_at_once_than_it_asked_for() -> None:
    """Receive Maximum 3: never a fourth without an answer, retained ones among them, and all in our order."""
    broker = ScriptedBroker({RECEIVE_MAX: 3}, puback=lambda _: None)
    ear = Ear(broker.settings, "modest")
    async with listening(ear):
        for number in range(9):
            ear.link.publish("t", b"%d" % number, retain=number % 4 == 3)
        for at in range(9):
            await until(lambda at=at: len(broker.published) >= min(9, at + 3), "three are under way")  # type: ignore[misc]  # bound now
            await asyncio.sleep(0.05)
            assert len(broker.published) == min(9, at + 3)
            broker.acknowledge(broker.published[at])
        await until(lambda: len(ear.answers) == 9, "all are answered for")
        assert [message.payload for message in broker.published] == [b"%d" % at for at in range(9)]
    broker.stop()


async def test_a_broker_that_takes_one_at_a_time() -> None:
    """Receive Maximum 1, the least there is."""
    broker = ScriptedBroker({RECEIVE_MAX: 1})
    ear = Ear(broker.settings, "patient")
    async with listening(ear):
        mids = [ear.link.publish("t", b"%d" % number) for number in range(5)]
        await until(lambda: list(ear.answers) == mids, "one after the other")
    broker.stop()


async def test_a_refusal_keeps_its_reason() -> None:
    """The code of a PUBACK reaches whoever published, by either way."""
    broker = ScriptedBroker(puback=lambda message: 151 if message.payload == b"much" else 0)
    ear = Ear(broker.settings, "refused")
    async with listening(ear):
        mids = [ear.link.publish("t", b"much"), ear.link.publish("t", b"little")]
        mids.append(ear.link.publish("t", b"much", retain=True))
        await until(lambda: len(ear.answers) == 3, "all are answered for")
        assert [ear.answers[mid] for mid in mids] == [151, 0, 151]
    broker.stop()


async def test_what_is_no_mqtt_ends_the_connection() -> None:
    """A broker that has lost its way is left, and called again."""
    broker = ScriptedBroker()
    ear = Ear(broker.settings, "strict")
    async with listening(ear):
        broker.babble(b"\x30\xff\xff\xff\xff\xff")
        await until(lambda: len(broker.connects) == 2, "a new connection", 30)
        await until(ear.link.is_connected, "connected again", 30)
        assert ear.losses
    broker.stop()
