"""The pages for people: drawn by Jinja on the server, complete without a script."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.alerts.findings import VERDICT_WORDS
from cloud.console import words
from cloud.console.api import ALERTS_MAX, Instant, Machine, OneMachine, find_alert, find_row
from cloud.console.assets import link_asset
from cloud.console.model_shapes import ModelSheet
from cloud.console.overview import STATE_WORDS
from cloud.console.security import FormTokens, keep_visit
from cloud.console.shapes import AlertSheet
from cloud.console.view import RECORDS_AWAY, PlantView
from models.telemetry import MachinePath

ALERT_BEFORE_MS = 240_000
ALERT_AFTER_MS = 240_000


def make_environment() -> Environment:
    """Return the templates. Everything that machines and people say is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.say_number,
        "count": words.say_count,
        "span": words.say_span,
        "sigma": words.say_sigma,
        "instant": say_instant,
        "rate": words.say_rate,
        "share": words.say_share,
    }
    environment.globals |= {"asset": link_asset, "state_words": STATE_WORDS, "now_ms": _now_ms}
    environment.globals |= {"verdict_words": VERDICT_WORDS}
    return environment


def say_instant(at_ms: int) -> str:
    """Return an instant for a browser without scripts; with them it becomes local time."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _now_ms() -> int:
    return int(time.time() * 1000)


class Pages:
    """Renders the templates, each with what every page shows."""

    def __init__(self, view: PlantView) -> None:
        self._view = view
        self._templates = make_environment()

    def render(self, name: str, status: int = 200, **facts: Any) -> HTMLResponse:
        """Return a page."""
        overview = self._view.overview()
        text = self._templates.get_template(name).render(overview=overview, **facts)
        return HTMLResponse(text, status_code=status)

    def render_error(self, status: int, headline: str, words: str) -> HTMLResponse:
        """Return a page that says what went wrong; it asks nothing of the plant."""
        text = self._templates.get_template("error.html").render(
            overview=None, status=status, headline=headline, words=words
        )
        return HTMLResponse(text, status_code=status)


def make_page_router(view: PlantView, pages: Pages, tokens: FormTokens) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def overview_page() -> Response:
        return pages.render("overview.html", page="plant")

    @router.get("/ledger")
    def ledger_page() -> Response:
        return pages.render("ledger.html", page="ledger", ledger=view.read_ledger())

    @router.get("/gateways")
    def gateways_page() -> Response:
        return pages.render("gateways.html", page="gateways", gateways=view.list_gateways())

    _add_machine_pages(router, view, pages, tokens)
    _add_alert_pages(router, view, pages, tokens)
    return router


def _add_machine_pages(router: APIRouter, view: PlantView, pages: Pages, tokens: FormTokens) -> None:
    @router.get("/machines/{site}/{area}/{line}/{machine}")
    def machine_page(
        machine: Machine,
        request: Request,
        from_ms: Annotated[Instant, Query(alias="from")] = None,
        to_ms: Annotated[Instant, Query(alias="to")] = None,
    ) -> Response:
        row = find_row(view, machine)
        visit, token = tokens.issue(request)
        facts = {"path": row.path, "from_ms": from_ms, "to_ms": to_ms, "tags": None}
        page = pages.render(
            "machine.html",
            page="machine",
            row=row,
            facts=facts,
            model=_read_kindly(view, machine),
            token=token,
        )
        keep_visit(page, visit)
        return page

    @router.get("/machines/{site}/{area}/{line}/{machine}/knowledge")
    def knowledge_part(machine: Machine) -> Response:
        row = find_row(view, machine)
        return pages.render("knowledge.html", row=row, model=view.read_model(machine))


def _read_kindly(view: PlantView, machine: MachinePath) -> ModelSheet | None:
    """Return what the model knows; None while the records are away: the charts do without them."""
    try:
        return view.read_model(machine)
    except RECORDS_AWAY:
        return None


def _add_alert_pages(router: APIRouter, view: PlantView, pages: Pages, tokens: FormTokens) -> None:
    @router.get("/alerts")
    def alerts_page(machine: OneMachine = None) -> Response:
        alerts = view.list_alerts(ALERTS_MAX, machine)
        return pages.render("alerts.html", page="alerts", alerts=alerts, machine=machine)

    @router.get("/alerts/{alert_id}")
    def alert_page(alert_id: str, request: Request) -> Response:
        sheet = find_alert(view, alert_id)
        visit, token = tokens.issue(request)
        page = pages.render(
            "alert.html", page="alert", alert=sheet, token=token, facts=_frame_alert(sheet, _now_ms())
        )
        keep_visit(page, visit)
        return page


def _frame_alert(sheet: AlertSheet, now_ms: int) -> dict[str, Any]:
    """Return what the charts of an alert show: some minutes around its raise, moving while it is news."""
    to_ms = sheet.raised_ms + ALERT_AFTER_MS
    return {
        "path": sheet.machine,
        "from_ms": sheet.raised_ms - ALERT_BEFORE_MS,
        "to_ms": to_ms if to_ms < now_ms else None,
        "tags": [tag.tag for tag in sheet.tags],
    }
