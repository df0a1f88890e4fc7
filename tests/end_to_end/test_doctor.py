"""`forewarn doctor` on real settings, machines, brokers and servers: what is well, what is ill, the mend."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.mistakes_rig import MOTOR, PUMP, ServedPlant, swap_in, write_cloud, write_edge
from tests.end_to_end.programs_rig import run_command
from tests.integration.mail_rig import MailServer
from tests.servers import Mosquitto

SYNCHRONISED = "from edge.polling import clock\nclock.is_clock_synchronised = lambda: True\n"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlant]:
    """A plant that all tests of this file read."""
    served = ServedPlant(tmp_path_factory.mktemp("plant"))
    yield served
    served.program.end()


def read_table(told: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Return what the doctor printed, as subject -> (verdict, words)."""
    rows: dict[str, tuple[str, str]] = {}
    for line in told.stdout.splitlines()[:-1]:
        verdict, _, rest = line.partition(" ")
        what, _, words = rest.strip().partition("  ")
        rows[what] = (verdict, words.strip())
    return rows


def test_a_well_edge_is_said_to_be_well(
    tmp_path: Path, plant: ServedPlant, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check is ok, also those of the computer; exit 0, and nothing is written."""
    swap_in(tmp_path, monkeypatch, SYNCHRONISED)
    write_edge(tmp_path, f"port: {mosquitto.port}", plant.pump(), plant.motor())
    before = {file.name for file in tmp_path.iterdir()}
    told = run_command(tmp_path, "doctor", "--config", "edge.yaml")
    rows = read_table(told)
    assert told.returncode == 0
    assert rows["clock"] == ("ok", "synchronised")
    assert rows["broker"] == ("ok", f"127.0.0.1:{mosquitto.port} takes our connection")
    assert rows[PUMP] == ("ok", "1 tag read")
    assert rows[MOTOR] == ("ok", "1 tag read")
    assert {verdict for verdict, _ in rows.values()} == {"ok"}
    assert told.stdout.endswith("\nall is well\n")
    assert {file.name for file in tmp_path.iterdir()} == before


def test_an_ill_edge_is_told_what_to_mend(
    tmp_path: Path, plant: ServedPlant, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent broker fails, a machine with a bad tag and a wrong clock are to be looked at; exit 1."""
    swap_in(tmp_path, monkeypatch, SYNCHRONISED.replace("True", "False"))
    silent = plant.motor().replace(str(plant.modbus_port), str(free_port))
    write_edge(tmp_path, f"port: {free_port}", plant.pump("pump-7.sped"), silent)
    told = run_command(tmp_path, "doctor", "--config", "edge.yaml")
    rows = read_table(told)
    assert told.returncode == 1
    assert rows["broker"][0] == "fail"
    assert rows["broker"][1].endswith("is a broker running there, and is the port right?")
    assert rows["clock"][0] == "warn"
    assert "start a time service on this gateway" in rows["clock"][1]
    assert rows[PUMP] == (
        "warn",
        "1 of 1 tags bad (speed the server has no such node; did you mean "
        "nsu=urn:forewarn:plant;s=pump-7.speed?): forewarn edge read says why",
    )
    assert rows[MOTOR][0] == "fail"
    assert f"127.0.0.1:{free_port}" in rows[MOTOR][1]
    assert told.stdout.endswith("\n2 failed, 2 to look at\n")


def test_a_well_cloud_is_said_to_be_well(
    tmp_path: Path, mosquitto: Mosquitto, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broker, records, store, mail server and the console's port are looked at; nothing is made or sent."""
    swap_in(tmp_path, monkeypatch, SYNCHRONISED)
    server = MailServer(free_port)
    server.start()
    write_cloud(tmp_path, f"port: {mosquitto.port}", mail_to(free_port), "console: {port: 0}")
    before = {file.name for file in tmp_path.iterdir()}
    told = run_command(tmp_path, "doctor", "--config", "cloud.yaml")
    server.stop()
    rows = read_table(told)
    assert told.returncode == 0, told.stdout
    assert rows["records"] == ("ok", f"{tmp_path / 'records.sqlite'} will be made")
    assert rows["store"][0] == "ok"
    assert rows["store"][1].startswith("answers, 0 machines (embedded store")
    assert rows[f"mail server 127.0.0.1:{free_port}"] == ("ok", "answers")
    assert {"broker", "console"} <= rows.keys()
    assert {verdict for verdict, _ in rows.values()} == {"ok"}
    assert server.taken == []
    assert {file.name for file in tmp_path.iterdir()} == before


def test_an_ill_cloud_is_told_what_to_mend_and_no_secret(
    tmp_path: Path, plant: ServedPlant, free_port: int
) -> None:
    """Each part fails for itself with its mend; a secret that is there is not shown."""
    (tmp_path / "token").write_text("hush-hush\n")
    store = f"kind: influxdb, url: http://127.0.0.1:{free_port}, org: o, bucket: b, token: {{file: token}}"
    console = f"console: {{port: {plant.opcua_port}}}"
    write_cloud(tmp_path, f"port: {free_port}", mail_to(free_port), console, store=store)
    told = run_command(tmp_path, "doctor", "--config", "cloud.yaml")
    rows = read_table(told)
    assert told.returncode == 1
    assert rows["broker"][0] == "fail"
    assert rows["store"][0] == "fail"
    assert rows["store"][1].startswith(f"InfluxDB at http://127.0.0.1:{free_port} cannot be reached (")
    assert rows["store"][1].endswith("): is it running, and is store.url right?")
    assert rows[f"mail server 127.0.0.1:{free_port}"] == (
        "fail",
        "cannot be reached ([Errno 111] Connection refused): check host, port and the firewall",
    )
    assert rows["console"] == (
        "warn",
        f"127.0.0.1:{plant.opcua_port}: Address already in use: either forewarn cloud runs already, "
        "or set console.port",
    )
    assert "hush" not in told.stdout + told.stderr


def mail_to(port: int) -> str:
    """Return the line of cloud.yaml with one mail server."""
    return (
        f"notifiers: [{{kind: email, host: 127.0.0.1, port: {port}, starttls: none, "
        "sender: forewarn@plant.example, recipients: [crew@plant.example]}]"
    )


def test_mistakes_in_the_file_are_those_of_its_own_side(tmp_path: Path) -> None:
    """A file with one wrong key is answered with that key, not with what the other side would miss."""
    write_cloud(tmp_path, "port: 1", "consol: {port: 0}")
    told = run_command(tmp_path, "doctor", "--config", "cloud.yaml")
    assert told.returncode == 1
    assert read_table(told)["settings"] == (
        "fail",
        "cloud.yaml:4:1 consol: unknown key. Did you mean console?",
    )


def test_without_a_file_the_computer_alone_is_looked_at(tmp_path: Path) -> None:
    """Python, libraries, broker program, clock and disk."""
    told = run_command(tmp_path, "doctor")
    assert told.returncode == 0
    assert list(read_table(told)) == [
        *("python", "edge libraries", "cloud libraries", "broker program", "clock", "disk")
    ]
