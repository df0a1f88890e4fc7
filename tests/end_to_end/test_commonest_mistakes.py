"""The commonest mistakes at the edge and in settings files: what the real commands say about each."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.link import Link
from models.telemetry import Topics, decode_status
from tests.end_to_end.mistakes_rig import (
    MOTOR,
    PUMP,
    ServedPlant,
    find_events,
    read_log,
    swap_in,
    write_cloud,
    write_edge,
)
from tests.end_to_end.programs_rig import Command, run_command
from tests.servers import Mosquitto, wait_until

CLOCK_MEND = (
    "timestamps may be wrong: start a time service on this gateway (chrony or systemd-timesyncd) "
    "and give it a time server that it can reach"
)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlant]:
    """A plant that all tests of this file read."""
    served = ServedPlant(tmp_path_factory.mktemp("plant"))
    yield served
    served.program.end()


def test_a_wrong_node_id_is_answered_with_the_nearest_ones(tmp_path: Path, plant: ServedPlant) -> None:
    """`edge read` names tag and node id, and the nodes of the server that look like it; the rest is read."""
    write_edge(tmp_path, "port: 1", plant.pump("pump-7.sped"), plant.motor())
    told = run_command(tmp_path, "edge", "read", "edge.yaml")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    (warning,) = told.stderr.splitlines()
    for words in (
        f"machine={PUMP}",
        "tag=speed",
        "nsu=urn:forewarn:plant;s=pump-7.sped: the server has no such node; "
        "did you mean nsu=urn:forewarn:plant;s=pump-7.speed",
    ):
        assert words in warning
    pump, motor, reason = told.stdout.splitlines()[1:]
    assert reason.startswith(f"{PUMP} speed: the server has no such node; did you mean ")
    assert pump.split()[:4] == [PUMP, "speed", "-", "BadNodeIdUnknown"]
    assert motor.split()[0] == MOTOR
    assert "Good" in motor


def test_a_running_edge_says_once_what_it_cannot_find(tmp_path: Path, plant: ServedPlant) -> None:
    """`edge run` says a wrong node id and a wrong table once each, with the mend, and reads on."""
    write_edge(tmp_path, "port: 1", plant.pump("pump-7.sped"), plant.motor("input"))
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    edge.wait_for_line("node_not_found")
    edge.wait_for_line("registers_refused")
    edge.wait_for_line("outbox_fills")
    assert edge.end() == 0
    (node,) = find_events(edge, "node_not_found")
    assert (node["machine"], node["tag"]) == (PUMP, "speed")
    assert node["reason"].startswith(
        "nsu=urn:forewarn:plant;s=pump-7.sped: the server has no such node; did you"
    )
    (register,) = find_events(edge, "registers_refused")
    assert (register["machine"], register["tags"]) == (MOTOR, ["speed"])
    assert register["reason"] == (
        "unit 1 answers exception 1 (illegal function) to input registers 0..1: "
        "it has no such table; try table: holding"
    )


@pytest.mark.parametrize(
    ("table", "address", "words"),
    [
        (
            "input",
            0,
            "unit 1 answers exception 1 (illegal function) to input registers 0..1: "
            "it has no such table; try table: holding",
        ),
        (
            "holding",
            40001,
            "unit 1 answers exception 2 (illegal data address) to holding registers 40001..40002: addresses "
            "count from 0 here; if 40001 is the manual's number, write table: holding, address: 0 "
            "(that is 40001 - 40001)",
        ),
    ],
)
def test_a_wrong_register_is_answered_with_what_to_try(
    tmp_path: Path, plant: ServedPlant, table: str, address: int, words: str
) -> None:
    """`edge read` names what was asked, the exception as the standard names it, and what to write instead."""
    write_edge(tmp_path, "port: 1", plant.motor(table, address))
    told = run_command(tmp_path, "edge", "read", "--json", "edge.yaml")
    assert told.returncode == 1
    (warning,) = told.stderr.splitlines()
    assert f"machine={MOTOR}" in warning
    assert words in warning
    (reading,) = map(json.loads, told.stdout.splitlines())  # nothing but the reading
    assert reading["reason"].startswith("exception ")
    assert reading["reason"] in words


def test_a_refusing_broker_is_said_once_with_what_is_kept(
    tmp_path: Path, plant: ServedPlant, free_port: int
) -> None:
    """The edge says why and the mend once, and for how long it has room; the values wait in the outbox."""
    write_edge(tmp_path, f"port: {free_port}", plant.motor())
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    edge.wait_for_line("outbox_fills")
    wait_until(lambda: waiting(tmp_path) > 20, "several tries later more values wait", 30)
    assert edge.end() == 0
    (lost,) = find_events(edge, "broker_lost")
    assert lost["reason"] == (
        f"the broker at 127.0.0.1:{free_port} refused the connection: "
        "is a broker running there, and is the port right?"
    )
    (fills,) = find_events(edge, "outbox_fills")
    assert fills["keeping"].startswith("keeping values in the outbox: ")
    assert " of 1 GB used, room for about " in fills["keeping"]


def waiting(folder: Path) -> int:
    """Return how many values `edge outbox show` says are waiting."""
    told = run_command(folder, "edge", "outbox", "show", "edge.yaml").stdout
    line = next((line for line in told.splitlines() if line.startswith("waiting for their receipt")), ": 0 ")
    return int(line.split(": ")[1].split()[0])


def test_a_taken_port_is_an_error_at_the_start(tmp_path: Path, plant: ServedPlant) -> None:
    """`simulate` and the console of `cloud run` say which port, and the mend, and leave with 3."""
    (tmp_path / "plant.yaml").write_text((plant.program.output.parent / "plant.yaml").read_text())
    port = plant.opcua_port
    told = run_command(tmp_path, "simulate", "--config", "plant.yaml", "--opcua-port", str(port))
    assert told.returncode == 3
    assert told.stderr == (
        f"port {port} on 127.0.0.1 is in use: choose another with --opcua-port, or stop the other program\n"
    )
    write_cloud(tmp_path, "port: 1", f"console: {{port: {port}}}", "roles: [console]")
    told = run_command(tmp_path, "cloud", "run", "--config", "cloud.yaml")
    assert told.returncode == 3
    assert told.stderr == (
        f"the console cannot listen on 127.0.0.1:{port} (Address already in use): stop the program that has "
        "the port, or set another one in cloud.yaml under console.port\n"
    )


def test_all_mistakes_of_an_edge_file_come_at_once(tmp_path: Path) -> None:
    """Each line is one mistake: file, line, column, key, what is wrong, what was probably meant; exit 3."""
    (tmp_path / "edge.yaml").write_text(
        "gatway: pi-01\n"
        "broker: {host: 127.0.0.1, prot: 1883}\n"
        "machines:\n"
        f"  - path: {PUMP}\n"
        "    kind: opcua\n"
        "    url: opc.tcp://127.0.0.1:4840\n"
        "    allow_insecure: true\n"
        "    tags: [{name: speed, nodeid: x}]\n"
        f"  - path: {MOTOR}\n"
        "    kind: modbuss\n"
    )
    for arguments in (("check", "edge.yaml"), ("run", "--config", "edge.yaml"), ("read", "edge.yaml")):
        told = run_command(tmp_path, "edge", *arguments)
        assert told.returncode == 3
        assert told.stderr.splitlines() == [
            "edge.yaml:1:1 gateway: is missing.",
            "edge.yaml:1:1 gatway: unknown key. Did you mean gateway?",
            "edge.yaml:2:27 broker.prot: unknown key. Did you mean port?",
            "edge.yaml:8:12 machines[0].tags[0].browse_path: say either node_id or browse_path: "
            "where the tag is read",
            "edge.yaml:8:26 machines[0].tags[0].nodeid: unknown key. Did you mean node_id?",
            "edge.yaml:9:5 machines[1]: kind 'modbuss' is not one of opcua, modbus. Did you mean modbus?",
        ]


def test_all_mistakes_of_a_cloud_file_come_at_once(tmp_path: Path) -> None:
    """The same of cloud.yaml; a token written in clear is refused and not repeated."""
    (tmp_path / "cloud.yaml").write_text(
        "borker: {host: 127.0.0.1}\n"
        "records: {path: records.sqlite}\n"
        "store: {kind: influxdb, url: http://127.0.0.1:8086, org: plant, bucket: forewarn, token: hush}\n"
        "alerts: {on_delay: 5.0}\n"
        "machines: [{path: riverside/hall-1, typ: pump}]\n"
    )
    told = run_command(tmp_path, "cloud", "run", "--config", "cloud.yaml")
    assert told.returncode == 3
    assert told.stderr.splitlines() == [
        "cloud.yaml:1:1 borker: unknown key. Did you mean broker?",
        "cloud.yaml:3:83 store.token: a secret is never written in YAML: put it into a file and say "
        "{file: PATH}, or into the environment and say {env: NAME}",
        "cloud.yaml:4:10 alerts.on_delay: unknown key. Did you mean on_delay_s?",
        "cloud.yaml:5:13 machines[0].path: 'riverside/hall-1' is not site/area/line/machine (it has 2 parts)",
        "cloud.yaml:5:37 machines[0].typ: unknown key. Did you mean type?",
    ]


@pytest.mark.parametrize(("answer", "times"), [("False", 1), ("True", 0), ("None", 0)])
def test_a_clock_that_nobody_keeps_right_is_said_once(
    tmp_path: Path,
    plant: ServedPlant,
    mosquitto: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    times: int,
) -> None:
    """`edge run` says it once with the mend and puts it into the status; `edge check` says it as well."""
    # Which clock this computer has is not the test's to choose: the kernel's answer is swapped.
    swap_in(
        tmp_path,
        monkeypatch,
        f"from edge.polling import clock\nclock.is_clock_synchronised = lambda: {answer}\n",
    )
    write_edge(tmp_path, f"port: {mosquitto.port}", plant.motor())
    payloads: list[bytes] = []
    link = mosquitto_listener(mosquitto, payloads)
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    wait_until(lambda: bool(payloads), "the status arrives", 30)
    assert edge.end() == 0
    link.stop()
    assert [line["mend"] for line in find_events(edge, "clock_not_synchronised")] == [CLOCK_MEND] * times
    assert str(decode_status(payloads[0]).clock_synchronised) == answer
    told = run_command(tmp_path, "edge", "check", "edge.yaml")
    assert told.returncode == 0
    assert told.stdout.count(f"the clock of this computer is not synchronised: {CLOCK_MEND}") == times


def mosquitto_listener(broker: Mosquitto, payloads: list[bytes]) -> Link:
    """Return a link that collects the gateway's status."""
    link = Link(
        broker.settings,
        "listener",
        on_message=lambda message: payloads.append(message.payload),
        subscriptions=[Topics("forewarn").all_statuses()],
    )
    link.start()
    wait_until(link.is_connected, "the listener is connected")
    return link


