"""The MQTT link against a real broker: it reconnects, says why it cannot, survives callbacks."""

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models.link import NO_MATCHING_SUBSCRIBERS, BrokerSettings, Link, LinkDown, LinkMessage, LinkState
from models.link.mqtt import explain_connect_error
from models.link.settings import TlsSettings
from tests.servers import Mosquitto, wait_until


class Ear:
    """Remembers what a link says."""

    def __init__(self) -> None:
        self.states: list[LinkState] = []
        self.messages: list[LinkMessage] = []
        self.delivered: dict[int, int] = {}
        self.take: Callable[[LinkMessage], None] = lambda _message: None

    def hear_message(self, message: LinkMessage) -> None:
        """Keep a message, and do with it what is to be done."""
        self.messages.append(message)
        self.take(message)

    def hear_delivery(self, mid: int, code: int) -> None:
        """Keep the answer to one message."""
        self.delivered[mid] = code

    def link(self, settings: BrokerSettings, name: str, *topics: str, session_expiry_s: int = 0) -> Link:
        """Return a started link that talks to this ear."""
        link = Link(
            settings,
            name,
            on_message=self.hear_message,
            on_state=self.states.append,
            on_delivered=self.hear_delivery,
            subscriptions=topics,
            session_expiry_s=session_expiry_s,
        )
        link.start()
        return link


def test_a_message_goes_through_and_is_answered(mosquitto: Mosquitto) -> None:
    """What one link publishes the other gets; the PUBACK says success."""
    hearer, speaker = Ear(), Ear()
    sink = hearer.link(mosquitto.settings, "sink", "a/+")
    source = speaker.link(mosquitto.settings, "source")
    wait_until(lambda: sink.is_connected() and source.is_connected(), "both connected")
    mid = -1

    def heard() -> bool:
        nonlocal mid
        mid = source.publish("a/b", b"61.5")
        return bool(hearer.messages)

    wait_until(heard, "the message arrives")
    wait_until(lambda: mid in speaker.delivered, "the answer arrives")
    assert hearer.messages[0].payload == b"61.5"
    assert speaker.delivered[mid] == 0
    for link in (sink, source):
        link.stop()


def test_nobody_listening_is_told_apart_from_delivery(mosquitto: Mosquitto) -> None:
    """A PUBACK with "no matching subscribers" reaches the caller as such."""
    ear = Ear()
    link = ear.link(mosquitto.settings, "lonely")
    wait_until(link.is_connected, "connected")
    mid = link.publish("nobody/here", b"x")
    wait_until(lambda: mid in ear.delivered, "the answer arrives")
    assert ear.delivered[mid] == NO_MATCHING_SUBSCRIBERS
    link.stop()


def test_a_killed_broker_is_found_again(mosquitto: Mosquitto) -> None:
    """After kill -9 and a restart the link is back by itself, subscriptions included."""
    ear = Ear()
    link = ear.link(mosquitto.settings, "stayer", "back/#")
    wait_until(link.is_connected, "connected")
    mosquitto.kill()
    wait_until(lambda: not link.is_connected(), "the loss is noticed")
    with pytest.raises(LinkDown, match="no connection"):
        link.publish("back/now", b"x")
    mosquitto.start()
    wait_until(link.is_connected, "connected again")

    def heard() -> bool:
        link.publish("back/now", b"x")
        return bool(ear.messages)

    wait_until(heard, "subscribed again")
    assert any(not state.connected and "lost" in state.reason for state in ear.states)
    link.stop()


def test_a_refused_connection_is_explained(free_port: int) -> None:
    """Without a broker the reason names the address and the question to ask."""
    ear = Ear()
    link = ear.link(BrokerSettings(host="127.0.0.1", port=free_port), "nobody")
    wait_until(lambda: bool(ear.states), "the refusal is said")
    assert ear.states[0].reason == (
        f"the broker at 127.0.0.1:{free_port} refused the connection: "
        "is a broker running there, and is the port right?"
    )
    link.stop()


