"""The Grafana page asks questions that a real InfluxDB answers with what the store wrote."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.stores import Block, Measurement
from cloud.stores.influxdb import InfluxdbWriter
from models.telemetry import Frame, MachinePath, Value
from tests.integration.influx_front import InfluxServer, ask

PAGE = Path(__file__).parent.parent.parent / "configs" / "grafana" / "dashboards" / "machine.json"
PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
START = 1_795_337_912_000_000_000
SECOND = 1_000_000_000
BUCKET = "forewarn"
COLUMNS: dict[Measurement, dict[str, list[Value]]] = {
    "telemetry": {"bearing_temperature": [57.0, 57.5, 58.0]},
    "expected": {"bearing_temperature": [55.0, 55.5, 56.0]},
    "contribution": {"bearing_temperature": [4.0, 9.0, 14.0]},
    "drift": {"bearing_temperature": [0.04, 0.13, 0.31]},
    "score": {"score": [0.9, 1.6, 2.4], "limit": [1.5, 1.5, 1.5], "coverage": [1.0, 1.0, 1.0]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A database in which the store has written three rows of everything."""
    running = InfluxServer(tmp_path_factory.mktemp("influx"))
    writer = InfluxdbWriter(running.make_settings(BUCKET))
    times = [START + row * SECOND for row in range(3)]
    writer.write([Block(kind, PUMP, [Frame(times, columns)]) for kind, columns in COLUMNS.items()])
    writer.close()
    yield running
    running.close()


def fill_in(query: str) -> str:
    """Return the query as Grafana sends it for this machine and tag."""
    for part in ("site", "area", "line", "machine"):
        query = query.replace(f"${{{part}:regex}}", getattr(PUMP, part))
    span = f"time >= {START} AND time < {START + 10 * SECOND}"
    return (
        query.replace("$timeFilter", span).replace("$__interval", "1s").replace("$tag", "bearing_temperature")
    )


def answer(server: InfluxServer, query: str) -> list[dict[str, Any]]:
    """Return the series that the database answers with."""
    words = urllib.parse.urlencode({"db": BUCKET, "q": fill_in(query)})
    _, _, body = ask(server.database.port, "GET", f"/query?{words}", b"")
    (result,) = json.loads(body)["results"]
    assert "error" not in result, (query, result)
    series: list[dict[str, Any]] = result.get("series", [])
    return series


def list_queries() -> list[tuple[str, str]]:
    """Return (panel, query) of the page."""
    page = json.loads(PAGE.read_text())
    return [(panel["title"], target["query"]) for panel in page["panels"] for target in panel["targets"]]


def test_every_panel_shows_what_was_written(server: InfluxServer) -> None:
    """Each query finds the three rows of its measurement, second by second."""
    queries = list_queries()
    assert len(queries) == 7
    for title, query in queries:
        (series,) = answer(server, query)
        shown = [row[1] for row in series["values"] if row[1] is not None]
        assert len(shown) == 3, (title, query)


def test_every_choice_is_offered(server: InfluxServer) -> None:
    """The drop-downs list the machine, part by part, and its tags."""
    page = json.loads(PAGE.read_text())
    offered = {
        variable["name"]: {
            str(value) for row in answer(server, variable["query"])[0]["values"] for value in row
        }
        for variable in page["templating"]["list"]
    }
    for part in ("site", "area", "line", "machine"):
        assert getattr(PUMP, part) in offered[part]
    assert "bearing_temperature" in offered["tag"]
