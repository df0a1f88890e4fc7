"""The health of a running gateway: over HTTP, to systemd, in its status."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.poller import MachineSource, Poller
from edge.polling.progress import Progress
from edge.vitals import server as health_server
from models.link import BrokerSettings
from tests.integration.edge_rig import (
    PATH,
    CountingDriver,
    DeadDriver,
    StandInCloud,
    make_settings,
    running,
    until,
)
from tests.servers import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]


async def fetch(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask the gateway over HTTP; return status and body."""

    def ask() -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def test_a_gateway_tells_its_health_over_http(
    tmp_path: Path, mosquitto: Mosquitto, free_port: int
) -> None:
    """Metrics count what was read; a dead machine is named, and is no reason to restart."""
    settings = make_settings(tmp_path, mosquitto.settings, health={"port": free_port})
    driver = CountingDriver()
    with capture_logs() as said:
        async with running(settings, driver, DeadDriver()):
            await until(lambda: driver.count > 20, "values were read")
            await until(lambda: any(line["event"] == "broker_connected" for line in said), "connected")
            await until(lambda: any(line["event"] == "link_lost" for line in said), "the other is dead")
            status, text = await fetch(free_port, "/metrics")
            assert status == 200
            found = {
                (sample.name, sample.labels.get("machine")): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
            status, body = await fetch(free_port, "/healthz?verbose=1")
            missing, _ = await fetch(free_port, "/secrets")
            refused, _ = await fetch(free_port, "/metrics", "POST")
            head, nothing = await fetch(free_port, "/metrics", "HEAD")
    alive, dead = str(PATH).replace("pump-7", "pump-1"), str(PATH).replace("pump-7", "pump-2")
    assert found["forewarn_machine_reads_total", alive] >= 20
    assert found["forewarn_machine_connected", dead] == 0
    assert found["forewarn_machine_losses_total", dead] >= 1
    assert found["forewarn_broker_connected", None] == 1
    assert found["forewarn_outbox_values_total", None] > 0
    assert status == 200
    assert json.loads(body)["ok"] is True
    assert any(dead in problem and "refused" in problem for problem in json.loads(body)["problems"])
    assert (missing, refused, head, nothing) == (404, 405, 200, "")
    with pytest.raises(urllib.error.URLError):
        await fetch(free_port, "/healthz")


async def test_a_taken_port_is_a_warning(tmp_path: Path, free_port: int) -> None:
    """Somebody else listens there: the gateway reads on, and says once what to do."""
    settings = make_settings(tmp_path, BrokerSettings(port=1), health={"port": free_port})
    driver = CountingDriver()
    with socket.create_server(("127.0.0.1", free_port)), capture_logs() as said:
        async with running(settings, driver):
            await until(lambda: driver.count > 5, "values were read all the same")
    (warning,) = [line for line in said if line["event"] == "health_not_served"]
    assert warning["address"] == f"127.0.0.1:{free_port}"
    assert "port: null" in warning["mend"]


async def test_whoever_asks_without_end_hinders_nobody(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a request, a request too long, no HTTP at all: each is cut off, and the next one is answered."""
    monkeypatch.setattr(health_server, "TIMEOUT_S", 0.3)
    settings = make_settings(tmp_path, BrokerSettings(port=1), health={"port": free_port})
    async with running(settings, CountingDriver()):
        await until(lambda: _answers(free_port), "it listens")
        idle = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(40)]
        for _, writer in idle:
            writer.write(b"GET /metrics HT")
        reader, long = await asyncio.open_connection("127.0.0.1", free_port)
        long.write(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            assert [await _read_all(answers) for answers, _ in idle] == [b""] * len(idle)
            assert await _read_all(reader) == b""
        reader, rude = await asyncio.open_connection("127.0.0.1", free_port)
        rude.write(b"\x16\x03\x01\x00\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert (await fetch(free_port, "/healthz"))[0] == 200
        for writer in [*(writer for _, writer in idle), long, rude]:
            writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what came until the end; a connection cut off with words still unread ends in a reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_the_status_says_how_long_there_is_room(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Counters, the outbox's size and its time to full travel with the status."""
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    async with running(make_settings(tmp_path, mosquitto.settings), CountingDriver()):
        await until(lambda: any(status.room_s for status in cloud.statuses), "the pace is known")
    cloud.stop()
    status = next(status for status in cloud.statuses if status.room_s)
    assert status.waiting_bytes_max == 1_000_000_000
    assert (status.room_s or 0) > 3_600
    assert status.counters["values"] >= status.counters["reads"] > 0


async def test_a_poller_says_when_it_will_have_turned() -> None:
    """By polling it promises to come again; a subscription may wait for its news as long as it takes."""
    for interval_s, overdue in ((0.01, [str(PATH)]), (None, [])):
        progress, driver = Progress(), CountingDriver(interval_s)
        poller = Poller(MachineSource(PATH, driver), Collector(), MachineStates(), progress)
        task = asyncio.create_task(poller.run())
        await until(lambda driver=driver: driver.count > 2, "it was read")  # type: ignore[misc]  # bound now
        now_s = asyncio.get_running_loop().time()
        assert progress.list_overdue(now_s) == []
        assert progress.list_overdue(now_s + 600) == overdue
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from edge.vitals import health
from edge.polling import poller
from edge.agent import Agent, run_until_signal
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver, make_settings
health.WATCH_S = 0.05
class Hanging(CountingDriver):
    async def read(self):
        if self.count >= 100:
            time.sleep(3600)  # the loop stands still: nothing of the program can notice, only a watchdog
        return await super().read()
settings = make_settings(Path(sys.argv[1]), BrokerSettings(port=int(sys.argv[2])))
driver = (Hanging if sys.argv[3] == "hang" else CountingDriver)(0.005)
asyncio.run(run_until_signal(Agent(settings, [MachineSource(PATH, driver)])))
"""


class Systemd:
    """Stands in for systemd: hears what the program says."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def hear(self, wait_s: float = 20.0) -> str:
        """Return the next notice; raise `TimeoutError` when there is none in time."""
        self._socket.settimeout(wait_s)
        return self._socket.recv(4_096).decode()

    def hear_until(self, notice: str) -> list[str]:
        """Return the notices up to the one that begins so."""
        heard = [self.hear()]
        while not heard[-1].startswith(notice):
            heard.append(self.hear())
        return heard

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def start_edge(folder: Path, port: int, systemd: Systemd, mode: str) -> "subprocess.Popen[bytes]":
    """Start an agent as systemd would."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(port), mode],
        cwd=ROOT,
        env={"PATH": "", "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "60000000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_systemd_hears_from_the_start_to_the_end(tmp_path: Path, free_port: int) -> None:
    """Ready once, then alive and a status line again and again, and stopping at the end."""
    systemd = Systemd(tmp_path)
    edge = start_edge(tmp_path, free_port, systemd, "well")
    assert systemd.hear() == "READY=1"
    assert systemd.hear() == "WATCHDOG=1"
    line = systemd.hear_until("STATUS=1 of 1 machines connected; no broker;")[-1]
    assert "values wait" in line
    systemd.hear_until("WATCHDOG=1")
    edge.send_signal(signal.SIGTERM)
    systemd.hear_until("STOPPING=1")
    said, _ = edge.communicate(timeout=20)
    systemd.close()
    assert edge.returncode == 0, said.decode()


def test_a_hanging_program_is_heard_no_more(tmp_path: Path, free_port: int) -> None:
    """The watchdog is not fed by a thread of its own: when the work stands still, so does the feeding."""
    systemd = Systemd(tmp_path)
    edge = start_edge(tmp_path, free_port, systemd, "hang")
    systemd.hear_until("WATCHDOG=1")

    def is_silent() -> bool:
        try:
            systemd.hear(1.0)
        except TimeoutError:
            return True
        return False

    wait_until(is_silent, "no more feeding")
    edge.kill()
    edge.communicate()
    systemd.close()