def test_an_unknown_host_is_explained() -> None:
    """A name that does not resolve is named together with the setting."""
    reason = explain_connect_error(
        BrokerSettings(host="brocker.plant"), socket.gaierror(-2, "Name or service not known")
    )
    assert (
        reason == "cannot resolve 'brocker.plant' (Name or service not known): check broker.host and the DNS"
    )


def test_a_callback_that_raises_does_not_kill_the_link(mosquitto: Mosquitto) -> None:
    """The thread goes on after an error in our own code."""
    seen = threading.Event()
    calls = 0

    def stumble(_message: LinkMessage) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a mistake of ours")
        seen.set()

    link = Link(mosquitto.settings, "stumbler", on_message=stumble, subscriptions=["s"])
    link.start()
    wait_until(link.is_connected, "connected")

    def heard() -> bool:
        link.publish("s", b"x")
        return seen.is_set()

    wait_until(heard, "the message after the mistake arrives")
    assert link.is_alive()
    link.stop()


def make_certificates(folder: Path, name: str) -> None:
    """Make a CA and a broker certificate for `name` in `folder`."""
    commands = [
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=plant-ca",
        f"openssl req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj /CN={name}",
        "openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out broker.crt -days 2 "
        "-extfile names.txt",
    ]
    (folder / "names.txt").write_text(f"subjectAltName=DNS:{name}\n")
    for command in commands:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def test_tls_checks_the_name_and_says_the_mend(tmp_path: Path) -> None:
    """A certificate for another name is refused with the setting that mends it; with it, the link stands."""
    make_certificates(tmp_path, "broker.plant")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/ca.crt",
        f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key",
    )
    broker.start()
    trust = TlsSettings(ca_file=tmp_path / "ca.crt")
    wrong, right = Ear(), Ear()
    refused = wrong.link(broker.settings.model_copy(update={"tls": trust}), "wrong-name")
    named = trust.model_copy(update={"server_name": "broker.plant"})
    accepted = right.link(broker.settings.model_copy(update={"tls": named}), "right-name")
    wait_until(accepted.is_connected, "connected over TLS")
    wait_until(lambda: bool(wrong.states), "the refusal is said")
    assert "certificate that is not for '127.0.0.1'" in wrong.states[0].reason
    assert "tls.server_name" in wrong.states[0].reason
    assert not refused.is_connected()
    for link in (refused, accepted):
        link.stop()
    broker.stop()


def test_tls_towards_a_plain_listener_is_explained(mosquitto: Mosquitto) -> None:
    """TLS spoken to a port without TLS points at the port and the tls settings."""
    ear = Ear()
    settings = mosquitto.settings.model_copy(update={"tls": TlsSettings()})
    link = ear.link(settings, "encrypted")
    wait_until(lambda: bool(ear.states), "the failure is said")
    assert ear.states[0].reason.endswith("check the port and tls")
    link.stop()


def test_a_goodbye_is_heard_while_messages_pour_in(mosquitto: Mosquitto) -> None:
    """A link that ends its session leaves nothing behind, though the broker is writing to it just then."""
    speaker, ended = Ear(), threading.Event()
    source = speaker.link(mosquitto.settings, "source")
    wait_until(source.is_connected, "connected")

    def pour() -> None:
        while not ended.wait(0.0005):
            source.publish("pour/in", b"x" * 1_000)

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        for _ in range(5):
            hearer = Ear()
            sink = hearer.link(mosquitto.settings, "sink", "pour/in", session_expiry_s=60)
            hearer.take = sink.acknowledge
            wait_until(lambda heard=hearer: len(heard.messages) > 300, "messages pour in")  # type: ignore[misc]  # bound
            sink.stop(end_session=True)
            assert not _is_heard(source, speaker, "pour/in")
    finally:
        ended.set()
        pouring.join()
        source.stop()


def _is_heard(source: Link, ear: Ear, topic: str) -> bool:
    """Return whether the broker has somebody for a message."""
    mid = source.publish(topic, b"x")
    wait_until(lambda: mid in ear.delivered, "the answer arrives")
    return ear.delivered[mid] != NO_MATCHING_SUBSCRIBERS
