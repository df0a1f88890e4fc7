"""What the console shows of models, over real records and bundles, and what the crew may change."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from cloud.alerts.verdicts import VerdictBook
from cloud.watch.history_book import has_unposted
from cloud.watch.versions import FreshStarts
from models.anomaly.bundle import BundleMissing, find_current
from tests.integration.console_models import SECOND, mark_alert, seed_history, seed_models
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import (
    FAN,
    HTML,
    MOTOR,
    PUMP,
    SCRIPT_TAG,
    PlantRig,
    get,
    raise_alert,
)

MODEL = f"/api/v1/machines/{PUMP}/model"
LEARN_ANEW = f"/machines/{PUMP}/learn-anew"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Four machines with a past; the pump has a model, the fan learns."""
    with serve_plant(tmp_path_factory.mktemp("plant"), seconds=300) as served:
        seed_models(served)
        seed_history(served)
        yield served


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PlantRig]:
    """An empty plant, served."""
    with serve_plant(tmp_path) as served:
        yield served


def read_token(browser: httpx.Client, address: str) -> str:
    """Return the token of the forms of a page."""
    tokens: list[str] = re.findall(
        r'name="token" value="([0-9a-f]+)"', browser.get(address, headers=HTML).text
    )
    return tokens[0]


def test_the_model_of_a_machine_is_told_whole(seeded: PlantRig) -> None:
    """State, version, promise, grades, drift, refits and history, as the records have them."""
    model = get(seeded, MODEL).json()
    assert (model["state"], model["learning"], model["refused"]) == ("provisional", None, "")
    version = model["version"]
    assert (version["detector"], version["tags"], version["is_current"]) == ("conditional", 6, True)
    assert version["name"] == find_current(seeded.bundles, PUMP).name
    assert (version["last_ms"] - version["first_ms"]) / 1000 == pytest.approx(2_999, abs=1)
    assert abs(version["in_charge_ms"] - time.time() * 1000) < 120_000
    assert [one["is_current"] for one in model["versions"]] == [True, False]
    assert model["grades"] == {"high": 5, "medium": 1, "low": 1}
    assert [tag["tag"] for tag in model["tags"]][:2] == ["ambient", "bearing_temperature"]
    assert (model["drift"], model["above_half"]) == ("refit advised", 0.031)
    assert model["refit"]["words"] == "challenger lost: found 2 of 3 past events"
    assert model["next_refit_ms"] - model["refit"]["at_ms"] == 7 * 86_400_000
    (past,) = model["history"]
    assert (past["episodes"], past["tags"]) == (2, ["Bearing temperature", "Vibration"])
    assert model["false_alarms"]["promised"] == pytest.approx(43.8, abs=0.1)
    assert model["false_alarms"]["realised"] is None
    assert model["false_alarms"]["months"] > 0


def test_a_machine_that_learns_says_how_far_it_has_come(seeded: PlantRig) -> None:
    """On its page and on the overview, in the same words."""
    model = get(seeded, f"/api/v1/machines/{FAN}/model").json()
    assert (model["state"], model["version"]) == ("learning", None)
    assert (model["learning"]["words"], model["learning"]["share"]) == ("11 of 24 h", 0.462)
    rows = {row["path"]: row for row in get(seeded, "/api/v1/machines").json()}
    assert (rows[str(FAN)]["learned_words"], rows[str(FAN)]["learned"]) == ("11 of 24 h", 0.462)
    assert rows[str(PUMP)]["learned"] is None
    page = get(seeded, f"/machines/{FAN}", **HTML).text
    assert "<strong>11 of 24 h</strong> of good values; left out: 40 min not acquired" in page
    assert "11 of 24 h" in get(seeded, "/", **HTML).text


def test_a_machine_of_which_nothing_is_known_has_a_page(seeded: PlantRig) -> None:
    """No lesson, no bundle, no drift: nothing is invented."""
    model = get(seeded, f"/api/v1/machines/{MOTOR}/model").json()
    assert (model["state"], model["version"], model["tags"], model["refit"]) == ("judged", None, [], None)
    assert model["next_refit_ms"] is None
    assert model["false_alarms"]["promised"] is None
    assert get(seeded, f"/machines/{MOTOR}", **HTML).status_code == 200
    assert get(seeded, "/api/v1/machines/a/b/c/nobody/model").status_code == 404


def test_the_part_that_is_fetched_anew_is_the_section_of_the_page(seeded: PlantRig) -> None:
    """It holds no script, and what machines say in it is escaped."""
    part = get(seeded, f"/machines/{PUMP}/knowledge", **HTML)
    assert part.status_code == 200
    assert 'id="knowledge"' in part.text
    assert "<script" not in part.text
    assert "Refit advised" in part.text
    seeded.observe(MOTOR, state="cannot_judge", reason=SCRIPT_TAG)
    page = get(seeded, f"/machines/{MOTOR}/knowledge", **HTML).text
    assert SCRIPT_TAG not in page
    assert "&lt;script&gt;" in page


