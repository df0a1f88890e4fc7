"""The InfluxDB store against a real database: what it does when the server refuses, is busy, or is away."""

import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from cloud.stores import Block, Rejection, StoreUnavailable, influxql, slicing
from cloud.stores.influxdb import InfluxdbReader, InfluxdbStoreSettings, InfluxdbWriter
from models.settings import Secret, SettingsError
from models.telemetry import Frame, MachinePath
from tests.integration.influx_front import InfluxFront, InfluxServer, ask
from tests.servers import Server, find_free_port, find_program

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
START = 1_795_337_912_000_000_000
FOREVER = 2**63 - 1

buckets = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A running database behind its front."""
    running = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield running
    running.close()


@pytest.fixture
def front(server: InfluxServer) -> Iterator[InfluxFront]:
    """The front, with its script of answers cleared."""
    server.front.upcoming.clear()
    server.front.encodings.clear()
    yield server.front
    server.front.body_bytes_max = 1 << 40


@pytest.fixture
def settings(server: InfluxServer, front: InfluxFront) -> InfluxdbStoreSettings:
    """Settings for a new bucket."""
    return server.make_settings(f"bucket-{next(buckets)}")


def make_block(first: int, rows: int = 10, tag: str = "x") -> Block:
    """Return rows from START + `first` on."""
    times = [START + first + row for row in range(rows)]
    return Block("telemetry", PUMP, [Frame(times, {tag: [float(first + row) for row in range(rows)]})])


def read_x(settings: InfluxdbStoreSettings, tag: str = "x") -> list[float]:
    """Return all that is stored of a tag."""
    reader = InfluxdbReader(settings)
    values: list[float] = reader.read("telemetry", PUMP, 0, FOREVER, [tag]).values[tag].tolist()
    reader.close()
    return values


def test_one_refused_block_does_not_take_the_others_along(
    settings: InfluxdbStoreSettings, server: InfluxServer
) -> None:
    """Readings that conflict with a field's type are found by halving and named; all others are stored."""
    bucket = settings.bucket
    point = f"telemetry,site=a,area=b,line=c,machine=d clash=1i {START}".encode()
    assert ask(server.database.port, "POST", f"/write?db={bucket}", point)[0] == 204
    blocks = [make_block(10 * index) for index in range(32)]
    beside, clash = make_block(130).frames[0], make_block(130, tag="clash").frames[0]
    mixed = Frame(clash.timestamps, clash.values | {"y": beside.values["x"]})
    blocks[13] = Block("telemetry", PUMP, [mixed])
    writer = InfluxdbWriter(settings)
    (rejection,) = writer.write(blocks)
    writer.close()
    assert isinstance(rejection, Rejection)
    assert rejection.index == 13
    assert slicing.list_readings(rejection.frames) == {("clash", instant) for instant in clash.timestamps}
    assert "field type conflict" in rejection.reason
    assert read_x(settings) == [float(row) for row in range(320) if not 130 <= row < 140]
    assert read_x(settings, "y") == [float(row) for row in range(130, 140)]


def test_a_request_that_is_too_large_is_halved_down_to_lines(
    settings: InfluxdbStoreSettings, front: InfluxFront
) -> None:
    """Whatever size the server takes, everything is stored; a line that is larger than that, in parts."""
    front.body_bytes_max = 2000
    writer = InfluxdbWriter(settings)
    assert writer.write([make_block(0, 100), make_block(100, 100)]) == []
    wide = Frame([START], {f"tag-{number}": [1.0] for number in range(500)})
    assert writer.write([make_block(200, 10), Block("telemetry", PUMP, [wide])]) == []
    assert read_x(settings) == [float(row) for row in range(210)]
    assert read_x(settings, "tag-499") == [1.0]
    front.body_bytes_max = 50
    (rejection,) = writer.write([make_block(300, 1)])
    assert "too large" in rejection.reason
    writer.close()


