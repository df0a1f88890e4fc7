"""The console over a real store and real records, asked over HTTP as browsers and programs ask it."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from cloud.console.server import ConsoleServer, PortBusy
from cloud.console.shapes import PartHealth
from cloud.observations import Contribution
from cloud.stores import StoreUnavailable
from tests.integration.console_rig import COMPRESSOR, FAN, MOTOR, PUMP, SCRIPT_TAG, PlantRig, seed_plant

HTML = {"accept": "text/html"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Ten minutes of four machines, served; tests only read it."""
    rig = PlantRig(tmp_path_factory.mktemp("plant"))
    seed_plant(rig, seconds=600, wear_s=120)
    rig.start()
    yield rig
    rig.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PlantRig]:
    """An empty plant, served."""
    rig = PlantRig(tmp_path)
    rig.start()
    yield rig
    rig.stop()


def get(rig: PlantRig, path: str, **headers: str) -> httpx.Response:
    """Ask the console."""
    return httpx.get(rig.url + path, headers=headers, timeout=20)


def raise_alert(rig: PlantRig, tag: str = "vibration") -> str:
    """Let the pump be strange long enough; return the alert's id."""
    part = Contribution(tag, 3.1, 1.9, 8.0)
    for second in range(20):
        rig.observe(PUMP, at_ns=time.time_ns() + second * 1_000_000_000, score=2.0, parts=[part])
    [alert] = rig.book.list_alerts()
    return alert.id