def test_a_refused_model_is_shown_beside_the_machine_that_goes_on(rig: PlantRig) -> None:
    """The machine stays healthy; overview and page lead to the alert about its model."""
    rig.observe(MOTOR, score=0.2)
    rig.book.note_models({MOTOR: "arrays.npz: was changed after training"})
    (row,) = get(rig, "/api/v1/machines").json()
    (alert,) = rig.book.list_alerts()
    assert (row["attention"], row["alert_id"], row["model_alert_id"]) == ("healthy", None, alert.id)
    model = get(rig, f"/api/v1/machines/{MOTOR}/model").json()
    assert "was changed after training" in model["refused"]
    assert "Newest model refused" in get(rig, "/", **HTML).text
    rig.observe(MOTOR, state="learning", reason="learning")
    assert get(rig, f"/api/v1/machines/{MOTOR}/model").json()["state"] == "refused"


def test_a_verdict_counts_and_can_be_corrected(rig: PlantRig) -> None:
    """A false alarm counts against the promise; a dated real fault is forewarning; the history has both."""
    alert_id = raise_alert(rig)
    address = f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge"
    false = httpx.post(address, json={"by": "Ada", "verdict": "false_alarm", "note": "cleaning"}).json()
    assert (false["verdict"], false["note"], false["state"]) == ("false_alarm", "cleaning", "acknowledged")
    model = get(rig, MODEL).json()
    assert (model["false_alarms"]["marked"], model["forewarning"]["faults"]) == (1, 0)
    failed_ms = false["raised_ms"] + 7_500_000
    body = {"by": "Grace", "verdict": "real_fault", "note": "bearing", "failed_ms": failed_ms}
    real = httpx.post(address, json=body).json()
    assert (real["acknowledged_by"], real["failed_ms"]) == ("Ada", failed_ms)
    assert [event["what"] for event in real["history"]] == ["Raised", "Acknowledged", "Reviewed", "Reviewed"]
    assert real["history"][-1]["words"] == "Real fault: bearing"
    again = httpx.post(
        address, json={"by": "Grace", "verdict": "real_fault", "note": "bearing, drive end"}
    ).json()
    assert (again["note"], again["failed_ms"]) == ("bearing, drive end", failed_ms)
    plant = get(rig, "/api/v1/overview").json()["plant"]
    assert plant["forewarning_words"] == "2 h 5 min"
    assert plant["forewarning_s"] == pytest.approx(7_500, abs=0.001)
    assert plant["forewarning_terms"] == "Average forewarning, 1 real fault"
    assert get(rig, MODEL).json()["false_alarms"]["marked"] == 0
    assert "warned 2 h 5 min before" in get(rig, f"/alerts/{alert_id}", **HTML).text
    assert "Real fault" in get(rig, "/alerts", **HTML).text


def test_a_fault_without_a_date_counts_from_the_fixed_limit_that_was_passed(rig: PlantRig) -> None:
    """The first value over any fixed limit after the alert; a tag's own limit, not another's."""
    alert_id = raise_alert(rig)
    raised_ns = rig.book.get(alert_id).raised_ns
    times = raised_ns + np.arange(1, 5, dtype=np.int64) * SECOND
    rig.write(
        "telemetry",
        PUMP,
        times,
        bearing_temperature=np.array([90.0, 94.0, 95.5, 97.0]),
        speed=times * 0 + 2e3,
    )
    rig.view._now_ns = lambda: raised_ns + 60 * SECOND
    sheet = httpx.post(
        f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json={"by": "Ada", "verdict": "real_fault"}
    ).json()
    assert sheet["failed_ms"] == (raised_ns + 3 * SECOND) // 1_000_000


@pytest.mark.parametrize(
    "body", [{"verdict": "rumour"}, {"note": "x" * 501}, {"note": "a\nb"}, {"failed_ms": -1}, {"failed": 1}]
)
def test_a_verdict_that_makes_no_sense_is_refused(rig: PlantRig, body: dict[str, object]) -> None:
    """Nothing is noted then, not even the name."""
    alert_id = raise_alert(rig)
    answer = httpx.post(f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json={"by": "Ada"} | body)
    assert answer.status_code == 422
    assert rig.book.get(alert_id).acknowledged_by is None


