"""The link at its worst: no name service, a frozen broker, two clients of one name, foreign certificates."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models.link import BrokerSettings, Link, LinkMessage, LinkState
from models.link.settings import TlsSettings
from tests.integration.certificates_rig import issue, make_authority
from tests.integration.edge_rig import CountingDriver, look_into, make_settings, running, until
from tests.servers import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]
NOT_AUTHORIZED = 135


class Watched:
    """A link, and all that it says."""

    def __init__(self, settings: BrokerSettings, name: str, *topics: str) -> None:
        self.states: list[LinkState] = []
        self.messages: list[LinkMessage] = []
        self.answers: dict[int, int] = {}
        self.link = Link(
            settings,
            name,
            on_message=self.messages.append,
            on_state=self.states.append,
            on_delivered=self.answers.__setitem__,
            subscriptions=topics,
        )
        self.link.start()

    @property
    def losses(self) -> list[str]:
        """Why there was no connection, each time."""
        return [state.reason for state in list(self.states) if not state.connected]

    def publish(self, topic: str) -> int:
        """Publish once connected; return the broker's answer."""
        wait_until(self.link.is_connected, "connected")
        mid = self.link.publish(topic, b"x")
        wait_until(lambda: mid in self.answers, "the broker answers")
        return self.answers[mid]


@pytest.fixture
def links() -> Iterator[list[Watched]]:
    """The links of a test, ended with it."""
    made: list[Watched] = []
    yield made
    for watched in made:
        watched.link.stop()


def test_two_clients_of_one_name_stop_fighting(mosquitto: Mosquitto, links: list[Watched]) -> None:
    """They take the session from each other three times; then one keeps away and says what to look for."""
    links += [Watched(mosquitto.settings, "forewarn-edge-pi-01") for _ in range(2)]
    contested = "does another program use the client id 'forewarn-edge-pi-01' too"
    wait_until(lambda: any(contested in loss for each in links for loss in each.losses), "one gives in", 60)
    loser, winner = sorted(links, key=lambda each: contested not in "".join(each.losses))
    wait_until(winner.link.is_connected, "the other has the session")
    fights = len(loser.losses) + len(winner.losses)
    time.sleep(4)  # twice what either waits before it comes back, were it still fighting
    assert winner.link.is_connected()
    assert not loser.link.is_connected()
    assert len(loser.losses) + len(winner.losses) == fights
    assert len(loser.losses) == 3


def test_a_name_that_does_not_resolve_is_tried_again(links: list[Watched]) -> None:
    """Without DNS the reason names the host, and the link goes on trying."""
    watched = Watched(BrokerSettings(host="no-such-broker.invalid"), "lost")
    links.append(watched)
    wait_until(lambda: len(watched.losses) >= 2, "it is tried again", 60)
    assert all(loss.startswith("cannot resolve 'no-such-broker.invalid'") for loss in watched.losses)
    assert watched.link.is_alive()


def test_a_frozen_broker_is_noticed_within_two_keepalives(mosquitto: Mosquitto, links: list[Watched]) -> None:
    """The connection stands but nobody answers: that is found out, and mended when the broker wakes."""
    keepalive_s = 2
    settings = mosquitto.settings.model_copy(update={"keepalive_s": keepalive_s})
    watched = Watched(settings, "patient")
    links.append(watched)
    wait_until(watched.link.is_connected, "connected")
    mosquitto.freeze()
    frozen_at = time.monotonic()
    try:
        wait_until(lambda: not watched.link.is_connected(), "the loss is noticed")
        noticed_after_s = time.monotonic() - frozen_at
    finally:
        mosquitto.thaw()
    assert noticed_after_s <= 2 * keepalive_s + 1.5, "paho looks once a second"
    wait_until(watched.link.is_connected, "connected again")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker as configs/mosquitto describes it for a plant: certificates, identities, the access list."""
    make_authority(tmp_path, "plant-ca")
    issue(tmp_path, "plant-ca", "broker")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/plant-ca.crt",
        f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {ROOT}/configs/mosquitto/acl",
    )
    broker.start()
    yield broker
    broker.stop()


def test_a_gateway_writes_under_its_own_name_only(
    tmp_path: Path, guarded: Mosquitto, links: list[Watched]
) -> None:
    """By certificate and access list: its own batches reach the cloud, those under another's name do not."""
    settings = {
        name: guarded.settings.model_copy(update={"tls": issue(tmp_path, "plant-ca", name)})
        for name in ("forewarn-cloud", "pi-01")
    }
    cloud = Watched(settings["forewarn-cloud"], "cloud", "forewarn/v1/#")
    links.append(cloud)
    wait_until(cloud.link.is_connected, "the cloud is connected")
    gateway = Watched(settings["pi-01"], "edge", "forewarn/v1/+/receipt")
    links.append(gateway)

    def is_heard() -> bool:
        return gateway.publish("forewarn/v1/pi-01/data/a/b/c/d") == 0 and bool(cloud.messages)

    wait_until(is_heard, "its own batch arrives")
    assert gateway.publish("forewarn/v1/pi-02/data/a/b/c/d") == NOT_AUTHORIZED
    for other in ("pi-02", "pi-01"):
        assert cloud.publish(f"forewarn/v1/{other}/receipt") in (0, 16)
    wait_until(lambda: bool(gateway.messages), "its own receipt arrives")
    wait_until(is_heard, "its batches go on")
    assert {message.topic for message in cloud.messages} == {
        "forewarn/v1/pi-01/data/a/b/c/d",
        "forewarn/v1/pi-02/receipt",
        "forewarn/v1/pi-01/receipt",
    }
    assert {message.topic for message in gateway.messages} == {"forewarn/v1/pi-01/receipt"}