def wait_for(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


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
    assert get(seeded, "/api/v1/overview").json()["plant"] == {
        "machines": 4,
        "needing_attention": 2,
        "gateways_online": 1,
        "gateways_offline": 0,
        "values_stored": 100_000,
        "batches_missing": 0,
    }


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


@pytest.mark.parametrize("body", [{"by": ""}, {"by": "   "}, {"by": "x" * 81}, {}, {"by": "Ada", "to": 1}])
def test_an_acknowledgement_needs_a_name(rig: PlantRig, body: dict[str, object]) -> None:
    """Nothing is noted without one."""
    alert_id = raise_alert(rig)
    assert httpx.post(f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json=body).status_code == 422
    assert rig.book.get(alert_id).acknowledged_by is None


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_another_site_cannot_acknowledge(rig: PlantRig, headers: dict[str, str]) -> None:
    """Neither over the API nor with the form."""
    alert_id = raise_alert(rig)
    with httpx.Client(base_url=rig.url) as browser:
        page = browser.get(f"/alerts/{alert_id}", headers=HTML).text
        token = re.findall(r'name="token" value="([0-9a-f]+)"', page)[0]
        form = browser.post(
            f"/alerts/{alert_id}/acknowledge", data={"by": "Eve", "token": token}, headers=headers
        )
        api = browser.post(f"/api/v1/alerts/{alert_id}/acknowledge", json={"by": "Eve"}, headers=headers)
    assert (form.status_code, api.status_code) == (403, 403)
    assert rig.book.get(alert_id).acknowledged_by is None


def test_the_form_needs_the_token_of_its_own_browser(rig: PlantRig) -> None:
    """A token without its cookie, or of another visit, is refused; the right one leads back to the alert."""
    alert_id = raise_alert(rig)
    address = f"/alerts/{alert_id}/acknowledge"
    with httpx.Client(base_url=rig.url) as browser:
        page = browser.get(f"/alerts/{alert_id}", headers=HTML)
        token = re.findall(r'name="token" value="([0-9a-f]+)"', page.text)[0]
        cookie = page.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert httpx.post(rig.url + address, data={"by": "Eve", "token": token}).status_code == 403
        assert browser.post(address, data={"by": "Eve", "token": "0" * 64}).status_code == 403
        assert browser.post(address, data={"by": "Eve", "token": "é"}).status_code == 403
        assert browser.post(address, content=b"x" * 5_000).status_code == 413
        assert browser.post(address, content=b"\xff\xfe=1").status_code in (403, 422)
        assert rig.book.get(alert_id).acknowledged_by is None
        right = browser.post(address, data={"by": "Ada", "token": token}, headers={"origin": rig.url})
        assert (right.status_code, right.headers["location"]) == (303, f"/alerts/{alert_id}")
        assert "by Ada" in browser.get(right.headers["location"], headers=HTML).text
    assert rig.book.get(alert_id).acknowledged_by == "Ada"


def test_markup_in_a_tags_name_stays_text_everywhere(seeded: PlantRig) -> None:
    """No page carries it unescaped, and no JSON is served as anything but JSON."""
    tag_alert = next(alert for alert in seeded.book.list_alerts() if alert.kind == "tag")
    for path in ("/", "/alerts", f"/alerts/{tag_alert.id}", f"/machines/{COMPRESSOR}", "/gateways"):
        page = get(seeded, path, **HTML)
        assert page.status_code == 200
        assert SCRIPT_TAG not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in get(seeded, "/", **HTML).text
    facts = re.findall(r'id="facts">(.*?)</script>', get(seeded, f"/alerts/{tag_alert.id}", **HTML).text)
    assert json.loads(facts[0])["tags"] == [SCRIPT_TAG]
    for path in (
        "/api/v1/machines",
        f"/api/v1/alerts/{tag_alert.id}",
        f"/api/v1/machines/{COMPRESSOR}/charts",
    ):
        answer = get(seeded, path)
        assert SCRIPT_TAG in json.dumps(answer.json())
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_answer_wears_the_security_headers(rig: PlantRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, files, the API, refusals and our own mistakes."""

    def fail() -> list[object]:
        raise ValueError("a mistake")

    monkeypatch.setattr(rig.view, "list_gateways", fail)
    answers = [
        get(rig, path, **HTML)
        for path in ("/", "/static/console.css", "/api/v1/alerts", "/nowhere", "/gateways")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 500]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'; script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "same-origin"
    assert "The console made a mistake" in answers[-1].text
    assert "a mistake" not in answers[-1].text.replace("made a mistake", "")
    assert get(rig, "/api/v1/gateways").json()["detail"]


def test_no_page_holds_a_script_of_its_own(seeded: PlantRig) -> None:
    """Scripts come from our files, so that the policy can forbid others; nothing is foreign."""
    alert_id = seeded.book.list_alerts()[0].id
    for path in ("/", "/alerts", f"/alerts/{alert_id}", f"/machines/{PUMP}", "/gateways", "/nowhere"):
        page = get(seeded, path, **HTML).text
        for script in re.findall(r"<script[^>]*>", page):
            assert 'src="/static/' in script or 'type="application/json"' in script
        assert not re.findall(r"\son\w+=", page)
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)


def test_plotly_comes_out_of_its_wheel_once(seeded: PlantRig) -> None:
    """Packed, to be kept for ever under its version, and not sent again to who has it."""
    page = get(seeded, f"/machines/{PUMP}", **HTML).text
    address = re.findall(r'src="(/static/plotly[^"]+)"', page)[0]
    answer = get(seeded, address)
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text.startswith("/**\n* plotly.js")
    again = get(seeded, address, **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["..%2Fview.py", "%2e%2e/view.py", "view.py", "templates", "console.css%00"])
def test_no_other_file_can_be_asked_for(seeded: PlantRig, name: str) -> None:
    """The list of files is fixed: there is no way out of the folder."""
    assert get(seeded, f"/static/{name}").status_code == 404


def test_the_live_stream_tells_what_changed(rig: PlantRig) -> None:
    """First the whole plant, then within seconds the machine that is new, and its place."""
    rig.observe(MOTOR, at_ns=time.time_ns(), score=0.2)
    with httpx.stream("GET", f"{rig.url}/api/v1/live", timeout=20) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "frame-ancestors" in stream.headers["content-security-policy"]
        lines = stream.iter_lines()
        assert [row["path"] for row in read_change(lines)["machines"]] == [str(MOTOR)]
        rig.observe(PUMP, at_ns=time.time_ns(), score=0.3)
        change = read_change(lines)
        assert [row["path"] for row in change["machines"]] == [str(PUMP)]
        assert change["order"] == [str(MOTOR), str(PUMP)]


def test_where_nothing_changes_the_stream_only_beats(rig: PlantRig) -> None:
    """An unchanged plant is said once; then the reader only hears that the console is there."""
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


def test_an_empty_plant_says_what_to_do(rig: PlantRig) -> None:
    """Every page has words for the first minute."""
    assert "forewarn edge run" in get(rig, "/", **HTML).text
    assert "No alert so far" in get(rig, "/alerts", **HTML).text
    assert "No gateway has reported yet" in get(rig, "/gateways", **HTML).text
    assert get(rig, "/api/v1/overview").json()["plant"]["batches_missing"] is None


def test_what_is_missing_is_said(rig: PlantRig) -> None:
    """A gateway that let go of three batches which nobody has, and went offline, stands out."""
    rig.report_gateway(online=False, sequences=50, stored=47)
    [row] = get(rig, "/api/v1/gateways").json()
    assert (row["state"], row["batches_missing"], row["values_stored"]) == ("offline", 3, 47_000)
    assert [machine["state"] for machine in row["machines"]] == ["connected", "lost"]
    plant = get(rig, "/api/v1/overview").json()["plant"]
    assert (plant["gateways_offline"], plant["batches_missing"]) == (1, 3)


def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(rig: PlantRig) -> None:
    """Unknown address, machine and alert; and a path that cannot be a machine's."""
    for path in ("/nowhere", f"/machines/{PUMP}", "/machines/a/b/c/D!", "/alerts/none"):
        page = get(rig, path, **HTML)
        assert page.status_code == 404
        assert "There is nothing here" in page.text
    assert get(rig, "/api/v1/alerts/none").json() == {"detail": "There is no alert 'none'."}
    assert get(rig, "/api/v1/nowhere").status_code == 404


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
        "parts": [{"part": "store", "ok": False, "state": "the disk is gone"}],
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
    assert {"/api/v1/machines", "/api/v1/alerts/{alert_id}/acknowledge", "/api/v1/live", "/healthz"} <= set(
        paths
    )
    assert "/alerts/{alert_id}" not in paths


async def test_a_busy_port_is_one_sentence(rig: PlantRig) -> None:
    """The message names the port and the setting."""
    port = int(rig.url.rpartition(":")[2])
    server = ConsoleServer(None, "127.0.0.1", port)  # type: ignore[arg-type]  # never asked for anything
    with pytest.raises(PortBusy, match=rf"cannot listen on 127.0.0.1:{port} .*console.port"):
        server.bind()


def test_the_console_is_light() -> None:
    """It needs less than 60 MB over numpy, and neither plotly's Python half nor pandas."""
    program = (
        "import sys, numpy\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
        "before = rss()\n"
        "import cloud.console.app, cloud.console.server\n"
        "heavy = [name for name in ('plotly', 'pandas', 'matplotlib', 'sklearn') if name in sys.modules]\n"
        "print(rss() - before, heavy)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    megabytes, _, heavy = said.strip().partition(" ")
    assert heavy == "[]"
    assert float(megabytes) < 60
