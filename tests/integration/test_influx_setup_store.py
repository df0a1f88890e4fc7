"""`forewarn cloud setup-store` on a real InfluxDB 1.6, and its requests to stand-ins of versions 2 and 3."""

import json
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.stores import Block, StoreNeedsMending
from cloud.stores.influx_server import InfluxServer as Connection
from cloud.stores.influx_server import ServerVersion
from cloud.stores.influxdb import InfluxdbStoreSettings
from models.telemetry import Frame, MachinePath
from tests.integration.influx_front import InfluxServer

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MINUTE = 60_000_000_000
START = 1_795_334_400_000_000_000  # a whole hour


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A running database."""
    running = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield running
    running.close()


def read_rollup(settings: InfluxdbStoreSettings, step: str, field: str) -> list[float]:
    """Return a field of a roll-up in time order."""
    connection = Connection(settings)
    query = f'SELECT "{field}" FROM "rollup_{step}"."telemetry" ORDER BY time'
    series = connection.ask(query)
    connection.close()
    return [float(row[1] or 0) for one in series for row in one.values]


def write(settings: InfluxdbStoreSettings, first_ns: int, values: list[float]) -> None:
    """Write one value every ten seconds."""
    writer = settings.build_writer()
    times = [first_ns + row * MINUTE // 6 for row in range(len(values))]
    assert writer.write([Block("telemetry", PUMP, [Frame(times, {"speed": list(values)})])]) == []
    writer.close()


def test_version_1_gets_database_retention_and_rollups(server: InfluxServer) -> None:
    """What is missing is made and said; a second run changes nothing; a changed retention is set."""
    settings = server.native_settings("setup-1", retention_days=30)
    done = settings.set_up()
    assert "is version 1.6.7" in done[0]
    assert done[1:] == [
        "database setup-1 is made",
        "retention policy autogen keeps values 30 days",
        "retention policy rollup_1m keeps values for ever",
        "retention policy rollup_1h keeps values for ever",
        "continuous query forewarn_1m is made: each 1m, 10m back",
        "continuous query forewarn_1m_late is made: each 1h, 2d back",
        "continuous query forewarn_1h is made: each 10m, 3h back",
        "continuous query forewarn_1h_late is made: each 1h, 2d back",
    ]
    assert settings.set_up()[1:] == ["all was there"]
    longer = server.native_settings("setup-1", retention_days=90, rollups=["1h"])
    assert longer.set_up()[1:] == [
        "retention policy autogen keeps values 90 days",
        "continuous query forewarn_1m is removed",
        "continuous query forewarn_1m_late is removed",
    ]
    assert server.native_settings("setup-1", rollups=["1h"]).set_up()[1:] == [
        "retention policy autogen keeps values for ever"
    ]


def test_rollups_hold_what_came_late_once_they_are_recomputed(server: InfluxServer) -> None:
    """Mean, least, greatest and count of each minute and hour are those of the values that are there."""
    settings = server.native_settings("setup-2")
    settings.set_up()
    write(settings, START, [float(value) for value in range(12)])
    assert settings.recompute(START, START + 1) == ["roll-ups 1m, 1h computed anew for 1 days"]
    assert read_rollup(settings, "1m", "mean_speed") == [2.5, 8.5]
    assert read_rollup(settings, "1m", "count_speed") == [6, 6]
    assert read_rollup(settings, "1h", "max_speed") == [11]
    write(settings, START + 2 * MINUTE, [100.0])
    settings.recompute(START, START + 1)
    assert read_rollup(settings, "1m", "min_speed") == [0, 6, 100]
    assert read_rollup(settings, "1h", "max_speed") == [100]
    assert read_rollup(settings, "1h", "count_speed") == [13]


def test_the_command_says_what_it_did(server: InfluxServer, tmp_path: Path) -> None:
    """A user types it twice, and then looks at the store."""
    file = tmp_path / "cloud.yaml"
    url = f"http://127.0.0.1:{server.database.port}"
    file.write_text(
        f"broker: {{port: 1}}\nrecords: {{path: r.sqlite}}\n"
        f"store: {{kind: influxdb, url: '{url}', org: plant, bucket: typed}}\n"
    )

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "forewarn", "cloud", *arguments, "--config", str(file)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout

    assert "database typed is made\n" in run("setup-store")
    again = run("setup-store", "--recompute-from", "2026-11-22", "--recompute-to", "2026-11-24")
    assert again.splitlines()[1:] == ["all was there", "roll-ups 1m, 1h computed anew for 2 days"]
    version, content, _ = run("check-store").splitlines()
    assert version.startswith(f"InfluxDB at {url} is version 1.6.7")
    assert content == "bucket typed answers: 0 machines with 0 tags"


@pytest.mark.parametrize(
    ("said", "generation", "writes_v2"),
    [
        ("1.6.7", 1, False),
        ("1.8.10", 1, True),
        ("1.12.2", 1, True),
        ("v2.7.10", 2, True),
        ("2.0.0-rc", 2, True),
        ("3.0.1", 3, True),
        ("", 2, True),
        ("nightly", 2, True),
    ],
)
def test_versions_are_told_apart(said: str, generation: int, writes_v2: bool) -> None:
    """The write API of version 2 is used wherever it is; a server that hides its version is taken for 2."""
    found = ServerVersion.parse(said)
    assert (found.generation, found.writes_v2) == (generation, writes_v2)


class Api(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    stand_in: "StandIn"

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        if address.path == "/ping":
            self._reply(204, None)
        else:
            found = self.stand_in.find(address.path, dict(urllib.parse.parse_qsl(address.query)))
            self._reply(200 if found else 404, found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urllib.parse.urlsplit(self.path).path
        if path == "/api/v2/query":
            self.stand_in.queries.append(body["query"])
            self._reply(200, None)
            return
        rows = self.stand_in.kept.setdefault(path, [])
        rows.append(body | {"id": f"{path[8:10]}{len(rows)}"})
        self._reply(201, rows[-1])

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, _, number = self.path.rpartition("/")
        (row,) = [one for one in self.stand_in.kept[path] if one["id"] == number]
        row.update(body)
        self._reply(200, row)

    def _reply(self, status: int, content: object) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("X-Influxdb-Version", self.stand_in.version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


class StandIn:
    """Keeps what is posted to an API of ours as InfluxDB 2 or 3 would; written from its published pages."""

    def __init__(self, version: str) -> None:
        self.kept: dict[str, list[dict[str, Any]]] = {"/api/v2/orgs": [{"id": "o1", "name": "plant"}]}
        self.queries: list[str] = []
        self.version = version
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("OurApi", (Api,), {"stand_in": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def find(self, path: str, asked: dict[str, str]) -> object:
        """Return what is kept there, filtered as asked; nothing where nothing is."""
        rows = self.kept.get(path, [])
        if path.startswith("/api/v3"):
            return [{"iox::database": "_internal"}] + [{"iox::database": row["db"]} for row in rows]
        field = {"orgs": "orgs", "buckets": "buckets", "dbrps": "content", "tasks": "tasks"}[path[8:]]
        named = {"org": "name", "name": "name", "bucketID": "bucketID"}
        for key, column in named.items():
            if key in asked:
                rows = [one for one in rows if self._name(one, column) == asked[key]]
        return {field: rows} if rows else None

    @staticmethod
    def _name(row: dict[str, Any], column: str) -> object:
        if column == "name" and "flux" in row:
            return row["flux"].partition('name: "')[2].partition('"')[0]
        return row.get(column)

    def make_settings(self, **more: object) -> InfluxdbStoreSettings:
        """Return settings that lead here."""
        facts = {"kind": "influxdb", "url": self.url, "org": "plant", "bucket": "forewarn"}
        return InfluxdbStoreSettings.model_validate(facts | more)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def second() -> Iterator[StandIn]:
    """A stand-in of version 2."""
    api = StandIn("v2.7.10")
    yield api
    api.close()


def test_version_2_gets_buckets_mappings_and_tasks_once(second: StandIn) -> None:
    """Everything is asked for before it is made; a second run asks only; what differs is changed in place."""
    done = second.make_settings(retention_days=30).set_up()
    assert done[0].endswith("is version v2.7.10")
    assert done[1:3] == [
        "bucket forewarn is made: it keeps values 30 days",
        "InfluxQL finds forewarn.autogen",
    ]
    names = [one["name"] for one in second.kept["/api/v2/buckets"]]
    assert names == ["forewarn", "forewarn/rollup_1m", "forewarn/rollup_1h"]
    assert len(second.kept["/api/v2/tasks"]) == 4
    assert second.make_settings(retention_days=30).set_up()[1:] == ["all was there"]
    second.kept["/api/v2/tasks"][0]["flux"] = 'option task = {name: "forewarn_1m"} // older'
    assert second.make_settings().set_up()[1:] == [
        "bucket forewarn keeps values for ever now",
        "task forewarn_1m is brought up to date",
    ]
    assert second.make_settings().recompute(START, START + 1) == ["roll-ups 1m, 1h computed anew for 1 days"]
    assert "start: 2026-11-22T00:00:00Z, stop: 2026-11-23T00:00:00Z" in second.queries[0]
    assert 'to(bucket: "forewarn/rollup_1h")' in second.queries[1]


def test_an_organisation_that_is_not_there_is_named(second: StandIn) -> None:
    """Nobody is asked to create an organisation by accident."""
    with pytest.raises(StoreNeedsMending, match="no organisation elsewhere"):
        second.make_settings(org="elsewhere").set_up()


def test_version_3_gets_its_database_and_says_what_it_has_not() -> None:
    """No roll-ups: that is said, not passed over."""
    api = StandIn("3.0.1")
    try:
        settings = api.make_settings(retention_days=30)
        assert settings.set_up()[1:] == [
            "database forewarn is made",
            "no roll-ups: InfluxDB 3 has neither tasks nor continuous queries",
        ]
        assert api.kept["/api/v3/configure/database"][0]["retention_period"] == "30d"
        assert len(settings.set_up()) == 2
        assert settings.recompute(0, 1) == ["there are no roll-ups to recompute"]
    finally:
        api.close()
