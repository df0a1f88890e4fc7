"""What the model knows, in a real browser: readable on a desk and in a hand, followed, and acted upon."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs
from playwright.sync_api import Page, expect
from sqlalchemy import update

from cloud.alerts import Forecast
from cloud.alerts.tables import alert_table, write_alert
from cloud.alerts.verdicts import VerdictBook
from cloud.watch.drift import Drift
from cloud.watch.drift_book import DriftBook
from cloud.watch.versions import FreshStarts
from tests.integration.console_models import SECOND, seed_history, seed_models
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import FAN, MOTOR, PUMP, PlantRig

TIMEOUT_MS = 20_000


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Four machines: one with a model and a past, one that learns, one whose newest model is refused."""
    with serve_plant(tmp_path_factory.mktemp("plant"), seconds=300) as served:
        seed_models(served)
        seed_history(served)
        folder = "/var/lib/forewarn/bundles/riverside.hall-1.water.motor-3/20261123T010000.000000Z"
        served.book.note_models({MOTOR: f"{folder}/arrays.npz: was changed after training"})
        yield served


def open_machine(page: Page, address: str) -> None:
    """Open a machine's page and wait until it is drawn."""
    page.goto(address)
    page.wait_for_selector("body[data-charts=drawn]", timeout=TIMEOUT_MS)


def measure_overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


def test_a_machines_page_tells_what_its_model_knows(learned: PlantRig, watched: Any) -> None:
    """Grades with reasons, drift in words beside a gauge, the refit, and times of the reader's clock."""
    page = watched.page
    open_machine(page, f"{learned.url}/machines/{PUMP}")
    section = page.locator("#knowledge")
    expect(section.locator(".state-word")).to_have_text("Judged, limit provisional")
    expect(section).to_contain_text("challenger lost: found 2 of 3 past events")
    section.locator("summary", has_text="Tags").click()
    row = section.locator(".tag-knowledge li", has_text="Bearing temperature")
    expect(row.locator(".gauge-words")).to_have_text("0.31 refit advised")
    expect(section.locator(".tag-knowledge li", has_text="Ambient")).to_contain_text("not judged: always 21")
    assert not re.search(r"UTC|\d{4}-\d\d-\d\d", section.inner_text())
    assert measure_overflow(page) <= 0
    watched.check(learned.url)


def test_the_section_follows_the_records_and_stays_open(learned: PlantRig, watched: Any) -> None:
    """What is fetched anew replaces what is shown; what the reader opened stays open."""
    page = watched.page
    page.clock.install()
    open_machine(page, f"{learned.url}/machines/{PUMP}")
    page.locator("#knowledge summary", has_text="Models kept").click()
    DriftBook(learned.engine).put({str(PUMP): Drift({"flow": 0.02}, 0.01)}, 1_795_400_000 * SECOND)
    page.clock.run_for(21_000)
    expect(page.locator("#knowledge dd", has_text="Stable")).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.locator("#knowledge .version-list")).to_be_visible()
    watched.check(learned.url)


def test_learning_and_refusal_are_on_the_overview_of_a_phone(learned: PlantRig, phone: Any) -> None:
    """Progress in place of a score; the refused model leads to its alert; nothing is wider than the hand."""
    page = phone.page
    page.goto(learned.url)
    expect(page.locator("#link-words")).to_have_text("live", timeout=TIMEOUT_MS)
    fan = page.locator(f"#machines > li[data-path='{FAN}']")
    expect(fan.locator("[data-field=load]")).to_have_text("11 of 24 h")
    expect(page.locator("[data-plant=false_words]")).to_have_text("0 so far")
    assert measure_overflow(page) <= 0
    page.locator(f"#machines > li[data-path='{MOTOR}']").get_by_text("Newest model refused").click()
    expect(page.locator("main")).to_contain_text("was changed after training")
    for address in (f"/machines/{PUMP}", f"/machines/{FAN}", f"/machines/{MOTOR}"):
        open_machine(page, learned.url + address)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert measure_overflow(page) <= 0, address
    phone.check(learned.url)


