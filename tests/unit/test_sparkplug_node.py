"""What the edge node does about hosts, commands, lost machines and lost sessions; what it may let go."""

import pytest
from structlog.testing import capture_logs

from edge.outbox.outbox import StoredBatch
from edge.polling.machine_states import MachineStates
from edge.sparkplug.forwarding import Forwarding
from edge.sparkplug.host import PrimaryHost
from edge.sparkplug.news import SparkplugNews
from edge.sparkplug.node import DEATH_DELAY_MS, REBIRTH_PAUSE_S, EdgeNode
from edge.sparkplug.payload import BOOLEAN, Metric, Payload, encode_payload
from edge.sparkplug.session import Message
from tests.unit.sparkplug_rig import MOTOR, NOW_MS, PUMP, kinds, make_batch, make_session, read

REBIRTH = encode_payload(Payload(NOW_MS, [Metric("Node Control/Rebirth", None, NOW_MS, BOOLEAN, value=True)]))
ONLINE = b'{"online": true, "timestamp": 2000}'
OFFLINE = b'{"online": false, "timestamp": 2000}'


class RecordingWire:
    """A way to a broker that takes everything until it breaks, and is asked under ids of its own."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.asked = 0
        self.is_broken = False

    def publish(self, messages: list[Message]) -> bool:
        """Take them."""
        if not self.is_broken:
            self.messages += messages
        return not self.is_broken

    def ask(self) -> int | None:
        """Count."""
        self.asked += 1
        return self.asked

    def take(self) -> list[str]:
        """Return the types of the messages since the last call."""
        taken, self.messages = self.messages, []
        return [kind.split("/")[0] for kind in kinds(taken)]


def make_node(host: PrimaryHost | None = None, settle_s: float = 30) -> tuple[EdgeNode, MachineStates]:
    """Return a node that is not connected; the pump answers."""
    states = MachineStates()
    states.begin(PUMP, NOW_MS * 1_000_000)
    states.connect(PUMP, NOW_MS * 1_000_000)
    node = EdgeNode(
        make_session(), Forwarding([], settle_s), states, SparkplugNews(), host, read_ms=lambda: NOW_MS
    )
    return node, states


def test_without_a_primary_host_the_node_is_born_at_once() -> None:
    """tck-id-message-flow-device-birth-publish-nbirth-wait: NBIRTH, then a machine with its first value."""
    node, _ = make_node()
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_batch(make_batch(1))
    node.take_batch(make_batch(2))
    assert wire.take() == ["NBIRTH", "DBIRTH", "DDATA"]


def test_tck_id_message_flow_edge_node_birth_publish_phid_wait() -> None:
    """With a primary host nothing goes out before its STATE says online; what came meanwhile is history."""
    node, _ = make_node(PrimaryHost("scada"))
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_batch(make_batch(1))
    assert wire.take() == []
    assert not node.take_host(OFFLINE, 101.0)
    assert wire.take() == []
    assert not node.take_host(ONLINE, 102.0)
    assert wire.take() == ["NBIRTH", "DBIRTH"]
    assert node.forwarding.plan_fetch() == [(1, 1)]
    node.take_history([make_batch(1)])
    [history] = [metric for message in wire.messages for metric in read(message).metrics]
    assert (history.value, history.is_historical) == (1.0, True)


def test_tck_id_message_flow_edge_node_birth_publish_phid_offline() -> None:
    """A host that leaves ends the session: NDEATH at once, and the connection is to be made anew."""
    node, _ = make_node(PrimaryHost("scada"))
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_host(ONLINE, 100.0)
    node.take_batch(make_batch(1))
    wire.take()
    assert node.take_host(b'{"online":false,"timestamp":2001}', 101.0)
    assert wire.take() == ["NDEATH"]
    node.take_batch(make_batch(2))
    assert wire.take() == []
    assert node.forwarding.plan_fetch() == [(1, 2)]


def test_tck_id_operational_behavior_edge_node_termination_host_offline_timestamp() -> None:
    """A STATE message older than the one before changes nothing; one as old is taken."""
    host = PrimaryHost("scada")
    host.connect()
    assert host.take(ONLINE)
    assert not host.take(b'{"online": false, "timestamp": 1999}')
    assert host.state == "online"
    assert host.rejected_total == 1
    assert host.take(OFFLINE)
    assert host.state == "offline"


@pytest.mark.parametrize(
    "nonsense", [b"ONLINE", b"{}", b'{"online": 1, "timestamp": 2}', b"\xff", b"[" * 9999]
)
def test_what_is_no_state_message_changes_nothing(nonsense: bytes) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait-online: only the boolean true is online."""
    host = PrimaryHost("scada")
    assert not host.take(nonsense)
    assert (host.state, host.rejected_total) == ("unknown", 1)


def test_tck_id_operational_behavior_data_commands_rebirth_action_1_and_2() -> None:
    """A rebirth request brings NBIRTH and DBIRTHs; asked in a swarm it brings one, and no value before it."""
    node, _ = make_node()
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_batch(make_batch(1))
    node.tick(100.0 + REBIRTH_PAUSE_S)
    wire.take()
    node.take_command(REBIRTH, 110.0)
    assert wire.take() == ["NBIRTH", "DBIRTH"]
    for _ in range(50):
        node.take_command(REBIRTH, 110.5)
    node.take_batch(make_batch(2))
    assert wire.take() == []
    node.tick(110.0 + REBIRTH_PAUSE_S)
    births = list(wire.messages)
    assert wire.take() == ["NBIRTH", "DBIRTH"]
    assert 2.0 in [metric.value for metric in read(births[1]).metrics]
    assert node.births_total == 3
    assert node.forwarding.plan_fetch() == [(2, 2)]


