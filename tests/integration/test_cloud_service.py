"""The cloud service as a user runs it: ready, killed, redelivered, verified, ended cleanly."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.stores.embedded import EmbeddedStoreSettings
from models.telemetry import encode_batch
from tests.integration.ingest_rig import PUMP, START_NS, Gateway, make_batch
from tests.servers import Mosquitto, find_free_port, wait_until

FOREWARN = [sys.executable, "-c", "from forewarn.cli import main; main()"]


class CloudService:
    """`forewarn cloud run` in a process of its own."""

    def __init__(self, mosquitto: Mosquitto, folder: Path) -> None:
        self.port = find_free_port()
        self.folder = folder
        self.config = folder / "cloud.yaml"
        self.config.write_text(
            f"broker: {{port: {mosquitto.port}}}\n"
            "records: {path: records.sqlite}\n"
            "store: {kind: embedded, path: store.sqlite}\n"
            f"console: {{port: {self.port}}}\n"
        )
        self.log = folder / "cloud.log"
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says where its console is."""
        with self.log.open("wb") as log:
            self.running = subprocess.Popen(
                [*FOREWARN, "cloud", "run", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: f"console at http://127.0.0.1:{self.port}" in self.log.read_text(), "ready", 40)
        wait_until(self.is_healthy, "all parts are well", 20)

    def is_healthy(self) -> bool:
        """Return whether `/healthz` says that every part is well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(json.load(answer)["ok"])
        except OSError:
            return False

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        assert self.running is not None
        self.running.send_signal(how)
        return self.running.wait(15)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `forewarn cloud` command beside it."""
        command = [*FOREWARN, "cloud", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def service(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[CloudService]:
    """A running cloud service."""
    service = CloudService(mosquitto, tmp_path)
    service.start()
    yield service
    if service.running is not None and service.running.poll() is None:
        service.running.kill()
        service.running.wait(10)


def test_a_killed_service_loses_nothing_and_verify_proves_it(
    service: CloudService, mosquitto: Mosquitto
) -> None:
    """Batches sent while the service is dead are stored after its restart; `verify` counts every one."""
    gateway = Gateway(mosquitto.settings)
    for sequence in range(1, 101):
        gateway.send(sequence)
    service.end(signal.SIGKILL)
    for sequence in range(101, 201):
        gateway.send(sequence)
    service.start()

    def receipted() -> bool:
        for sequence in range(1, 201):  # what a gateway does with what is not receipted
            if sequence not in gateway.stored:
                gateway.send(sequence)
        return gateway.stored.total == 200

    wait_until(receipted, "every batch is receipted", 30)
    gateway.say_status(sequence_last=200, values_total=200)
    wait_until(
        lambda: '"reported":true' in service.call("verify", "--json").stdout, "the status is there", 30
    )
    proof = service.call("verify")
    assert proof.returncode == 0, proof.stdout
    assert proof.stdout.rstrip().endswith("nothing is missing")
    (account,) = json.loads(service.call("verify", "--json").stdout)["gateways"]
    assert (account["values_produced"], account["values_stored"], account["values_missing"]) == (200, 200, 0)
    reader = EmbeddedStoreSettings(kind="embedded", path=service.folder / "store.sqlite").build_reader()
    table = reader.read("telemetry", PUMP, START_NS, START_NS + 10**12)
    column = table.values["bearing_temperature"]
    assert list(column[::2]) == [60.0 + sequence for sequence in range(1, 201)]
    reader.close()
    gateway.link.stop()


def test_verify_exits_1_and_names_what_is_missing(service: CloudService, mosquitto: Mosquitto) -> None:
    """A batch that the gateway let go of and nobody has makes the proof fail."""
    gateway = Gateway(mosquitto.settings)
    for sequence in (1, 2, 5):
        gateway.send(sequence)
    gateway.wait_stored(3)
    gateway.say_status(sequence_last=5, values_total=5)
    wait_until(lambda: service.call("verify").returncode == 1, "the loss is seen", 30)
    proof = service.call("verify")
    assert "pi-01 (epoch 9f2c): batches 3 to 4 were let go by the gateway and are not here" in proof.stdout
    assert service.call("verify", "--gateway", "other").returncode == 0
    gateway.link.stop()


def test_dead_letters_are_listed_shown_and_replayed(service: CloudService, mosquitto: Mosquitto) -> None:
    """A letter that is still bad stays with its reason; its payload is shown escaped."""
    gateway = Gateway(mosquitto.settings)
    gateway.publish(b"\x1b[31m" + encode_batch(make_batch(1)))
    wait_until(lambda: "JSON is malformed" in service.call("dead-letters", "list").stdout, "listed", 30)
    shown = service.call("dead-letters", "show", "1").stdout
    assert "\\x1b[31m{" in shown
    assert "\x1b" not in shown
    replayed = service.call("dead-letters", "replay", "--all")
    assert replayed.returncode == 1
    assert "1  still bad: JSON is malformed" in replayed.stdout
    unknown = service.call("dead-letters", "show", "7")
    assert unknown.returncode == 1
    assert "there is no dead letter 7" in unknown.stderr
    gateway.link.stop()


def test_it_ends_cleanly_and_stays_small(service: CloudService) -> None:
    """On SIGTERM everything ends within seconds with exit 0; before that it took less than 170 MB."""
    assert service.running is not None
    peak = Path(f"/proc/{service.running.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(peak) < 170_000
    maps = Path(f"/proc/{service.running.pid}/maps").read_text()
    assert "sklearn" not in maps
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log.read_text()


def test_a_busy_port_is_an_error_at_the_start(service: CloudService) -> None:
    """A second service on the same port is told which setting to change."""
    second = service.call("run")
    assert second.returncode == 3
    assert f"cannot listen on 127.0.0.1:{service.port}" in second.stderr
