"""The pages for people: drawn by Jinja on the server, complete without a script."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.console import words
from cloud.console.api import ALERTS_MAX, NAME_CHARS_MAX, Machine, find_alert
from cloud.console.assets import link_asset
from cloud.console.overview import STATE_WORDS
from cloud.console.security import FormTokens, keep_visit, refuse_other_sites
from cloud.console.shapes import AlertSheet
from cloud.console.view import PlantView

FORM_BYTES_MAX = 4_096
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
    }
    environment.globals |= {"asset": link_asset, "state_words": STATE_WORDS, "now_ms": _now_ms}
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


def make_page_router(view: PlantView, pages: Pages) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def overview_page() -> Response:
        return pages.render("overview.html", page="plant")

    @router.get("/machines/{site}/{area}/{line}/{machine}")
    def machine_page(machine: Machine) -> Response:
        row = view.find_machine(machine)
        if row is None:
            raise HTTPException(404, f"No machine {machine} has sent anything yet.")
        facts = {"path": row.path, "from_ms": None, "to_ms": None, "tags": None}
        return pages.render("machine.html", page="machine", row=row, facts=facts)

    @router.get("/ledger")
    def ledger_page() -> Response:
        return pages.render("ledger.html", page="ledger", ledger=view.read_ledger())

    @router.get("/gateways")
    def gateways_page() -> Response:
        return pages.render("gateways.html", page="gateways", gateways=view.list_gateways())

    _add_alert_pages(router, view, pages)
    return router


def _add_alert_pages(router: APIRouter, view: PlantView, pages: Pages) -> None:
    tokens = FormTokens()

    @router.get("/alerts")
    def alerts_page() -> Response:
        return pages.render("alerts.html", page="alerts", alerts=view.list_alerts(ALERTS_MAX))

    @router.get("/alerts/{alert_id}")
    def alert_page(alert_id: str, request: Request) -> Response:
        sheet = find_alert(view, alert_id)
        visit, token = tokens.issue(request)
        page = pages.render(
            "alert.html", page="alert", alert=sheet, token=token, facts=_frame_alert(sheet, _now_ms())
        )
        keep_visit(page, visit)
        return page

    @router.post("/alerts/{alert_id}/acknowledge")
    def acknowledge(
        alert_id: str, request: Request, form: Annotated[dict[str, str], Depends(read_form)]
    ) -> Response:
        refuse_other_sites(request)
        if not tokens.is_ours(request, form.get("token", "")):
            raise HTTPException(
                403, "The page is older than the console's last start: go back, reload it, acknowledge again."
            )
        by = form.get("by", "").strip()
        if not 1 <= len(by) <= NAME_CHARS_MAX or not by.isprintable():
            raise HTTPException(422, f"Write your name (1 to {NAME_CHARS_MAX} characters) to acknowledge.")
        find_alert(view, alert_id)
        view.acknowledge(alert_id, by)
        return RedirectResponse(f"/alerts/{alert_id}", status_code=303)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form; raise 413 or 422 for anything else."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, "The form is too large.")
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=10, errors="strict")
    except ValueError as error:
        raise HTTPException(422, "The form cannot be read.") from error
    return {name: values[0] for name, values in fields.items()}


def _frame_alert(sheet: AlertSheet, now_ms: int) -> dict[str, Any]:
    """Return what the charts of an alert show: some minutes around its raise, moving while it is news."""
    to_ms = sheet.raised_ms + ALERT_AFTER_MS
    return {
        "path": sheet.machine,
        "from_ms": sheet.raised_ms - ALERT_BEFORE_MS,
        "to_ms": to_ms if to_ms < now_ms else None,
        "tags": [tag.tag for tag in sheet.tags],
    }
