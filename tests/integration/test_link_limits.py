"""What a broker may say at the connect and at each message, and what becomes of it: no loop, nothing lost."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.outbox.outbox import Outbox
from edge.publishing import publisher
from models.link import BrokerSettings, Link, LinkDown, LinkMessage, LinkState, PacketTooLarge, Will
from models.telemetry import Frame
from tests.integration.edge_rig import PATH, CountingDriver, look_into, make_settings, running, until
from tests.integration.mqtt_rig import (
    MAXIMUM_QOS,
    PACKET_BYTES_MAX,
    RECEIVE_MAX,
    RETAIN_AVAILABLE,
    ScriptedBroker,
)
from tests.servers import Mosquitto, find_program, wait_until

TAKEN_OVER = 142
Scripted = Callable[..., ScriptedBroker]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Makes scripted brokers, which end with the test."""
    made: list[ScriptedBroker] = []

    def make(*arguments: dict[int, int], **script: object) -> ScriptedBroker:
        made.append(ScriptedBroker(*arguments, **script))  # type: ignore[arg-type]  # passed on as they are
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


class Watched:
    """A link, what it says, and what is answered for."""

    def __init__(self, settings: BrokerSettings, will: Will | None = None) -> None:
        self.states: list[LinkState] = []
        self.answers: dict[int, int] = {}
        self.link = Link(
            settings,
            "forewarn-edge-pi-01",
            on_state=self.states.append,
            on_delivered=self.answers.__setitem__,
            will=will,
        )
        self.link.start()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Makes links, which end with the test."""
    made: list[Watched] = []

    def make(settings: BrokerSettings, will: Will | None = None) -> Watched:
        made.append(Watched(settings, will))
        return made[-1]

    yield make
    for one in made:
        one.link.stop()


def test_a_session_that_is_taken_over_by_name_is_left_after_three(
    scripted: Scripted, watch: Callable[..., Watched]
) -> None:
    """A broker that says 142 hears of us three times, then not for long; the reason asks for the other."""
    broker = scripted(goodbye=TAKEN_OVER)
    watched = watch(broker.settings)
    wait_until(lambda: len(broker.connects) == 3, "three tries")
    time.sleep(5)  # longer than the usual pause between tries
    assert len(broker.connects) == 3
    losses = [state.reason for state in watched.states if not state.connected]
    assert losses[0].endswith("gave the session to another program of the client id 'forewarn-edge-pi-01'")
    assert "does another program use the client id 'forewarn-edge-pi-01' too" in losses[-1]
    assert "tried again every 30 s only" in losses[-1]


def test_a_broker_gets_no_more_at_once_than_it_asked_for(
    scripted: Scripted, watch: Callable[..., Watched]
) -> None:
    """Receive Maximum 3: three messages without an answer, the fourth after the first answer."""
    broker = scripted({RECEIVE_MAX: 3}, puback=lambda _: None)
    watched = watch(broker.settings)
    wait_until(watched.link.is_connected, "connected")
    for number in range(8):
        watched.link.publish("t", str(number).encode())
    wait_until(lambda: len(broker.published) == 3, "three messages")
    time.sleep(0.5)
    assert len(broker.published) == 3
    broker.acknowledge(broker.published[0])
    wait_until(lambda: len(broker.published) == 4, "the fourth")
    for at in range(1, 8):
        wait_until(lambda at=at: len(broker.published) > at, "the next")  # type: ignore[misc]  # bound now
        broker.acknowledge(broker.published[at])
    wait_until(lambda: len(watched.answers) == 8, "all answered")
    assert [message.payload for message in broker.published] == [str(number).encode() for number in range(8)]


def test_a_packet_that_is_too_large_never_leaves(scripted: Scripted, watch: Callable[..., Watched]) -> None:
    """The caller is told; the connection, over which a broker would end it, stands."""
    broker = scripted({PACKET_BYTES_MAX: 100})
    watched = watch(broker.settings)
    wait_until(watched.link.is_connected, "connected")
    with pytest.raises(PacketTooLarge, match="packets of 100 bytes at most"):
        watched.link.publish("t", b"x" * 90)
    watched.link.publish("t", b"x" * 83)
    wait_until(lambda: bool(watched.answers), "the smaller one is answered")
    assert [message.size for message in broker.published] == [91]
    assert len(broker.connects) == 1


def test_a_broker_that_acknowledges_nothing_is_of_no_use(
    scripted: Scripted, watch: Callable[..., Watched]
) -> None:
    """Maximum QoS 0: said as a refusal, and nothing is given to it."""
    broker = scripted({MAXIMUM_QOS: 0})
    watched = watch(broker.settings)
    wait_until(lambda: bool(watched.states), "it is said")
    assert not watched.states[0].connected
    assert "takes QoS 0 only" in watched.states[0].reason
    with pytest.raises(LinkDown):
        watched.link.publish("t", b"x")
    assert broker.published == []


def test_a_broker_that_retains_nothing_gets_the_status_all_the_same(
    scripted: Scripted, watch: Callable[..., Watched]
) -> None:
    """Refused for the retained will (154), it is asked again without; messages go without the flag too."""
    broker = scripted({RETAIN_AVAILABLE: 0}, connack=(154, 0))
    watched = watch(broker.settings, Will("status", b"offline"))
    wait_until(watched.link.is_connected, "connected")
    assert "it retains no messages" in watched.states[0].reason
    flags = [body[7] for body in broker.connects]  # after "MQTT" and the version
    assert [bool(one & 0x20) for one in flags] == [True, False]
    watched.link.publish("status", b"online", retain=True)
    wait_until(lambda: bool(broker.published), "it arrives")
    assert not broker.published[0].retain


@pytest.mark.parametrize(
    ("code", "name", "mend"),
    [(144, "topic name invalid", "which topics"), (151, "quota exceeded", "raise its quota")],
)
async def test_a_refusal_is_said_by_its_name_and_costs_nothing(
    code: int, name: str, mend: str, tmp_path: Path, scripted: Scripted
) -> None:
    """PUBACK codes that Mosquitto never gives: kept, said once, tried now and then, sent when it is over."""
    answer = [code]
    broker = scripted(puback=lambda message: answer[0] if "/data/" in message.topic else 0)
    settings, driver = make_settings(tmp_path, broker.settings), CountingDriver()
    with capture_logs() as said:
        async with running(settings, driver):
            await until(
                lambda: any(line["event"] == "delivery_waits" for line in said), "the refusal is said"
            )
            probes = len(broker.published)
            await until(lambda: len(broker.published) > probes + 1, "it is tried again")
            assert len(broker.published) < 30, "one at a time"
            answer[0] = 0
            await until(lambda: any(line["event"] == "delivery_goes_on" for line in said), "it goes on")
    (told,) = [line for line in said if line["event"] == "delivery_waits"]
    assert told["reason"] == f"the broker refuses this gateway's batches: {name} (PUBACK {code})"
    assert mend in told["mend"]
    assert look_into(settings).waiting_values == driver.count, "no receipt came: all is kept"


async def test_a_broker_too_small_for_any_batch_is_no_loop(tmp_path: Path, scripted: Scripted) -> None:
    """Packets of 600 bytes hold no batch of many tags: said with its mend, none is cut again and again."""
    broker = scripted({PACKET_BYTES_MAX: 600})
    settings = make_settings(tmp_path, broker.settings)
    outbox = Outbox(settings.outbox.path, "pi-01", 10**9)
    outbox.open()
    wide = Frame([1], {f"tag-{number}": [float(number)] for number in range(60)})
    large = Frame(list(range(2, 1002)), {"count": [1.5] * 1000})
    outbox.put([(PATH, [wide]), (PATH, [large])], time.time_ns())
    outbox.close()
    with capture_logs() as said:
        async with running(settings):
            await until(
                lambda: any(line["event"] == "delivery_waits" for line in said), "the refusal is said"
            )
            await asyncio.sleep(3)  # for more probes
    (told,) = [line for line in said if line["event"] == "delivery_waits"]
    assert "packet too large" in told["reason"]
    assert "raise its packet limit" in told["mend"]
    assert all(message.size <= 600 for message in broker.published)
    assert len(broker.connects) == 1
    kept = look_into(settings)
    assert kept.waiting_values == 1060
    assert kept.sequence_last < 40, "cut once, not again and again"


def test_a_password_is_read_from_its_file(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    """What a file holds is what the broker gets, without the line's end."""
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    passwords.write_text("pi-01:well-kept\n")
    subprocess.run([find_program("mosquitto_passwd"), "-U", str(passwords)], check=True, capture_output=True)
    secret.write_text("well-kept\n")
    secret.chmod(0o600)
    broker = Mosquitto(tmp_path, f"password_file {passwords}")
    configuration = next(tmp_path.glob("mosquitto-*.conf"))
    configuration.write_text(
        configuration.read_text().replace("allow_anonymous true", "allow_anonymous false")
    )
    broker.start()
    settings = BrokerSettings.model_validate(
        {"host": "127.0.0.1", "port": broker.port, "username": "pi-01", "password": {"file": secret}}
    )
    watched = watch(settings)
    wait_until(watched.link.is_connected, "connected")
    broker.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_noticed(mosquitto: Mosquitto) -> None:
    """Not even an exit in a callback goes unnoticed: the link says that it is not alive."""

    def leave(_message: LinkMessage) -> None:
        raise SystemExit

    link = Link(mosquitto.settings, "leaver", on_message=leave, subscriptions=["s"])
    link.start()
    wait_until(link.is_connected, "connected")

    def is_dead() -> bool:
        if link.is_connected() and link.is_alive():
            link.publish("s", b"x")
        return not link.is_alive()

    wait_until(is_dead, "it is noticed")


async def test_a_link_that_is_never_answered_starves_the_watchdog(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands and pings are answered, but no message is: that is no progress."""
    monkeypatch.setattr(publisher, "HANG_S", 1.0)
    answer: list[int | None] = [0]
    broker = scripted(puback=lambda _: answer[0])
    async with running(make_settings(tmp_path, broker.settings), CountingDriver()) as agent:
        progress = agent._progress
        await until(lambda: len(broker.published) > 3, "batches are taken")
        await asyncio.sleep(1.5)
        assert progress.explain_standstill(asyncio.get_running_loop().time()) == ""
        answer[0] = None
        await until(
            lambda: (
                "nothing that it was given" in progress.explain_standstill(asyncio.get_running_loop().time())
            ),
            "it shows",
        )
