"""The console in a real browser: live, charts drawn, alerts acknowledged, no foreign script run."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from cloud.watch.observations import Contribution
from tests.integration.console_rig import COMPRESSOR, MOTOR, PUMP, SCRIPT_TAG, PlantRig

TIMEOUT_MS = 20_000


def list_shown(page: Page) -> list[str]:
    """Return the machines of the overview from top to bottom."""
    shown: list[str] = page.eval_on_selector_all("#machines > li", "items => items.map(i => i.dataset.path)")
    return shown


def open_charts(page: Page, address: str) -> None:
    """Open a page and wait until its charts have been drawn once."""
    page.goto(address)
    page.wait_for_selector("body[data-charts=drawn]", timeout=TIMEOUT_MS)
    page.wait_for_selector("#score-plot .plot-container", timeout=TIMEOUT_MS)


def read_traces(page: Page, selector: str) -> list[dict[str, Any]]:
    """Return name and number of points of each trace that Plotly draws."""
    traces: list[dict[str, Any]] = page.eval_on_selector(
        selector, "plot => plot.data.map(t => ({name: t.name, count: t.x.length}))"
    )
    return traces


def measure_span(address: str) -> float:
    """Return the milliseconds between `from` and `to` of an address, 0 where it has none."""
    asked = parse_qs(urlsplit(address).query)
    return float(asked["to"][0]) - float(asked["from"][0]) if "from" in asked else 0.0


def wait_until(page: Page, script: str) -> None:
    """Wait until `script` says true. Playwright's own way needs eval, which the console forbids its pages."""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def test_the_overview_shows_who_needs_somebody_first(plant: PlantRig, watched: Any) -> None:
    """The order of the API, the state in words beside its icon, and the plant line."""
    page = watched.page
    page.goto(plant.url)
    expect(page.locator("#link-words")).to_have_text("live", timeout=TIMEOUT_MS)
    assert list_shown(page)[:2] == [str(PUMP), str(COMPRESSOR)]
    first = page.locator("#machines > li").first
    expect(first.locator("[data-field=words]")).to_have_text("Alert")
    expect(first.locator("[data-field=icon]")).to_have_attribute("href", "#icon-alert")
    expect(page.locator("[data-plant=batches_missing]")).to_have_text("0")
    watched.check(plant.url)


def test_the_overview_follows_the_plant_without_reload(empty_plant: PlantRig, watched: Any) -> None:
    """Machines appear, one becomes strange and moves to the top; the page was loaded once."""
    page = watched.page
    page.goto(empty_plant.url)
    expect(page.locator("#empty")).to_be_visible()
    empty_plant.observe(MOTOR, score=0.2)
    empty_plant.observe(PUMP, score=0.2)
    expect(page.locator("#machines > li")).to_have_count(2, timeout=TIMEOUT_MS)
    expect(page.locator("#empty")).to_be_hidden()
    assert list_shown(page) == [str(MOTOR), str(PUMP)]
    page.locator("#machines a").first.focus()
    for second in range(20):
        part = Contribution("flow", 24.0, 31.0, -4.6)
        empty_plant.observe(PUMP, at_ns=time.time_ns() + second * 1_000_000_000, score=2.0, parts=[part])
    first = page.locator("#machines > li").first
    expect(first).to_have_attribute("data-attention", "alert", timeout=TIMEOUT_MS)
    expect(first.locator("[data-field=reason]")).to_contain_text(
        "Flow 24.0 m³/h, expected 31.0 (\u22124.6 σ)"
    )
    assert list_shown(page) == [str(PUMP), str(MOTOR)]
    expect(page.locator(f"#machines > li[data-path='{MOTOR}'] [data-field=link]")).to_be_focused()
    assert watched.addresses.count(f"{empty_plant.url}/") == 1
    watched.check(empty_plant.url)


def test_a_lost_connection_is_said_and_mends_itself(tmp_path: Path, watched: Any) -> None:
    """When the console goes away the page says since when; it never shows old figures as live."""
    rig = PlantRig(tmp_path)
    page = watched.page
    url = rig.start()
    page.goto(url)
    expect(page.locator("#link-words")).to_have_text("live", timeout=TIMEOUT_MS)
    rig.stop()
    expect(page.locator("#link-words")).to_contain_text("connection lost since", timeout=TIMEOUT_MS)
    expect(page.locator("#link-state")).to_have_attribute("data-state", "lost")
    again = PlantRig(tmp_path)
    again.start(int(url.rpartition(":")[2]))
    again.observe(MOTOR)
    expect(page.locator("#link-words")).to_have_text("live", timeout=TIMEOUT_MS)
    expect(page.locator("#machines > li")).to_have_count(1, timeout=TIMEOUT_MS)
    again.stop()


def test_the_machine_page_draws_its_charts(plant: PlantRig, watched: Any) -> None:
    """Score with its limit, each tag with band and expectation, the alert's line, and the range buttons."""
    page = watched.page
    open_charts(page, f"{plant.url}/machines/{PUMP}")
    assert page.evaluate("typeof Plotly.react") == "function"
    assert [trace["name"] for trace in read_traces(page, "#score-plot")] == ["score", "score", "limit"]
    worn = page.locator("#charts section").first
    expect(worn.locator("h2")).to_contain_text("Bearing temperature")
    expect(worn.locator(".sigma")).to_have_attribute("data-strange", "yes")
    traces = read_traces(page, "#charts section:first-child .plot")
    assert [trace["name"] for trace in traces] == ["low", "high", "expected", "measured"]
    assert min(trace["count"] for trace in traces) > 100
    shapes = page.eval_on_selector("#score-plot", "plot => plot.layout.shapes.map(s => s.type)")
    assert shapes == ["rect", "line"]
    expect(page.locator("#contributions li").first).to_contain_text("Bearing temperature")
    page.get_by_role("button", name="1 h").click()
    wait_until(page, "document.querySelector('#score-plot').data[0].x.length > 400")
    expect(page.get_by_role("button", name="1 h")).to_have_attribute("aria-pressed", "true")
    watched.check(plant.url)


