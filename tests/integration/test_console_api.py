"""The JSON API of the console, asked over HTTP, over a real store and real records."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from cloud.console import live
from cloud.console.shapes import PartHealth
from cloud.stores import StoreUnavailable
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import (
    COMPRESSOR,
    FAN,
    HTML,
    MOTOR,
    PUMP,
    SCRIPT_TAG,
    PlantRig,
    get,
    raise_alert,
    wait_for,
)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Ten minutes of four machines, served; tests only read it."""
    with serve_plant(tmp_path_factory.mktemp("plant"), seconds=600) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PlantRig]:
    """An empty plant, served."""
    with serve_plant(tmp_path) as served:
        yield served


def test_machines_stand_in_the_order_of_attention(seeded: PlantRig) -> None:
    """The alert first, then the sensor fault, the learning one, the healthy one, each with its reason."""
    rows = get(seeded, "/api/v1/machines").json()
    assert [(row["path"], row["attention"]) for row in rows] == [
        (str(PUMP), "alert"),
        (str(COMPRESSOR), "tag_fault"),
        (str(FAN), "learning"),
        (str(MOTOR), "healthy"),
    ]
    assert rows[0]["reason"].startswith("Bearing temperature ")
    assert rows[0]["load"] > 1
    assert rows[0]["spark"].startswith("M")
    assert SCRIPT_TAG in rows[1]["reason"]


def test_the_plant_line_counts_machines_gateways_and_what_is_missing(seeded: PlantRig) -> None:
    """Two machines need somebody, one gateway is online, nothing is missing."""
    plant = get(seeded, "/api/v1/overview").json()["plant"]
    counted = {
        "machines": 4,
        "needing_attention": 2,
        "gateways_online": 1,
        "gateways_offline": 0,
        "values_stored": 100_000,
        "batches_missing": 0,
    }
    assert {name: plant[name] for name in counted} == counted