async def test_an_agent_under_anothers_name_says_what_the_broker_answers(
    tmp_path: Path, guarded: Mosquitto
) -> None:
    """Settings and certificate name different gateways: that is said once, by name, and all is kept."""
    tls = issue(tmp_path, "plant-ca", "pi-09")
    settings = make_settings(tmp_path, guarded.settings.model_copy(update={"tls": tls}))
    driver = CountingDriver()
    with capture_logs() as said:
        async with running(settings, driver):
            await until(
                lambda: any(line["event"] == "delivery_waits" for line in said), "the refusal is said"
            )
            await asyncio.sleep(3)  # for more probes, whose refusal is nothing new
    (told,) = [line for line in said if line["event"] == "delivery_waits"]
    assert told["reason"] == "the broker refuses this gateway's batches: not authorized (PUBACK 135)"
    assert "access list" in told["mend"]
    kept = look_into(settings)
    assert kept.waiting == [(1, kept.sequence_last)]
    assert kept.waiting_values == driver.count


def test_without_the_plants_certificate_nobody_gets_in(
    tmp_path: Path, guarded: Mosquitto, links: list[Watched]
) -> None:
    """None, one of another authority under a stolen name, and plain text are all refused."""
    make_authority(tmp_path, "other-ca")
    stolen = issue(tmp_path, "other-ca", "pi-01", "stolen")
    nothing = TlsSettings(ca_file=tmp_path / "plant-ca.crt")
    for tls in (stolen, nothing, None):
        links.append(Watched(guarded.settings.model_copy(update={"tls": tls}), f"intruder-{len(links)}"))
    for watched in links:
        wait_until(lambda each=watched: len(each.losses) >= 2, "it is refused, again and again", 30)  # type: ignore[misc]  # bound now
        assert not any(state.connected for state in watched.states)


def test_an_expired_certificate_is_said_by_its_name(tmp_path: Path, links: list[Watched]) -> None:
    """Neither a wrong name nor a wrong authority: its time is over, and the clock may be what is wrong."""
    make_authority(tmp_path, "plant-ca")
    issue(tmp_path, "plant-ca", "broker", days="-1")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/plant-ca.crt",
        f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key",
    )
    broker.start()
    tls = TlsSettings(ca_file=tmp_path / "plant-ca.crt")
    watched = Watched(broker.settings.model_copy(update={"tls": tls}), "punctual")
    links.append(watched)
    wait_until(lambda: len(watched.losses) >= 2, "the refusal is said")
    assert "a certificate that has expired: renew it; this computer's clock says 2" in watched.losses[0]
    assert watched.losses[0] == watched.losses[1], "or the log would have it again at every try"
    broker.stop()


def test_a_wrong_password_is_said_with_its_mend(tmp_path: Path, links: list[Watched]) -> None:
    """What the broker calls it, and the settings to look at."""
    passwords = tmp_path / "passwords"
    passwords.write_text("somebody:$7$101$AAAA$AAAA\n")
    broker = Mosquitto(tmp_path, f"password_file {passwords}")
    configuration = next(tmp_path.glob("mosquitto-*.conf"))
    configuration.write_text(
        configuration.read_text().replace("allow_anonymous true", "allow_anonymous false")
    )
    broker.start()
    watched = Watched(broker.settings.model_copy(update={"username": "nobody"}), "forgetful")
    links.append(watched)
    wait_until(lambda: bool(watched.losses), "the refusal is said")
    assert watched.losses[0].startswith(f"the broker at 127.0.0.1:{broker.port} refused: ")
    assert "check broker.username" in watched.losses[0]
    broker.stop()
