"""The link turned by an asyncio loop, as the edge has it: no thread at rest, and the same promises."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.ending import end_link
from models.link import BrokerSettings, Link, LinkDown, LinkMessage, LinkState
from models.link.settings import TlsSettings
from tests.integration.certificates_rig import issue, make_authority
from tests.integration.edge_rig import until
from tests.integration.mqtt_rig import RECEIVE_MAX, ScriptedBroker
from tests.servers import Mosquitto

TAKEN_OVER = 142


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


async def test_messages_go_both_ways_without_a_thread(mosquitto: Mosquitto) -> None:
    """What is published arrives and is answered for; nothing runs beside the loop meanwhile."""
    sink, source = Ear(mosquitto.settings, "sink", "a/+"), Ear(mosquitto.settings, "source")
    async with listening(sink, source):
        await until(lambda: _is_heard(source, sink, "a/b"), "the subscription stands")
        threads = {thread.name for thread in threading.enumerate()}
        mids = [source.link.publish("a/b", str(number).encode()) for number in range(200)]
        await until(lambda: all(mid in source.answers for mid in mids), "all are answered for")
        await until(lambda: sink.messages[-1].payload == b"199", "all have arrived")
        assert not [name for name in threads if "paho" in name]
        assert [source.answers[mid] for mid in mids] == [0] * 200
        assert [message.payload for message in sink.messages[-200:]] == [b"%d" % at for at in range(200)]
        assert 0 < sink.swarms <= len(sink.messages) + len(sink.states)


async def test_large_messages_do_not_stop_the_loop(mosquitto: Mosquitto) -> None:
    """What the socket does not take at once is written as it does; the loop goes on turning."""
    sink, source = Ear(mosquitto.settings, "sink", "big"), Ear(mosquitto.settings, "source")
    async with listening(sink, source):
        await until(lambda: _is_heard(source, sink, "big"), "the subscription stands")
        payload = bytes(3_000_000)
        mids = [source.link.publish("big", payload) for _ in range(5)]
        late_s = 0.0
        while not all(mid in source.answers for mid in mids):
            begun_s = time.monotonic()
            await asyncio.sleep(0.001)
            late_s = max(late_s, time.monotonic() - begun_s)
        await until(lambda: [len(one.payload) for one in sink.messages[-5:]] == [3_000_000] * 5, "all whole")
        assert late_s < 0.5


async def test_what_is_asked_behind_messages_is_answered_behind_them(mosquitto: Mosquitto) -> None:
    """The broker hears everything in our order, though the socket takes the messages in pieces."""
    source, sink = Ear(mosquitto.settings, "source", "ask"), Ear(mosquitto.settings, "sink", "big")
    async with listening(sink, source):
        await until(lambda: _is_heard(source, sink, "big"), "the subscription stands")
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


async def test_a_killed_broker_is_found_again(mosquitto: Mosquitto) -> None:
    """The loss has its reason, publishing is refused, and the link comes back with its subscriptions."""
    ear = Ear(mosquitto.settings, "stayer", "back/#")
    async with listening(ear):
        await asyncio.to_thread(mosquitto.kill)
        await until(lambda: not ear.link.is_connected(), "the loss is noticed")
        with pytest.raises(LinkDown, match="no connection"):
            ear.link.publish("back/now", b"x")
        await until(lambda: len(ear.losses) >= 3, "it is tried again", 30)
        assert "lost" in ear.losses[0]
        assert ear.losses[1].endswith("is a broker running there, and is the port right?")
        await asyncio.to_thread(mosquitto.start)
        await until(ear.link.is_connected, "connected again", 30)
        await until(lambda: _is_heard(ear, ear, "back/now"), "subscribed again")
        assert ear.link.is_alive()


async def test_a_frozen_broker_is_noticed_within_two_keepalives(mosquitto: Mosquitto) -> None:
    """The connection stands but nobody answers, whether anything is published meanwhile or not."""
    keepalive_s = 2
    settings = mosquitto.settings.model_copy(update={"keepalive_s": keepalive_s})
    quiet, busy = Ear(settings, "quiet"), Ear(settings, "busy")
    noticed_after_s: dict[str, float] = {}
    async with listening(quiet, busy):
        await asyncio.sleep(2.5 * keepalive_s)
        assert not quiet.losses, "a broker that answers pings is well"
        mosquitto.freeze()
        begun_s = time.monotonic()
        try:
            while len(noticed_after_s) < 2 and time.monotonic() - begun_s < 30:
                if busy.link.is_connected():
                    busy.link.publish("t", b"x")
                for name, ear in (("quiet", quiet), ("busy", busy)):
                    if not ear.link.is_connected():
                        noticed_after_s.setdefault(name, time.monotonic() - begun_s)
                await asyncio.sleep(0.05)
        finally:
            mosquitto.thaw()
        await until(lambda: quiet.link.is_connected() and busy.link.is_connected(), "connected again", 30)
    assert max(noticed_after_s.values()) <= 2 * keepalive_s + 1.5
    assert len(noticed_after_s) == 2


async def test_a_callback_that_raises_costs_the_others_nothing(mosquitto: Mosquitto) -> None:
    """The loop hears of it; what came behind it is delivered."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(str(context["exception"]))
    )
    heard: list[bytes] = []

    def stumble(message: LinkMessage) -> None:
        heard.append(message.payload)
        if message.payload == b"stumble":
            raise RuntimeError("a mistake of ours")

    ear = Ear(mosquitto.settings, "stumbler", "s", on_message=stumble)
    async with listening(ear):
        await until(lambda: ear.link.publish("s", b"first") > 0 and bool(heard), "subscribed")
        ear.link.publish("s", b"stumble")
        ear.link.publish("s", b"last")
        await until(lambda: b"last" in heard, "the one behind it arrives")
        assert told == ["a mistake of ours"]
        assert ear.link.is_alive()