def test_a_long_write_travels_in_bounded_requests(
    settings: InfluxdbStoreSettings, front: InfluxFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are packed into requests of a few megabytes, and all arrive."""
    monkeypatch.setattr("cloud.stores.influxdb.REQUEST_BYTES_MAX", 5000)
    writer = InfluxdbWriter(settings)
    assert writer.write([make_block(10 * index) for index in range(50)]) == []
    writer.close()
    assert 8 <= front.writes <= 12
    assert len(read_x(settings)) == 500


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (503, {"Retry-After": "7"}, "is not available (503): down for repair; it asks to wait 7 s"),
        (429, {"Retry-After": "30"}, "is busy (429): down for repair; it asks to wait 30 s"),
        (500, {}, "answers with an error (500): down for repair"),
        (502, {}, "answers with an error (502): down for repair"),
    ],
)
def test_a_busy_server_is_unavailable_and_is_written_later(
    settings: InfluxdbStoreSettings, front: InfluxFront, status: int, headers: dict[str, str], said: str
) -> None:
    """The message has the server's reason and its wish; nothing is repeated behind the caller's back."""
    writer, reader = InfluxdbWriter(settings), InfluxdbReader(settings)
    front.upcoming += [(status, headers, b'{"code":"x","message":"down for repair"}')] * 2
    with pytest.raises(StoreUnavailable) as caught:
        writer.write([make_block(0)])
    assert str(caught.value) == f"InfluxDB at {front.url} {said}"
    assert front.writes == 1
    with pytest.raises(StoreUnavailable, match="down for repair"):
        reader.list_machines()
    assert writer.write([make_block(0)]) == []
    assert len(read_x(settings)) == 10
    writer.close()
    reader.close()


def test_a_bad_token_names_the_mend(server: InfluxServer, front: InfluxFront) -> None:
    """The setting to check and the right that the token needs."""
    server.database.create_bucket("plant")
    settings = server.settings_for("plant", token="stale")
    for call in (
        lambda: InfluxdbWriter(settings).write([make_block(0)]),
        lambda: InfluxdbReader(settings).list_machines(),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert str(caught.value) == (
            f"InfluxDB at {front.url} refuses the token (401): check store.token; it needs read and "
            "write access to bucket plant (the server says: unauthorized access)"
        )


def test_a_mended_token_needs_no_restart(
    server: InfluxServer, front: InfluxFront, tmp_path: Path, settings: InfluxdbStoreSettings
) -> None:
    """The token is read again after it was refused."""
    file = tmp_path / "token"
    file.write_text("stale\n")
    writer = InfluxdbWriter(settings.model_copy(update={"token": Secret(file=file)}))
    with pytest.raises(StoreUnavailable, match="refuses the token"):
        writer.write([make_block(0)])
    file.write_text("secret\n")
    assert writer.write([make_block(0)]) == []
    writer.close()


def test_a_missing_token_file_is_a_mistake_in_the_settings(server: InfluxServer, tmp_path: Path) -> None:
    """No request is sent without the secret that was meant."""
    settings = server.settings_for("plant").model_copy(update={"token": Secret(file=tmp_path / "none")})
    with pytest.raises(SettingsError, match="cannot read the secret"):
        InfluxdbWriter(settings).write([make_block(0)])


def test_an_unknown_bucket_names_the_mend(server: InfluxServer, front: InfluxFront) -> None:
    """Which bucket, and what to do."""
    with pytest.raises(StoreUnavailable) as caught:
        InfluxdbWriter(server.settings_for("nowhere")).write([make_block(0)])
    assert str(caught.value) == (
        f"InfluxDB at {front.url} does not know bucket nowhere in org plant (404): create it with "
        "`forewarn cloud setup-store`, or correct store.bucket and store.org "
        "(the server says: bucket not found)"
    )
    with pytest.raises(StoreUnavailable, match="database not found: nowhere"):
        InfluxdbReader(server.settings_for("nowhere")).list_machines()


def test_a_server_that_is_away_is_unavailable(settings: InfluxdbStoreSettings) -> None:
    """Nobody listens: the address, the reason and the mend are named."""
    url = f"http://127.0.0.1:{find_free_port()}"
    away = settings.model_copy(update={"url": url})
    for call in (
        lambda: InfluxdbWriter(away).write([make_block(0)]),
        lambda: InfluxdbReader(away).read("telemetry", PUMP, 0, FOREVER),
    ):
        with pytest.raises(StoreUnavailable, match=rf"{url} cannot be reached \(.*refused\): is it running"):
            call()


def test_a_server_that_hangs_is_given_up_after_the_timeout(settings: InfluxdbStoreSettings) -> None:
    """A server that accepts and says nothing does not hold the caller for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hung = settings.model_copy(update={"url": url, "timeout_s": 0.3})
        with pytest.raises(StoreUnavailable, match=r"timed out"):
            InfluxdbWriter(hung).write([make_block(0)])


def test_the_database_dies_and_comes_back(tmp_path: Path) -> None:
    """Kill -9 between two writes: unavailable while away; what was acknowledged is there afterwards."""
    server = InfluxServer(tmp_path)
    settings = server.make_settings("plant")
    writer = InfluxdbWriter(settings)
    try:
        assert writer.write([make_block(0)]) == []
        server.database.kill()
        with pytest.raises(StoreUnavailable):
            writer.write([make_block(10)])
        server.database.start()
        assert writer.write([make_block(10)]) == []
        assert read_x(settings) == [float(row) for row in range(20)]
    finally:
        writer.close()
        server.close()


def test_a_long_span_is_read_page_by_page(
    settings: InfluxdbStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages fit together without a seam, also where a tag ends before the last page."""
    monkeypatch.setattr(influxql, "ROWS_MAX", 70)
    writer = InfluxdbWriter(settings)
    early = Block("telemetry", PUMP, [Frame([START + row for row in range(50)], {"early": [1.0] * 50})])
    writer.write([make_block(0, 500), early])
    writer.close()
    reader = InfluxdbReader(settings)
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    reader.close()
    assert table.values["x"].tolist() == [float(row) for row in range(500)]
    assert (table.values["early"] == 1.0).sum() == 50


def test_writes_reach_another_server_of_the_same_api(tmp_path: Path, settings: InfluxdbStoreSettings) -> None:
    """VictoriaMetrics takes the same requests at /api/v2/write."""
    port = find_free_port()
    command = [
        find_program("victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={tmp_path}/vm",
    ]
    other = Server([*command, "-retentionPeriod=100y"], port, tmp_path)
    other.start()
    try:
        writer = InfluxdbWriter(settings.model_copy(update={"url": f"http://127.0.0.1:{port}"}))
        assert writer.write([make_block(0), make_block(0, tag='a b,c=d"e\\')]) == []
        writer.close()
        assert b"vm_rows_inserted_total" in ask(port, "GET", "/metrics", b"")[2]
        inserted = [
            line
            for line in ask(port, "GET", "/metrics", b"")[2].decode().splitlines()
            if line.startswith('vm_rows_inserted_total{type="influx"}')
        ]
        assert inserted == ['vm_rows_inserted_total{type="influx"} 20']
    finally:
        other.stop()


def test_what_others_wrote_under_our_measurement_is_no_machine(
    settings: InfluxdbStoreSettings, server: InfluxServer
) -> None:
    """A foreign series without our tags neither breaks the list nor stands in it."""
    point = f"telemetry,host=a cpu=1.5 {START}".encode()
    assert ask(server.database.port, "POST", f"/write?db={settings.bucket}", point)[0] == 204
    writer, reader = InfluxdbWriter(settings), InfluxdbReader(settings)
    writer.write([make_block(0)])
    assert [stored.machine for stored in reader.list_machines()] == [PUMP]
    writer.close()
    reader.close()