def test_charts_follow_and_hover_together(plant: PlantRig, watched: Any) -> None:
    """The span moves on by itself; pointing at one chart points at the same instant in the others."""
    page = watched.page
    open_charts(page, f"{plant.url}/machines/{PUMP}")
    before = page.eval_on_selector("#score-plot", "plot => plot.layout.xaxis.range[1]")
    wait_until(page, f"document.querySelector('#score-plot').layout.xaxis.range[1] > {before}")
    box = page.locator("#score-plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.wait_for_selector("#charts section:first-child .hoverlayer .hovertext", timeout=TIMEOUT_MS)
    watched.check(plant.url)


def test_charts_and_zoom_go_by_the_readers_clock(plant: PlantRig, watched: Any) -> None:
    """The axis ends at the present as a clock in Berlin shows it; zooming asks for what was marked."""
    page = watched.page
    open_charts(page, f"{plant.url}/machines/{PUMP}")
    ticks = page.eval_on_selector_all("#score-plot .xtick text", "ticks => ticks.map(t => t.textContent)")
    hours = (
        datetime.now(ZoneInfo("Europe/Berlin")),
        datetime.now(ZoneInfo("Europe/Berlin")) - timedelta(minutes=5),
    )
    assert {tick[:2] for tick in ticks} <= {f"{hour:%H}" for hour in hours}
    before_ms = time.time() * 1000
    box = page.locator("#score-plot").bounding_box()
    middle = box["y"] + box["height"] * 0.5
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=5)
    with page.expect_request(lambda request: 0 < measure_span(request.url) < 290_000) as asked:
        page.mouse.up()
    assert 60_000 < measure_span(asked.value.url) < 180_000
    ends_ms = float(parse_qs(urlsplit(asked.value.url).query)["to"][0])
    assert before_ms - 180_000 < ends_ms < before_ms + 10_000
    watched.check(plant.url)


def test_an_alert_is_read_and_acknowledged(plant: PlantRig, watched: Any) -> None:
    """From the overview to the alert: what, what to check, the name, and the new state."""
    page = watched.page
    page.goto(plant.url)
    page.get_by_role("link", name="Feed pump 7").click()
    page.get_by_role("link", name="Open the alert").click()
    page.wait_for_selector("body[data-charts=drawn]", timeout=TIMEOUT_MS)
    expect(page.locator("h1")).to_have_text("Feed pump 7: bearing wear")
    expect(page.locator(".evidence")).to_contain_text("Bearing temperature")
    assert page.locator(".advice li").count() >= 3
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()  # no name, no acknowledgement
    page.get_by_label("Your name").fill("Ada <b>Lovelace</b>")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".history")).to_contain_text("Acknowledged by Ada <b>Lovelace</b>")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.goto(plant.url)
    expect(page.locator("#machines > li").first.locator("[data-field=words]")).to_have_text("Acknowledged")
    watched.check(plant.url)


def test_markup_in_a_tags_name_runs_nowhere(plant: PlantRig, watched: Any) -> None:
    """It is shown as text on every page, and nothing happens."""
    page = watched.page
    tag_alert = next(alert for alert in plant.book.list_alerts() if alert.kind == "tag")
    for path in ("/", "/alerts", f"/alerts/{tag_alert.id}", f"/machines/{COMPRESSOR}"):
        page.goto(plant.url + path)
        if "/machines/" in path or path.endswith(tag_alert.id):
            page.wait_for_selector("#charts section .plot-container", timeout=TIMEOUT_MS)
            box = page.locator("#charts section .plot").first.bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.get_by_text(SCRIPT_TAG).first).to_be_visible()
        page.wait_for_timeout(300)
    page.goto(f"{plant.url}/gateways")
    watched.check(plant.url)


@pytest.mark.parametrize("path", ["/", f"/machines/{PUMP}", "/alerts", "/gateways", "/ledger"])
def test_pages_fit_a_hand(plant: PlantRig, phone: Any, path: str) -> None:
    """Nothing is wider than the screen, and what is to be touched is large enough."""
    page = phone.page
    page.goto(plant.url + path)
    if "/machines/" in path:
        page.wait_for_selector("body[data-charts=drawn]", timeout=TIMEOUT_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    heights = page.eval_on_selector_all(
        "button, .button, nav a, .brand",
        "all => all.filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height)",
    )
    assert min(heights) >= 44
    phone.check(plant.url)


def test_pages_can_be_used_with_the_keyboard(plant: PlantRig, watched: Any) -> None:
    """The first stop leads past the menu; every control has a name."""
    page = watched.page
    page.goto(plant.url)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    nameless = page.eval_on_selector_all(
        "a, button, input:not([type=hidden])",
        "all => all.filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length",
    )
    assert nameless == 0
    watched.check(plant.url)
