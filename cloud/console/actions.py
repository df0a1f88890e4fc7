"""What the crew can change: take an alert on, say what it was, have a repaired machine learn anew."""

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from cloud.console.api import Machine, find_alert, find_row
from cloud.console.forms import Acknowledgement, Form, FreshStart, check_form
from cloud.console.model_shapes import ModelSheet
from cloud.console.security import FormTokens, refuse_other_sites
from cloud.console.shapes import AlertSheet
from cloud.console.view import PlantView

STALE = "The page is older than the console's last start: go back, reload it, and try again."


def make_action_router(view: PlantView, tokens: FormTokens) -> APIRouter:
    """Return the routes that change something, for programs and for forms."""
    router = APIRouter()
    _add_for_programs(router, view)
    _add_for_forms(router, view, tokens)
    return router


def _add_for_programs(router: APIRouter, view: PlantView) -> None:
    @router.post("/api/v1/alerts/{alert_id}/acknowledge", tags=["alerts"])
    def acknowledge(alert_id: str, change: Acknowledgement, request: Request) -> AlertSheet:
        """Take an alert on, and say what it was where that is known.

        The first name stays; of verdicts the newest counts.
        """
        refuse_other_sites(request)
        find_alert(view, alert_id)
        view.acknowledge(alert_id, change)
        return find_alert(view, alert_id)

    @router.post("/api/v1/machines/{site}/{area}/{line}/{machine}/learn-anew", tags=["machines"])
    def learn_anew(machine: Machine, change: FreshStart, request: Request) -> ModelSheet:
        """Have a repaired machine learn anew: its models are kept, and none of them is in charge."""
        refuse_other_sites(request)
        find_row(view, machine)
        view.start_afresh(machine, change)
        return view.read_model(machine)


def _add_for_forms(router: APIRouter, view: PlantView, tokens: FormTokens) -> None:
    def check_sender(request: Request, form: dict[str, str]) -> None:
        refuse_other_sites(request)
        if not tokens.is_ours(request, form.get("token", "")):
            raise HTTPException(403, STALE)

    @router.post("/alerts/{alert_id}/acknowledge", include_in_schema=False)
    def acknowledge(alert_id: str, request: Request, form: Form) -> Response:
        check_sender(request, form)
        change = check_form(Acknowledgement, form, {"failed": "failed_ms"})
        find_alert(view, alert_id)
        view.acknowledge(alert_id, change)
        return RedirectResponse(f"/alerts/{alert_id}", status_code=303)

    @router.post("/machines/{site}/{area}/{line}/{machine}/learn-anew", include_in_schema=False)
    def learn_anew(machine: Machine, request: Request, form: Form) -> Response:
        check_sender(request, form)
        change = check_form(FreshStart, form, {"since": "since_ms"})
        find_row(view, machine)
        view.start_afresh(machine, change)
        return RedirectResponse(f"/machines/{machine}", status_code=303)
