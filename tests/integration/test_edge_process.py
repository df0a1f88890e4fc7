"""The edge agent as a program of its own: killed, stopped, and asked by its commands."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge.outbox.outbox import Outbox
from models.telemetry import Frame
from tests.integration.edge_rig import PATH, StandInCloud, look_into, make_settings
from tests.servers import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from edge.agent import Agent, run_until_signal
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver, make_settings
driver = CountingDriver(0.005)
driver.count = int(sys.argv[3])
settings = make_settings(Path(sys.argv[1]), BrokerSettings(port=int(sys.argv[2])))
asyncio.run(run_until_signal(Agent(settings, [MachineSource(PATH, driver)])))
"""


def start_edge(folder: Path, port: int, count_from: int) -> "subprocess.Popen[bytes]":
    """Start an agent whose machine counts up from a number."""
    arguments = [sys.executable, "-c", PROGRAM, str(folder), str(port), str(count_from)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_killed_agent_goes_on_where_it_was(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """After kill -9 the same epoch continues, no sequence means two things, nothing committed is missing."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    for start in (0, 1_000_000):
        edge = start_edge(tmp_path, mosquitto.port, start)
        wait_until(lambda start=start: max(cloud.counts, default=0) > start + 100, "values arrived")
        edge.kill()
        edge.communicate()
    edge = start_edge(tmp_path, mosquitto.port, 2_000_000)
    wait_until(lambda: max(cloud.counts) > 2_000_100, "values arrived")
    edge.send_signal(signal.SIGTERM)
    said, _ = edge.communicate(timeout=20)
    assert edge.returncode == 0, said.decode()
    cloud.stop()
    assert len({batch.epoch for batch in cloud.batches}) == 1
    meaning = {batch.sequence: batch.frames for batch in cloud.batches}
    assert all(meaning[batch.sequence] == batch.frames for batch in cloud.batches)
    totals = look_into(make_settings(tmp_path, mosquitto.settings))
    assert sorted(meaning) == list(range(1, totals.sequence_last + 1))
    assert totals.values_total == len(set(cloud.counts))
    assert totals.waiting == []


def test_a_killed_agent_leaves_its_will(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The broker says offline for a gateway that vanished."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    edge = start_edge(tmp_path, mosquitto.port, 0)
    wait_until(lambda: any(status.state == "online" for status in cloud.statuses), "it came")
    edge.kill()
    edge.communicate()
    wait_until(lambda: cloud.statuses[-1].state == "offline", "the will")
    cloud.stop()
    assert (cloud.statuses[-1].gateway, cloud.statuses[-1].epoch) == ("pi-01", "")


def test_an_agent_without_a_broker_ends_in_order(tmp_path: Path, free_port: int) -> None:
    """Nobody to deliver to: Ctrl-C still ends it at once with 0, and what was read is kept."""
    edge = start_edge(tmp_path, free_port, 0)
    wait_until(lambda: _count_batches(tmp_path / "outbox.sqlite") > 2, "it keeps values")
    edge.send_signal(signal.SIGINT)
    said, _ = edge.communicate(timeout=10)
    assert edge.returncode == 0
    words = said.decode()
    assert words.count("broker_lost") == 1
    assert "refused the connection: is a broker running there" in words
    assert "keeping values in the outbox" in words
    assert "Traceback" not in words


def _count_batches(path: Path) -> int:
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM batches").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:  # not there yet
        return 0


def forewarn(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line."""
    command = [sys.executable, "-c", "from forewarn.cli import main; main()", "edge", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Path:
    """Settings of a gateway whose one machine is switched off."""
    file = tmp_path / "edge.yaml"
    file.write_text(
        textwrap.dedent(f"""\
            gateway: pi-01
            machines:
              - path: {PATH}
                kind: modbus
                host: 127.0.0.1
                port: {free_port}
                tags:
                  - {{name: current, table: holding, address: 0, type: float32, unit: A}}
            """)
    )
    return file


def test_check_shows_what_would_run_or_every_mistake(config: Path) -> None:
    """Right settings: a summary, exit 0. Wrong ones: all mistakes with their lines, exit 3."""
    right = forewarn("check", str(config))
    assert right.returncode == 0
    assert "1 machine, 1 tag:" in right.stdout
    config.write_text(
        config.read_text().replace("kind: modbus", "kind: modbuss").replace("gateway", "gatway")
    )
    wrong = forewarn("check", str(config))
    assert wrong.returncode == 3
    assert f"{config}:1:1 gatway: unknown key. Did you mean gateway?" in wrong.stderr
    assert "Did you mean modbus?" in wrong.stderr


def test_read_says_why_a_machine_cannot_be_read(config: Path) -> None:
    """A machine that is off: its tags with their quality, the reason with the mend, exit 1."""
    shown = forewarn("read", str(config))
    assert shown.returncode == 1
    assert "BadNoCommunication" in shown.stdout
    assert "refuses the connection" in shown.stdout
    unknown = forewarn("read", str(config), "--machine", "riverside/hall-1/water/pump-8")
    assert unknown.returncode == 3
    assert f"Did you mean {PATH}?" in unknown.stderr


def test_outbox_show_tells_what_waits(config: Path, mosquitto: Mosquitto) -> None:
    """Beside a missing outbox it says so; beside one it names batches, values and machines."""
    missing = forewarn("outbox", "show", str(config))
    assert missing.returncode == 1
    assert "there is no outbox yet" in missing.stderr
    edge = start_edge(config.parent, mosquitto.port, 0)
    wait_until(lambda: _count_batches(config.parent / "outbox.sqlite") > 2, "it keeps values")
    shown = forewarn("outbox", "show", str(config))
    edge.kill()
    edge.communicate()
    assert shown.returncode == 0, shown.stderr
    assert "gateway pi-01" in shown.stdout
    assert str(PATH) in shown.stdout


def test_outbox_rescue_shows_and_then_does(config: Path) -> None:
    """Without --write nothing changes; with it the values of the damaged file wait in the outbox again."""
    path = config.parent / "outbox.sqlite"
    outbox = Outbox(path, "pi-01", 10**8)
    outbox.open()
    for number in range(20):
        outbox.put([(PATH, [Frame([number + 1], {"current": [number / 7]})])], 1)
    outbox.close()
    with path.open("r+b") as file:
        file.write(b"?" * 100)
    aside = path.rename(path.with_name("outbox.sqlite.bad-20261123T040000Z"))
    shown = forewarn("outbox", "rescue", str(aside), "--config", str(config))
    assert shown.returncode == 0, shown.stderr
    assert "readable: 20 batches, 20 values of 1 machine" in shown.stdout
    assert "nothing was changed" in shown.stdout
    assert not path.exists()
    done = forewarn("outbox", "rescue", str(aside), "--config", str(config), "--write")
    assert done.returncode == 0, done.stderr
    assert "20 values wait in" in done.stdout
    assert "20 values" in forewarn("outbox", "show", str(config)).stdout
    nothing = forewarn("outbox", "rescue", str(path) + ".bad-1", "--config", str(config))
    assert nothing.returncode == 1
    assert "there is no such file" in nothing.stderr
