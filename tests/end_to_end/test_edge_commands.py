"""The commands of the edge on a served plant: what they print for a person, what for a program."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.outbox.outbox import Outbox
from models.telemetry import Frame, MachinePath
from tests.end_to_end.mistakes_rig import MOTOR, PUMP, ServedPlant, write_edge
from tests.end_to_end.programs_rig import Command, run_command
from tests.integration.certificates_rig import make_authority, openssl
from tests.servers import Mosquitto, wait_until


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlant]:
    """A plant that all tests of this file read."""
    served = ServedPlant(tmp_path_factory.mktemp("plant"))
    yield served
    served.program.end()


def test_check_online_looks_at_all_that_the_settings_lead_to(
    tmp_path: Path, plant: ServedPlant, mosquitto: Mosquitto
) -> None:
    """Broker, outbox and every machine, in a table for a person; nothing is made by looking."""
    write_edge(tmp_path, f"port: {mosquitto.port}", plant.pump(), plant.motor())
    told = run_command(tmp_path, "edge", "check", "edge.yaml", "--online")
    assert told.returncode == 0, told.stdout + told.stderr
    for words in (
        "gateway pi-01, namespace forewarn",
        "the settings are right",
        f"127.0.0.1:{mosquitto.port} takes our connection",
        "1 tag read",
        "all is well",
    ):
        assert words in told.stdout
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("outbox")] == []


def test_check_as_json_says_the_same_to_a_program(tmp_path: Path, plant: ServedPlant, free_port: int) -> None:
    """One object: settings, findings, ok; a mistake in the settings is one too, with exit 3."""
    write_edge(tmp_path, f"port: {free_port}", plant.motor())
    told = run_command(tmp_path, "edge", "check", "edge.yaml", "--online", "--json")
    assert told.returncode == 1
    found = json.loads(told.stdout)
    assert found["ok"] is False
    assert found["machines"] == [{"path": MOTOR, "kind": "modbus", "tags": 1, "interval_s": 0.1}]
    by_what = {one["what"]: one for one in found["findings"]}
    assert by_what["broker"]["verdict"] == "fail"
    assert "refused the connection" in by_what["broker"]["words"]
    assert by_what[MOTOR]["verdict"] == "ok"
    (tmp_path / "bad.yaml").write_text("gateway: Pi 01\n")
    told = run_command(tmp_path, "edge", "check", "bad.yaml", "--json")
    assert told.returncode == 3
    mistakes = json.loads(told.stdout)
    assert mistakes["ok"] is False
    assert [line.split(" ")[1] for line in mistakes["mistakes"]] == ["gateway:", "machines:"]


def test_read_shows_value_unit_quality_and_age(tmp_path: Path, plant: ServedPlant, free_port: int) -> None:
    """A table; the machine by the end of its path; neither broker nor outbox is needed."""
    write_edge(tmp_path, f"port: {free_port}", plant.pump(), plant.motor().replace("32}", "32, unit: rpm}"))
    told = run_command(tmp_path, "edge", "read", "edge.yaml", "--machine", "motor-3")
    assert told.returncode == 0, told.stdout + told.stderr
    head, row = told.stdout.splitlines()
    assert head.split() == ["machine", "tag", "value", "unit", "quality", "age"]
    machine, tag, value, unit, quality, age, second = row.split()
    assert (machine, tag, unit, quality, second) == (MOTOR, "speed", "rpm", "Good", "s")
    assert float(value) > 0
    assert 0 <= float(age) < 10


def test_read_goes_on_watching_through_a_loss(tmp_path: Path, free_port: int) -> None:
    """Line after line; a machine that goes away keeps its last value, marked; Ctrl-C ends it with 0."""
    served = ServedPlant(tmp_path)
    write_edge(tmp_path, f"port: {free_port}", served.pump(), served.motor())
    watching = Command(tmp_path, "watch", "edge", "read", "edge.yaml", "--watch", "--every", "0.3", "--json")

    def has(machine: str, quality: str) -> bool:
        return any(
            line["machine"] == machine and line["quality"] == quality for line in watching.read_json_lines()
        )

    try:
        wait_until(lambda: has(MOTOR, "Good") and has(PUMP, "Good"), "both are read", 40)
        served.program.kill()
        wait_until(
            lambda: has(MOTOR, "BadNoCommunication") and has(PUMP, "BadNoCommunication"), "the loss shows", 40
        )
    finally:
        served.program.end()
        watching._running.send_signal(signal.SIGINT)
        assert watching.wait() == 0, watching.log.read_text()
    lost = [line for line in watching.read_json_lines() if line["quality"] == "BadNoCommunication"]
    assert all(line["value"] is not None and line["reason"] for line in lost)
    assert "Traceback" not in watching.log.read_text()


def test_the_outbox_is_shown_to_persons_and_programs(tmp_path: Path, plant: ServedPlant) -> None:
    """What waits, of which machine, how much room; what is set aside can be looked into the same way."""
    write_edge(tmp_path, "port: 1", plant.motor())
    outbox = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**9)
    outbox.open()
    outbox.put([(MachinePath.parse(MOTOR), [Frame([1, 2], {"speed": [1.0, 2.0]})])], time.time_ns())
    outbox.close()
    told = run_command(tmp_path, "edge", "outbox", "show", "edge.yaml")
    assert "waiting for their receipt: 2 values" in told.stdout
    shown = json.loads(run_command(tmp_path, "edge", "outbox", "show", "edge.yaml", "--json").stdout)
    assert (shown["gateway"], shown["waiting_values"], shown["held_values"]) == ("pi-01", 2, 0)
    assert [(one["machine"], one["batches"], one["values"]) for one in shown["machines"]] == [(MOTOR, 1, 2)]
    (tmp_path / "outbox.sqlite").rename(tmp_path / "outbox.sqlite.bad-1")
    rescue = ("edge", "outbox", "rescue", "outbox.sqlite.bad-1", "--config", "edge.yaml", "--json")
    looked = json.loads(run_command(tmp_path, *rescue).stdout)
    assert (looked["found"]["values"], looked["written"], looked["values"]) == (2, False, 0)
    written = json.loads(run_command(tmp_path, *rescue, "--write").stdout)
    assert (written["written"], written["batches"], written["values"]) == (True, 1, 2)


def test_trust_and_import_answer_programs_too(tmp_path: Path, plant: ServedPlant) -> None:
    """What waits for trust and what was trusted; what an import would change and what it changed."""
    rejected = tmp_path / "pki" / "rejected"
    rejected.mkdir(parents=True)
    make_authority(rejected, "press", days="9")
    openssl(rejected, *["x509", "-in", "press.crt", "-outform", "DER", "-out", "press.der"])
    trust = ("edge", "trust", "--pki", "pki", "--json")
    waiting = json.loads(run_command(tmp_path, *trust).stdout.splitlines()[0])
    assert (waiting["name"], waiting["subject"], waiting["trusted"]) == ("press", "CN=press", False)
    assert len(waiting["sha256"]) == 95
    trusted = json.loads(run_command(tmp_path, *trust, "press").stdout)
    assert trusted == waiting | {"trusted": True}
    write_edge(tmp_path, "port: 1", plant.motor())
    (tmp_path / "tags.csv").write_text(
        f"use,machine,tag,node_id,url,security\nyes,{PUMP},flow,nsu=urn:x;s=flow,opc.tcp://h:4840,none\n"
    )
    imported = ("edge", "import", "tags.csv", "--config", "edge.yaml", "--json")
    planned = json.loads(run_command(tmp_path, *imported).stdout)
    assert planned["written"] is False
    assert f"+  - path: {PUMP}" in planned["difference"]
    assert json.loads(run_command(tmp_path, *imported, "--write").stdout) == planned | {"written": True}
    assert json.loads(run_command(tmp_path, *imported).stdout)["difference"] == ""


def test_without_a_file_the_first_step_is_said(tmp_path: Path) -> None:
    """No file, an empty one, a folder, a slip of the pen: each with what to do."""
    example = "begin with a copy of the commented example (cp "
    told = run_command(tmp_path, "edge", "run")
    assert told.returncode == 3
    assert told.stderr.startswith(
        "which settings? There is no edge.yaml in this folder: say --config FILE, or "
    )
    assert example in told.stderr
    (tmp_path / "edge.yaml").touch()
    told = run_command(tmp_path, "edge", "run")
    assert told.stderr.startswith(f"edge.yaml: is empty: {example}")
    told = run_command(tmp_path, "edge", "run", "--config", "egde.yaml")
    assert told.stderr == "egde.yaml: there is no such file: did you mean edge.yaml?\n"
    told = run_command(tmp_path, "edge", "check", ".")
    assert told.stderr == ".: is a folder: name the settings file in it (there: edge.yaml)\n"
    assert told.returncode == 3