def test_our_own_fault_is_one_line_until_the_trace_is_asked_for(
    tmp_path: Path, plant: ServedPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody expected says where it came up; --debug shows the trace."""
    write_edge(tmp_path, "port: 1", plant.motor())
    lines = "from edge.polling import clock\nclock.is_clock_synchronised = lambda: {}['clock']\n"
    swap_in(tmp_path, monkeypatch, lines)
    told = run_command(tmp_path, "edge", "check", "edge.yaml")
    assert told.returncode == 1
    (line,) = told.stderr.splitlines()
    assert line.startswith("unexpected KeyError: 'clock' (forewarn/commands/edge_check.py, line ")
    assert line.endswith(
        "): this is a fault in Forewarn: run the same command with --debug to see the stack trace"
    )
    told = run_command(tmp_path, "edge", "check", "edge.yaml", "--debug")
    assert told.returncode == 1
    assert "Traceback (most recent call last)" in told.stderr
    # A part of a running program that dies so is one line of the log, and is begun anew.
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    edge.wait_for_line("part_died")
    assert edge.end() == 0
    died = find_events(edge, "part_died")[0]
    assert died["fault"].startswith("KeyError: 'clock' (edge/vitals/status.py, line ")
    assert "--debug" in died["mend"]
    assert not any("exception" in line for line in read_log(edge))


def test_an_expected_error_shows_its_trace_only_with_debug(tmp_path: Path) -> None:
    """A mistake in the settings is one line; with --debug it comes with its trace."""
    (line,) = run_command(tmp_path, "edge", "check", "absent.yaml").stderr.splitlines()
    assert line.startswith("absent.yaml: there is no such file: begin with a copy of the commented example")
    told = run_command(tmp_path, "--debug", "edge", "check", "absent.yaml")
    assert told.returncode == 1
    assert "Traceback (most recent call last)" in told.stderr