async def test_a_fault_in_the_client_ends_the_link(mosquitto: Mosquitto) -> None:
    """It would meet the same bytes for ever: the link says that it is dead, and a new one is made."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    ear = Ear(mosquitto.settings, "broken")
    async with listening(ear):
        ear.link._client._in_packet = None  # type: ignore[union-attr,assignment]  # as no packet ever is
        ear.link.publish("t", b"x", retain=True)
        await until(lambda: not ear.link.is_alive(), "it is noticed")


async def test_a_session_that_is_taken_over_is_left_after_three() -> None:
    """As with a thread: three tries, then none for long, and the reason asks for the other."""
    broker = ScriptedBroker(goodbye=TAKEN_OVER)
    ear = Ear(broker.settings, "forewarn-edge-pi-01")
    await until(lambda: len(broker.connects) == 3, "three tries", 30)
    await asyncio.sleep(5)  # longer than the usual pause between tries
    assert len(broker.connects) == 3
    assert "tried again every 30 s only" in ear.losses[-1]
    await end_link(ear.link)
    broker.stop()


async def test_over_tls_too(tmp_path: Path) -> None:
    """What TLS has decrypted in one go is read in one go; certificates are checked as ever."""
    make_authority(tmp_path, "plant-ca")
    issue(tmp_path, "plant-ca", "broker")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/plant-ca.crt",
        f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key",
    )
    await asyncio.to_thread(broker.start)
    trusting = broker.settings.model_copy(update={"tls": TlsSettings(ca_file=tmp_path / "plant-ca.crt")})
    distrusting = broker.settings.model_copy(update={"tls": TlsSettings()})
    sink, source, stranger = Ear(trusting, "sink", "a"), Ear(trusting, "source"), Ear(distrusting, "stranger")
    async with listening(sink, source):
        await until(lambda: _is_heard(source, sink, "a"), "the subscription stands")
        mids = [source.link.publish("a", bytes(size)) for size in range(0, 60_000, 300)]
        await until(lambda: all(mid in source.answers for mid in mids), "all are answered for", 30)
        await until(lambda: len(sink.messages[-1].payload) == 59_700, "all have arrived", 30)
        await until(lambda: bool(stranger.losses), "the refusal is said")
        assert "not trusted" in stranger.losses[0]
        assert source.link.certificate_shown is not None
    await end_link(stranger.link)
    await asyncio.to_thread(broker.stop)


async def test_leaving_says_goodbye_and_leaves_nothing_behind(mosquitto: Mosquitto) -> None:
    """Connected, on the way or without a broker: it is over at once, and the loop serves no socket of it."""
    connected, lost = Ear(mosquitto.settings, "leaver"), Ear(BrokerSettings(port=1), "lost")
    hurried = Ear(mosquitto.settings, "hurried")
    await end_link(hurried.link)  # its thread has not even connected
    await until(lambda: connected.link.is_connected() and bool(lost.losses), "both have begun")
    begun_s = time.monotonic()
    for ear in (connected, lost):
        await end_link(ear.link)
        assert not ear.link.is_alive()
    assert time.monotonic() - begun_s < 1
    assert not connected.losses


async def test_a_broker_that_reads_nothing_does_not_keep_us(mosquitto: Mosquitto) -> None:
    """A goodbye that cannot be written is given up after some seconds."""
    ear = Ear(mosquitto.settings, "hasty")
    await until(ear.link.is_connected, "connected")
    mosquitto.freeze()
    try:
        for _ in range(5):
            ear.link.publish("t", bytes(4_000_000))
        begun_s = time.monotonic()
        await end_link(ear.link)
        assert time.monotonic() - begun_s < 5
    finally:
        mosquitto.thaw()


def _is_heard(source: Ear, sink: Ear, topic: str) -> bool:
    """Publish; return whether anything has arrived."""
    source.link.publish(topic, b"")
    return bool(sink.messages)