def test_a_verdict_is_dated_by_the_readers_clock(learned: PlantRig, watched: Any) -> None:
    """Half past nine in Berlin is half past eight UTC; the alert then says how long it warned before."""
    page = watched.page
    alert = next(one for one in learned.book.list_alerts() if one.machine == PUMP)
    open_machine(page, f"{learned.url}/alerts/{alert.id}")
    expect(page.locator("form [data-zone]")).to_have_text("Europe/Berlin")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("radio", name="Real fault").check()
    page.get_by_label("Note").fill("bearing <b>replaced</b>")
    page.get_by_label("Failed or stopped at").fill("2030-01-15T09:30")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".found")).to_contain_text("Real fault: bearing <b>replaced</b>", timeout=TIMEOUT_MS)
    expect(page.locator(".found")).to_contain_text("before")
    verdict = VerdictBook(learned.engine).list_of([alert.id])[alert.id]
    assert verdict.failed_ns == 1_894_696_200 * SECOND
    page.get_by_role("link", name="Repaired? Have it learn anew").click()
    expect(page.get_by_role("button", name="Learn anew")).to_be_visible()
    watched.check(learned.url)


def test_a_repaired_machine_is_sent_to_learn(learned: PlantRig, watched: Any) -> None:
    """Only with a name and with the word that it was repaired; then the page shows that it learns anew."""
    page = watched.page
    open_machine(page, f"{learned.url}/machines/{MOTOR}")
    page.locator("summary", has_text="Repaired?").click()
    page.get_by_label("Your name").fill("Grace")
    page.get_by_role("button", name="Learn anew").click()
    assert FreshStarts(learned.engine).list() == {}
    page.get_by_label("The machine was repaired or changed").check()
    page.get_by_role("button", name="Learn anew").click()
    expect(page.locator("#knowledge dt", has_text="Learns anew")).to_be_visible(timeout=TIMEOUT_MS)
    assert list(FreshStarts(learned.engine).list()) == [str(MOTOR)]
    watched.check(learned.url)


def test_a_span_of_history_is_opened_from_its_line(learned: PlantRig, watched: Any) -> None:
    """The link of a digest, as its mail has it, shows that span and not the present."""
    page = watched.page
    open_machine(page, f"{learned.url}/machines/{PUMP}")
    page.locator("summary", has_text="Judged afterwards").click()
    expect(page.locator(".episodes")).to_contain_text("2 episodes, at most 3.42 × limit")
    link = page.locator(".episodes a").first
    asked = re.findall(r"\d{13}", link.get_attribute("href") or "")
    with page.expect_request(lambda request: "/charts?" in request.url and asked[0] in request.url):
        link.click()
    assert asked[1] in page.url
    page.get_by_role("link", name="Back to live").click()
    expect(page.get_by_role("button", name="5 min")).to_be_visible()
    watched.check(learned.url)


def test_instants_in_reasons_are_the_readers_too(learned: PlantRig, watched: Any) -> None:
    """Who gives a reason does not know where it is read: half past eight UTC is half past nine in Berlin."""
    learned.observe(FAN, state="cannot_judge", reason="no values since 2026-01-15 08:30:00 UTC")
    page = watched.page
    open_machine(page, f"{learned.url}/machines/{FAN}")
    for place in ("#verdict [data-field=reason]", "#knowledge [data-words]"):
        expect(page.locator(place)).to_have_text(re.compile(r"o values since .*09:30:00$"))
    page.goto(learned.url)
    reason = page.locator(f"#machines > li[data-path='{FAN}'] [data-field=reason]")
    expect(reason).to_have_text(re.compile("09:30:00$"), timeout=TIMEOUT_MS)
    watched.check(learned.url)


def test_a_forecast_is_told_by_the_readers_clock(learned: PlantRig, watched: Any) -> None:
    """The mail says it by the server's clock with its zone; on the page all times are of one clock."""
    alert = next(one for one in learned.book.list_alerts() if one.machine == PUMP)
    words = "bearing temperature reaches its fixed limit between 08:30 and 09:10 on 2026-01-15 (UTC)"
    first_ns, last_ns = 1_768_465_800 * SECOND, 1_768_468_200 * SECOND
    forecast = Forecast(first_ns, "fixed_limit", words, first_ns, last_ns)
    with learned.engine.begin() as connection:
        columns = write_alert(structs.replace(alert, forecast=forecast))
        connection.execute(update(alert_table).where(alert_table.c.id == alert.id).values(**columns))
    page = watched.page
    open_machine(page, f"{learned.url}/alerts/{alert.id}")
    told = page.locator("#forecast strong")
    expect(told).to_have_text(re.compile(r"fixed limit between .*09:30:00 and .*10:10:00$"))
    watched.check(learned.url)
