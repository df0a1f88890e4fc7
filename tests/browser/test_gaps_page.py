"""Gaps on a machine's page: shaded in the curves of their tags, listed below with what is known of them."""

import time
from typing import Any

from cloud.ingest.gaps import record_gaps
from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import Ledger
from cloud.ingest.sorting import Accepted
from models.link import LinkMessage
from models.telemetry import Batch, Gap
from tests.integration.console_rig import MOTOR, PlantRig, get

S = 1_000_000_000
WORDS = "opc.tcp://10.0.0.7 said <b>going down</b>"


def keep(rig: PlantRig, *gaps: Gap) -> None:
    """Put gaps of the motor into the records."""
    batch = Batch("pi-01", "e1", 7, [], list(gaps))
    letter = Delivery(LinkMessage("t", b"", 0, 1), 0, 0.0)
    ledger = Ledger(rig.engine)
    with ledger.begin() as connection:
        record_gaps(connection, [Accepted(letter, ("pi-01", "e1"), 7, MOTOR, batch, 0)])


def test_gaps_are_shown_where_they_lie(plant: PlantRig, watched: Any) -> None:
    """One of all tags stands in every curve, one of a tag in its own; the list says why and how many."""
    now_ns = time.time_ns()
    keep(
        plant,
        Gap(now_ns - 120 * S, now_ns - 90 * S, "connection_lost", filled=12, detail=WORDS),
        Gap(now_ns - 60 * S, now_ns - 59 * S, "overflow", ["current"], 37),
        Gap(now_ns - 9_000 * S, now_ns - 8_000 * S, "gateway_down"),
    )
    charts = get(plant, f"/api/v1/machines/{MOTOR}/charts").json()
    assert [(gap["reason"], gap["span"], gap["values_missing"]) for gap in charts["gaps"]] == [
        ("overflow", "1 s", 37),
        ("connection_lost", "30 s", None),
    ]
    page = watched.page
    page.goto(f"{plant.url}/machines/{MOTOR}")
    page.wait_for_selector("body[data-charts=drawn]")
    rows = page.locator("#gap-rows tr")
    assert rows.count() == 2
    assert "37" in rows.nth(0).inner_text()
    assert "12 filled from history" in rows.nth(1).inner_text()
    assert WORDS in rows.nth(1).inner_text(), "what a machine says is no markup"
    shaded = "element => element.layout.shapes.filter(shape => shape.type === 'rect').length"
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 4")
    plots = page.locator("#charts .chart-card")
    counts = {
        plots.nth(at).locator(".chart-name").inner_text(): plots.nth(at).locator(".plot").evaluate(shaded)
        for at in range(plots.count())
    }
    assert counts == {name: 2 if name == "Current" else 1 for name in counts}
    assert "Current" in counts
    watched.check(plant.url)
