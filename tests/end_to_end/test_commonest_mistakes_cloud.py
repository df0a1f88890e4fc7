"""The commonest mistakes around the cloud service: what the real commands say about each."""

import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.machines import CardBox
from cloud.notifiers.outbox import Address
from cloud.records import open_records
from cloud.watch.observations import Contribution, Observation
from models.telemetry import MachinePath
from tests.end_to_end.mistakes_rig import PUMP, ServedPlant, find_events, read_log, write_cloud, write_edge
from tests.end_to_end.programs_rig import Command, run_command
from tests.integration.mail_rig import MailServer
from tests.servers import Mosquitto, wait_until

ROLES = "roles: [ingest, watch]"
KEPT = "in the outboxes of the gateways, whose logs say for how long there is room"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlant]:
    """A plant that all tests of this file read."""
    served = ServedPlant(tmp_path_factory.mktemp("plant"))
    yield served
    served.program.end()


def test_a_refusing_broker_is_said_once(tmp_path: Path, free_port: int) -> None:
    """`cloud run` says why, the mend, and where the values are meanwhile; it tries again without a word."""
    write_cloud(tmp_path, f"port: {free_port}", ROLES)
    cloud = Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml")
    cloud.wait_for_line("link_lost")
    with pytest.raises(subprocess.TimeoutExpired):  # it goes on, and has tried again by then
        cloud.wait(4)
    assert cloud.end() == 0
    (lost,) = find_events(cloud, "link_lost")
    assert lost["reason"] == (
        f"the broker at 127.0.0.1:{free_port} refused the connection: "
        "is a broker running there, and is the port right?"
    )
    assert lost["kept"] == KEPT


def test_a_certificate_for_another_name_is_answered_with_the_setting(
    tmp_path: Path, plant: ServedPlant
) -> None:
    """Edge and cloud each say once which name was expected and which setting mends it."""
    broker = start_tls_broker(tmp_path, "broker.plant")
    link = f"port: {broker.port}, tls: {{ca_file: broker.crt}}"
    write_edge(tmp_path, link, plant.motor())
    write_cloud(tmp_path, link, ROLES)
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    cloud = Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml")
    edge.wait_for_line("outbox_fills")
    cloud.wait_for_line("link_lost")
    assert (edge.end(), cloud.end()) == (0, 0)
    broker.stop()
    words = (
        f"the broker at 127.0.0.1:{broker.port} shows a certificate that is not for '127.0.0.1' or not "
        "trusted (IP address mismatch, certificate is not valid for '127.0.0.1'.): check tls.ca_file, and "
        "set tls.server_name to a name in the certificate"
    )
    assert [line["reason"] for line in find_events(edge, "broker_lost")] == [words]
    assert [line["reason"] for line in find_events(cloud, "link_lost")] == [words]


def test_a_certificate_that_is_not_there_ends_the_start(tmp_path: Path, plant: ServedPlant) -> None:
    """Edge and cloud name the setting and the file, and leave with 3."""
    link = "port: 1, tls: {ca_file: absent.crt}"
    write_edge(tmp_path, link, plant.motor())
    write_cloud(tmp_path, link, ROLES)
    for side in ("edge", "cloud"):
        told = run_command(tmp_path, side, "run", "--config", f"{side}.yaml")
        assert told.returncode == 3
        assert told.stderr == f"broker.tls.ca_file: there is no file {tmp_path / 'absent.crt'}\n"


