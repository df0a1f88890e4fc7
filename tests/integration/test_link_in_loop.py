"""The link turned by an asyncio loop, as the edge has it: no thread at rest, and the same promises."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from edge.ending import end_link
from models.link import BrokerSettings, LinkDown, LinkMessage
from models.link.settings import TlsSettings
from tests.integration.certificates_rig import issue, make_authority
from tests.integration.edge_rig import until
from tests.integration.link_rig import Ear, is_heard, listening
from tests.integration.mqtt_rig import ScriptedBroker
from tests.servers import Mosquitto

TAKEN_OVER = 142


async def test_messages_go_both_ways_without_a_thread(mosquitto: Mosquitto) -> None:
    """What is published arrives and is answered for; nothing runs beside the loop meanwhile."""
    sink, source = Ear(mosquitto.settings, "sink", "a/+"), Ear(mosquitto.settings, "source")
    async with listening(sink, source):
        await until(lambda: is_heard(source, sink, "a/b"), "the subscription stands")
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
        await until(lambda: is_heard(source, sink, "big"), "the subscription stands")
        payload = bytes(3_000_000)
        mids = [source.link.publish("big", payload) for _ in range(5)]
        late_s = 0.0
        while not all(mid in source.answers for mid in mids):
            begun_s = time.monotonic()
            await asyncio.sleep(0.001)
            late_s = max(late_s, time.monotonic() - begun_s)
        await until(lambda: [len(one.payload) for one in sink.messages[-5:]] == [3_000_000] * 5, "all whole")
        assert late_s < 0.5


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
        await until(lambda: is_heard(ear, ear, "back/now"), "subscribed again")
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
    ear = Ear(mosquitto.settings, "broken", "t")
    async with listening(ear):
        ear.link._client._in_packet = None  # type: ignore[union-attr,assignment]  # as no packet ever is
        ear.link.ask_broker()
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
        await until(lambda: is_heard(source, sink, "a"), "the subscription stands")
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