def test_the_form_of_a_verdict_goes_by_the_readers_clock_or_by_utc(rig: PlantRig) -> None:
    """With scripts milliseconds come; without them the date and time that were written are UTC."""
    alert_id = raise_alert(rig)
    address = f"/alerts/{alert_id}/acknowledge"
    with httpx.Client(base_url=rig.url) as browser:
        form = {"by": "Ada", "token": read_token(browser, f"/alerts/{alert_id}"), "verdict": "real_fault"}
        for said in (
            {"failed": "2026-11-23T08:30"},
            {"failed": "2026-11-23T08:30", "failed_ms": "1795419000000"},
        ):
            assert browser.post(address, data=form | said).status_code == 303
            found = VerdictBook(rig.engine).list_of([alert_id])[alert_id].failed_ns
            assert found == (1_795_419_000 if "failed_ms" in said else 1_795_422_600) * SECOND
        assert browser.post(address, data=form | {"failed": "yesterday"}).status_code == 422
        wrong = browser.post(address, data=form | {"by": " "}, headers=HTML)
        assert wrong.status_code == 422
        assert "Write your name" in wrong.text


def test_a_repaired_machine_learns_anew(seeded: PlantRig) -> None:
    """Its model leaves charge and stays, nothing from before counts, and the page says since when."""
    since_ms = int(time.time() * 1000) - 3_600_000
    answer = httpx.post(f"{seeded.url}/api/v1{LEARN_ANEW}", json={"by": "Ada", "since_ms": since_ms})
    assert answer.status_code == 200
    model = answer.json()
    assert (model["version"], model["learns_since_ms"], len(model["versions"])) == (None, since_ms, 2)
    assert FreshStarts(seeded.engine).list() == {str(PUMP): since_ms * 1_000_000}
    with pytest.raises(BundleMissing):
        find_current(seeded.bundles, PUMP)
    assert "Learns anew" in get(seeded, f"/machines/{PUMP}", **HTML).text


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_another_site_cannot_have_a_machine_learn_anew(rig: PlantRig, headers: dict[str, str]) -> None:
    """Neither over the API nor with the form, whose token another browser does not have either."""
    rig.observe(PUMP, score=0.2)
    with httpx.Client(base_url=rig.url) as browser:
        form = {"by": "Eve", "token": read_token(browser, f"/machines/{PUMP}")}
        assert browser.post(LEARN_ANEW, data=form, headers=headers).status_code == 403
        assert browser.post(f"/api/v1{LEARN_ANEW}", json={"by": "Eve"}, headers=headers).status_code == 403
        assert httpx.post(rig.url + LEARN_ANEW, data=form).status_code == 403
        assert FreshStarts(rig.engine).list() == {}
        right = browser.post(LEARN_ANEW, data=form, headers={"origin": rig.url})
        assert (right.status_code, right.headers["location"]) == (303, f"/machines/{PUMP}")
    assert list(FreshStarts(rig.engine).list()) == [str(PUMP)]


def test_an_alert_of_a_repaired_machine_does_not_hide_that_it_learns(rig: PlantRig) -> None:
    """Nothing judges it, so nothing could clear the alert: once taken on, learning is what counts."""
    alert_id = raise_alert(rig)
    rig.observe(PUMP, state="learning", at_ns=time.time_ns() + 60 * SECOND, reason="learning")
    assert get(rig, "/api/v1/machines").json()[0]["attention"] == "alert"
    httpx.post(f"{rig.url}/api/v1/alerts/{alert_id}/acknowledge", json={"by": "Ada"})
    assert get(rig, "/api/v1/machines").json()[0]["attention"] == "learning"


def test_alerts_of_one_machine_are_listed_alone(seeded: PlantRig) -> None:
    """On a page of their own and over the API; what cannot be a machine is refused."""
    ours = get(seeded, f"/api/v1/alerts?machine={PUMP}").json()
    assert {alert["machine"] for alert in ours} == {str(PUMP)}
    assert len(get(seeded, "/api/v1/alerts").json()) > len(ours)
    page = get(seeded, f"/alerts?machine={PUMP}", **HTML).text
    assert "Alerts of Feed pump 7" in page
    assert "Air compressor 2" not in page
    assert "No alert so far" in get(seeded, f"/alerts?machine={FAN}", **HTML).text
    assert get(seeded, "/api/v1/alerts?machine=pump").status_code == 422


def test_looking_at_history_does_not_count_as_telling(rig: PlantRig) -> None:
    """The console reads digests; the mail about them still goes out."""
    rig.observe(PUMP, score=0.2)
    seed_history(rig)
    assert "2 episodes" in get(rig, f"/machines/{PUMP}", **HTML).text
    assert has_unposted(rig.engine)
    mark_alert_id = raise_alert(rig)
    assert mark_alert(rig, PUMP, 60.0) == mark_alert_id


def test_without_the_records_the_page_still_draws_its_charts(rig: PlantRig) -> None:
    """What the model knows is missing, with a word why; over the API it is 503."""
    rig.observe(PUMP, score=0.2)
    assert get(rig, f"/machines/{PUMP}", **HTML).status_code == 200
    with rig.engine.begin() as connection:
        connection.execute(text("DROP TABLE learning"))
    page = get(rig, f"/machines/{PUMP}", **HTML)
    assert page.status_code == 200
    assert "the records do not answer" in page.text
    assert 'id="score-plot"' in page.text
    assert get(rig, MODEL).status_code == 503