def start_tls_broker(folder: Path, name: str) -> Mosquitto:
    """Return a running broker whose certificate, its own authority, is for `name`."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", "broker.key", "-out", "broker.crt"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    lines = [f"{word} {folder}/broker.{end}" for word, end in (("certfile", "crt"), ("keyfile", "key"))]
    broker = Mosquitto(folder, *lines)
    broker.start()
    return broker


class RefusingStore(BaseHTTPRequestHandler):
    """Answers as InfluxDB does to a token it does not know."""

    requests = 0

    def do_POST(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).requests += 1
        body = b'{"code":"unauthorized","message":"unauthorized access"}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815  # the name that http.server calls

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing_store() -> Iterator[str]:
    """The URL of a server that accepts no token."""
    RefusingStore.requests = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingStore)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_refused_token_is_said_once_and_nothing_is_lost(
    tmp_path: Path, plant: ServedPlant, mosquitto: Mosquitto, refusing_store: str
) -> None:
    """`cloud run` names the setting and the right the token needs, once, keeps what it has, and goes on."""
    (tmp_path / "token").write_text("stale\n")
    store = f"kind: influxdb, url: {refusing_store}, org: plant, bucket: forewarn, token: {{file: token}}"
    write_cloud(tmp_path, f"port: {mosquitto.port}", ROLES, store=store)
    write_edge(tmp_path, f"port: {mosquitto.port}", plant.motor())
    cloud = Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml")
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    cloud.wait_for_line("store_needs_mending")
    tried = RefusingStore.requests
    wait_until(lambda: RefusingStore.requests > tried, "it tries again, slowly: a person must mend it", 60)
    assert (edge.end(), cloud.end()) == (0, 0)
    words = (
        f"InfluxDB at {refusing_store} refuses the token (401): check store.token; it needs read and write "
        "access to bucket forewarn (the server says: unauthorized access)"
    )
    (lost,) = find_events(cloud, "store_needs_mending")
    assert lost["reason"] == words
    assert lost["kept"].endswith(f" batches here, all {KEPT}")
    assert sum(words in str(line) for line in read_log(cloud)) == 1
    shown = run_command(tmp_path, "edge", "outbox", "show", "edge.yaml").stdout
    assert "waiting for their receipt: 0 values" not in shown
    told = run_command(tmp_path, "cloud", "train", "--config", "cloud.yaml", "--machine", PUMP)
    assert (told.returncode, told.stderr) == (1, f"{words}\n")


def test_a_token_file_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    """The file is named with the mend; exit 3."""
    store = "kind: influxdb, url: http://127.0.0.1:1, org: plant, bucket: forewarn, token: {file: absent}"
    write_cloud(tmp_path, "port: 1", ROLES, store=store)
    told = run_command(tmp_path, "cloud", "run", "--config", "cloud.yaml")
    assert told.returncode == 3
    assert told.stderr == (
        f"{tmp_path / 'absent'}: cannot read the secret (No such file or directory): create the file, "
        "readable by this user only (chmod 600)\n"
    )


def test_a_machine_without_a_model_is_learning(
    tmp_path: Path, plant: ServedPlant, mosquitto: Mosquitto, free_port: int
) -> None:
    """No warning and no error: the console says learning; training names what is stored, and what is not."""
    write_cloud(tmp_path, f"port: {mosquitto.port}", f"console: {{port: {free_port}}}")
    missing = run_command(tmp_path, "cloud", "train", "--config", "cloud.yaml", "--machine", PUMP)
    assert (missing.returncode, missing.stderr) == (
        1,
        f"no values of {PUMP} are stored; the store is empty: is `forewarn cloud run` storing, and does "
        "store: name the same place?\n",
    )
    write_edge(tmp_path, f"port: {mosquitto.port}", plant.pump())
    cloud = Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml")
    edge = Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml")
    cloud.wait_for_line("console at")
    url = f"http://127.0.0.1:{free_port}/api/v1/machines"
    wait_until(lambda: f'"path":"{PUMP}"' in fetch(url), "the console knows the pump", 30)
    wait_until(lambda: '"learning"' in fetch(url), "it says learning", 30)
    assert (edge.end(), cloud.end()) == (0, 0)
    assert [line for line in read_log(cloud) if line["level"] not in ("info", "debug")] == []
    told = run_command(tmp_path, "cloud", "train", "--config", "cloud.yaml", "--machine", "a/b/c/pump-8")
    assert (told.returncode, told.stderr) == (
        1,
        f"no values of a/b/c/pump-8 are stored; stored machines are {PUMP}\n",
    )


def fetch(url: str) -> str:
    """Return what the console answers."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_a_refused_mail_is_said_with_the_servers_words(tmp_path: Path, free_port: int) -> None:
    """The log and the alert's page say server, recipient, code, words and mend; the others get their mail."""
    server = MailServer(free_port)
    server.to_recipient["crwe@plant.example"] = ["550 5.1.1 no such user here"]
    server.start()
    notifier = (
        f"notifiers: [{{kind: email, host: 127.0.0.1, port: {free_port}, starttls: none, "
        "sender: forewarn@plant.example, recipients: [crwe@plant.example, chief@plant.example]}]"
    )
    write_cloud(tmp_path, "port: 1", notifier, "console: {port: 0}", "roles: [notify, console]")
    alert_id = raise_alert(tmp_path, "crwe@plant.example", "chief@plant.example")
    cloud = Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml")
    cloud.wait_for_line("notification_failed")
    cloud.wait_for_line("notification_sent")
    cloud.wait_for_line("console at")
    page = fetch(f"{cloud.output.read_text().split()[-1]}/alerts/{alert_id}")
    assert cloud.end() == 0
    server.stop()
    (failed,) = find_events(cloud, "notification_failed")
    assert (failed["alert"], failed["to"]) == (alert_id, "crwe@plant.example")
    words = (
        f"127.0.0.1:{free_port} refused mail to crwe@plant.example: 550 5.1.1 no such user here: check the "
        "address in recipients, and whether the server may send for forewarn@plant.example"
    )
    assert failed["reason"] == words
    assert words in page
    assert [address for address, _ in server.taken] == ["chief@plant.example"]


def raise_alert(folder: Path, *recipients: str) -> str:
    """Put an open alert into the records, with a mail to each recipient still to be sent; return its id."""
    engine = open_records(f"sqlite:///{folder / 'records.sqlite'}")
    addresses = [Address("email", recipient) for recipient in recipients]
    rules = AlertSettings(on_delay_s=0.0)
    book = AlertBook(engine, rules, CardBox([]), adviser=load_adviser(), addresses=addresses)
    now_ns = time.time_ns()
    strange = [Contribution("speed", 1500.0, 1450.0, 9.0)]
    for second in range(20):
        at_ns = now_ns - (20 - second) * 10**9
        book.observe([Observation(MachinePath.parse(PUMP), at_ns, "judged", 3.0, 1.0, contributions=strange)])
    (alert,) = book.list_alerts()
    engine.dispose()
    return str(alert.id)