def test_a_command_that_asks_for_nothing_or_is_none_is_passed_over() -> None:
    """Rebirth = false is no request; nonsense is counted and said."""
    node, _ = make_node()
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    wire.take()
    no = Payload(NOW_MS, [Metric("Node Control/Rebirth", None, NOW_MS, BOOLEAN, value=False)])
    node.take_command(encode_payload(no), 110.0)
    with capture_logs() as said:
        node.take_command(b"\xff", 110.0)
    assert wire.take() == []
    assert node.commands_rejected_total == 1
    assert [line["event"] for line in said] == ["sparkplug_command_rejected"]


def test_a_lost_machine_dies_after_what_it_said_and_is_born_again_when_it_is_back() -> None:
    """tck-id-topics-dbirth-metrics: DDEATH a moment after the loss, DBIRTH with the next value."""
    node, states = make_node()
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_batch(make_batch(1))
    wire.take()
    states.lose(PUMP, (NOW_MS - DEATH_DELAY_MS + 1) * 1_000_000, "unplugged")
    node.tick(101.0)
    node.take_batch(make_batch(2))  # read before the loss
    assert wire.take() == ["DDATA"]
    states.forget(PUMP)
    states.begin(PUMP, 0)
    states.lose(PUMP, (NOW_MS - DEATH_DELAY_MS) * 1_000_000, "unplugged")
    node.tick(102.0)
    node.tick(103.0)
    assert wire.take() == ["DDEATH"]
    node.take_batch(make_batch(3))  # and this one was flushed too late: history
    assert wire.take() == []
    states.connect(PUMP, NOW_MS * 1_000_000)
    node.take_batch(make_batch(4))
    assert wire.take() == ["DBIRTH"]
    assert node.forwarding.plan_fetch() == [(3, 3)]


def test_history_goes_by_machine_and_a_machine_that_is_away_dies_again() -> None:
    """The motor was taken out of the plant while its values waited."""
    node, _ = make_node()
    for sequence, machine, tag in (
        (1, MOTOR, "current"),
        (2, PUMP, "bearing_temperature"),
        (3, MOTOR, "current"),
    ):
        node.take_batch(make_batch(sequence, machine, tag))
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    wire.take()
    node.take_history([make_batch(1, MOTOR, "current"), make_batch(2), make_batch(3, MOTOR, "current")])
    assert kinds(wire.messages) == [
        "DBIRTH/pi-01/hall-1:water:motor-3",
        "DDATA/pi-01/hall-1:water:motor-3",
        "DDEATH/pi-01/hall-1:water:motor-3",
        "DDATA/pi-01/hall-1:water:pump-7",
    ]
    assert [metric.value for metric in read(wire.messages[1]).metrics] == [1.0, 3.0]
    assert node.forwarding.plan_fetch() == []


def test_a_link_that_breaks_in_the_middle_loses_nothing() -> None:
    """What could not be handed over waits, and what was handed over but not settled goes again."""
    node, _ = make_node()
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    node.take_batch(make_batch(1))
    node.ask()
    node.take_answer(1, 100.1)
    node.take_batch(make_batch(2))
    wire.is_broken = True
    node.take_batch(make_batch(3))
    assert not node.is_live
    assert node.forwarding.plan_fetch() == [(1, 3)]


def test_a_host_that_stays_away_is_said_once() -> None:
    """And that it is back, once."""
    node, _ = make_node(PrimaryHost("scada"))
    with capture_logs() as said:
        node.connect(RecordingWire(), 7, 100.0)
        for second in range(101, 130):
            node.tick(float(second))
        node.take_host(ONLINE, 130.0)
    assert [line["event"] for line in said] == [
        "sparkplug_host_away",
        "sparkplug_host_back",
        "sparkplug_born",
    ]
    assert "'scada' has said nothing on spBv1.0/STATE/scada" in said[0]["reason"]
    assert said[1]["after"] == "26 s"


def test_a_batch_that_the_disk_has_changed_stays_where_it_is_and_holds_nothing_up() -> None:
    """It is said, not sent, and not let go; what came with it goes out."""
    node, _ = make_node()
    node.take_batch(make_batch(1))
    node.take_batch(make_batch(3))
    node.forwarding.hold(2)
    wire = RecordingWire()
    node.connect(wire, 7, 100.0)
    wire.take()
    broken = StoredBatch(2, str(PUMP), b'{"frames": [{"timesta')
    with capture_logs() as said:
        node.take_history([make_batch(1), broken, make_batch(3)])
    assert [line["sequence"] for line in said if line["event"] == "sparkplug_batch_unreadable"] == [2]
    assert [metric.value for metric in read(wire.messages[0]).metrics] == [1.0, 3.0]
    assert node.forwarding.plan_fetch() == []
    assert node.forwarding.waiting_total == 1
