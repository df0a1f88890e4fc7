"""The pages of the console as browsers ask for them: what they hold, and what they must never hold."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.console.server import ConsoleServer, PortBusy
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import (
    COMPRESSOR,
    HTML,
    PUMP,
    SCRIPT_TAG,
    PlantRig,
    get,
    raise_alert,
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


def test_an_empty_plant_says_what_to_do(rig: PlantRig) -> None:
    """Every page has words for the first minute."""
    assert "forewarn edge run" in get(rig, "/", **HTML).text
    assert "No alert so far" in get(rig, "/alerts", **HTML).text
    assert "No gateway has reported yet" in get(rig, "/gateways", **HTML).text
    assert get(rig, "/api/v1/overview").json()["plant"]["batches_missing"] is None


def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(rig: PlantRig) -> None:
    """Unknown address, machine and alert; and a path that cannot be a machine's."""
    for path in ("/nowhere", f"/machines/{PUMP}", "/machines/a/b/c/D!", "/alerts/none"):
        page = get(rig, path, **HTML)
        assert page.status_code == 404
        assert "There is nothing here" in page.text
    assert get(rig, "/api/v1/alerts/none").json() == {"detail": "There is no alert 'none'."}
    assert get(rig, "/api/v1/nowhere").status_code == 404


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


async def test_a_busy_port_is_one_sentence(rig: PlantRig) -> None:
    """The message names the port and the setting."""
    port = int(rig.url.rpartition(":")[2])
    server = ConsoleServer(None, "127.0.0.1", port)  # type: ignore[arg-type]  # never asked for anything
    with pytest.raises(PortBusy, match=rf"cannot listen on 127.0.0.1:{port} .*console.port"):
        server.bind()