def test_charts_carry_curve_band_limit_and_marks(seeded: PlantRig) -> None:
    """The worn tag stands first, above its band; the band has the width of the noise; the alert is marked."""
    now_ms = int(time.time() * 1000)
    path = f"/api/v1/machines/{PUMP}/charts?from={now_ms - 600_000}&to={now_ms}&points=300"
    charts = get(seeded, path).json()
    worn = charts["tags"][0]
    assert (worn["tag"], worn["unit"], worn["high"]) == ("bearing_temperature", "°C", 95.0)
    assert worn["value"] > worn["band"]["high"][-1] > worn["expected"] > worn["band"]["low"][-1]
    width = worn["band"]["high"][-1] - worn["band"]["low"][-1]
    assert width == pytest.approx(6 * 0.35, rel=0.02)
    assert 200 <= len(worn["line"]["values"]) <= 300
    assert {len(tag["line"]["times_ms"]) == len(tag["line"]["values"]) for tag in charts["tags"]} == {True}
    [alert] = [alert for alert in seeded.book.list_alerts() if alert.machine == PUMP]
    assert [(mark["id"], mark["raised_ms"], mark["cleared_ms"]) for mark in charts["marks"]] == [
        (alert.id, alert.raised_ns // 1_000_000, None)
    ]
    assert charts["limit"]["values"][-1] == 1.0


def test_a_series_is_what_the_store_holds(rig: PlantRig) -> None:
    """Value by value, at its instants, with None where a value is missing left out."""
    times = (
        time.time_ns() // 1_000_000_000 * 1_000_000_000 - np.arange(5, dtype=np.int64)[::-1] * 1_000_000_000
    )
    rig.write("telemetry", MOTOR, times, current=np.array([1.5, np.nan, 2.5, 3.25, 1e-3]))
    answer = get(rig, f"/api/v1/machines/{MOTOR}/series?measurement=telemetry").json()
    assert answer["columns"]["current"] == {
        "times_ms": [float(times[at] // 1_000_000) for at in (0, 2, 3, 4)],
        "values": [1.5, 2.5, 3.25, 0.001],
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=5&to=1", 422),
        ("from=-1", 422),
        ("from=0&to=99999999999999999", 422),
        ("points=100000", 422),
        ("measurement=rumour", 422),
        ("from=1e400", 422),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(seeded: PlantRig, query: str, status: int) -> None:
    """With a reason, not with a mistake of ours."""
    answer = get(seeded, f"/api/v1/machines/{PUMP}/series?{query}")
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_acknowledging_over_the_api_counts_once(rig: PlantRig) -> None:
    """The first name stays; the machine stays on top as acknowledged; the history tells it."""
    alert_id = raise_alert(rig)
    for name in ("Ada", "Grace"):
        answer = httpx.post(f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json={"by": f" {name} "})
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["acknowledged_by"]) == ("acknowledged", "Ada")
    assert [event["what"] for event in answer.json()["history"]] == ["Raised", "Acknowledged"]
    assert get(rig, "/api/v1/machines").json()[0]["attention"] == "acknowledged"


@pytest.mark.parametrize(
    "body", [{"by": ""}, {"by": "   "}, {"by": "x" * 81}, {"by": "A\nB"}, {}, {"by": "Ada", "to": 1}]
)
def test_an_acknowledgement_needs_a_name(rig: PlantRig, body: dict[str, object]) -> None:
    """Nothing is noted without one."""
    alert_id = raise_alert(rig)
    assert httpx.post(f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json=body).status_code == 422
    assert rig.book.get(alert_id).acknowledged_by is None


def test_the_live_stream_tells_what_changed(rig: PlantRig) -> None:
    """First the whole plant, then the machine that is new, and its place."""
    rig.observe(MOTOR, at_ns=time.time_ns(), score=0.2)
    with httpx.stream("GET", f"{rig.url}/api/v1/live", timeout=20) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "frame-ancestors" in stream.headers["content-security-policy"]
        lines = stream.iter_lines()
        assert [row["path"] for row in read_change(lines)["machines"]] == [str(MOTOR)]
        rig.observe(PUMP, at_ns=time.time_ns(), score=0.3)
        change = read_change(lines)
        while not change["order"]:
            change = read_change(lines)
        assert str(PUMP) in [row["path"] for row in change["machines"]]
        assert change["order"] == [str(MOTOR), str(PUMP)]


def test_where_nothing_changes_the_stream_only_beats(rig: PlantRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unchanged plant is said once; then the reader only hears that the console is there."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 1.0)
    with httpx.stream("GET", f"{rig.url}/api/v1/live", timeout=20) as stream:
        events = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert [next(events), next(events)] == ["event: plant", "event: heartbeat"]


def read_change(lines: Iterator[str]) -> dict[str, list[dict[str, str]]]:
    """Return the next event about the plant."""
    for line in lines:
        if line == "event: plant":
            change: dict[str, list[dict[str, str]]] = json.loads(next(lines).removeprefix("data: "))
            return change
    raise AssertionError("the stream ended")


def test_what_is_missing_is_said(rig: PlantRig) -> None:
    """A gateway that let go of three batches which nobody has, and went offline, stands out."""
    rig.report_gateway(online=False, sequences=50, stored=47)
    [row] = get(rig, "/api/v1/gateways").json()
    assert (row["state"], row["batches_missing"], row["values_stored"]) == ("offline", 3, 47_000)
    assert [machine["state"] for machine in row["machines"]] == ["connected", "lost"]
    plant = get(rig, "/api/v1/overview").json()["plant"]
    assert (plant["gateways_offline"], plant["batches_missing"]) == (1, 3)


def test_health_is_503_when_the_ingester_or_the_store_is_down(
    rig: PlantRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is named with its state."""
    healthy = get(rig, "/healthz")
    assert (healthy.status_code, healthy.json()["ok"]) == (200, True)
    assert [part["part"] for part in healthy.json()["parts"]] == ["ingester", "store"]
    rig.parts = [PartHealth(part="ingester", ok=False, state="no broker for 12 s")]
    down = get(rig, "/healthz")
    assert (down.status_code, down.json()["parts"][0]["state"]) == (503, "no broker for 12 s")
    rig.parts = []

    def fail() -> list[object]:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(rig.reader, "list_machines", fail)
    assert get(rig, "/healthz").json() == {
        "ok": False,
        "degraded": False,
        "parts": [{"part": "store", "ok": False, "state": "the disk is gone", "degraded": False}],
    }
    wait_for(lambda: "the disk is gone" in get(rig, "/api/v1/overview").json()["trouble"])


def test_metrics_are_the_services_counters(rig: PlantRig) -> None:
    """In the format that Prometheus reads."""
    rig.metrics.batches_stored.inc(3)
    answer = get(rig, "/metrics")
    assert "forewarn_batches_stored_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_without_its_records_the_console_says_so(rig: PlantRig) -> None:
    """The overview keeps what it saw and says why it is old; what needs the records is 503."""
    rig.observe(MOTOR, at_ns=time.time_ns())
    assert len(get(rig, "/api/v1/machines").json()) == 1
    with rig.engine.begin() as connection:
        connection.execute(text("DROP TABLE ledger"))
    wait_for(lambda: "records" in get(rig, "/api/v1/overview").json()["trouble"])
    assert len(get(rig, "/api/v1/machines").json()) == 1
    assert get(rig, "/gateways", **HTML).status_code == 503


def test_the_api_is_described(rig: PlantRig) -> None:
    """OpenAPI names every address of the API; the pages are none of it."""
    paths = get(rig, "/api/v1/openapi.json").json()["paths"]
    machine = "/api/v1/machines/{site}/{area}/{line}/{machine}"
    assert {"/api/v1/machines", "/api/v1/alerts/{alert_id}/acknowledge", "/api/v1/live", "/healthz"} <= set(
        paths
    )
    assert {f"{machine}/model", f"{machine}/learn-anew"} <= set(paths)
    assert all(one.get("summary") for methods in paths.values() for one in methods.values())
    assert "/alerts/{alert_id}" not in paths
