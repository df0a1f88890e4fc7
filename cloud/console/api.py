"""The JSON API of the console, described by OpenAPI."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from cloud.console.charts import Window
from cloud.console.forms import MS_MAX
from cloud.console.ledger_shapes import LedgerSheet
from cloud.console.model_shapes import ModelSheet
from cloud.console.series import POINTS_MAX
from cloud.console.shapes import (
    AlertRow,
    AlertSheet,
    GatewayRow,
    Health,
    MachineCharts,
    MachineRow,
    Overview,
    Series,
)
from cloud.console.view import PlantView
from cloud.stores import Measurement
from models.telemetry import MachinePath, TopicRejected

SPAN_MS_DEFAULT = 300_000
SPAN_MS_MAX = 366 * 86_400_000
ALERTS_MAX = 500

Instant = Annotated[int | None, Query(ge=0, le=MS_MAX, description="milliseconds since 1970 UTC")]
Points = Annotated[int, Query(ge=2, le=POINTS_MAX)]


def parse_machine(site: str, area: str, line: str, machine: str) -> MachinePath:
    """Return the path in an address; 404 when it cannot be one."""
    try:
        return MachinePath.parse(f"{site}/{area}/{line}/{machine}")
    except TopicRejected as error:
        raise HTTPException(404, str(error)) from error


def choose_window(
    from_ms: Annotated[Instant, Query(alias="from")] = None,
    to_ms: Annotated[Instant, Query(alias="to")] = None,
    points: Points = 600,
) -> Window:
    """Return the window asked for; without one, the last five minutes."""
    end = int(time.time() * 1000) if to_ms is None else to_ms
    start = end - SPAN_MS_DEFAULT if from_ms is None else from_ms
    if not 0 <= end - start <= SPAN_MS_MAX:
        raise HTTPException(422, "from must not be after to, and not more than 366 days before it")
    return Window(max(0, start), end, points)


def choose_machine(
    machine: Annotated[str | None, Query(description="site/area/line/machine: only its alerts")] = None,
) -> MachinePath | None:
    """Return the machine asked for, None for all; 422 when it cannot be one."""
    if machine is None:
        return None
    try:
        return MachinePath.parse(machine)
    except TopicRejected as error:
        raise HTTPException(422, str(error)) from error


OneMachine = Annotated[MachinePath | None, Depends(choose_machine)]
Machine = Annotated[MachinePath, Depends(parse_machine)]
ChosenWindow = Annotated[Window, Depends(choose_window)]


def make_api_router(view: PlantView) -> APIRouter:
    """Return the routes of machines, alerts and gateways."""
    router = APIRouter(prefix="/api/v1")
    _add_machines(router, view)
    _add_alerts(router, view)

    @router.get("/gateways", tags=["gateways"])
    def list_gateways() -> list[GatewayRow]:
        """Every gateway's account: produced, stored, waiting, missing; and its machines' links."""
        return view.list_gateways()

    @router.get("/ledger", tags=["gateways"])
    def read_ledger() -> LedgerSheet:
        """Where every value is: stored, waiting, dead-lettered, dropped or missing; gaps; the read-back."""
        return view.read_ledger()

    return router


def _add_machines(router: APIRouter, view: PlantView) -> None:
    @router.get("/overview", tags=["machines"])
    def overview() -> Overview:
        """The plant line and every machine, those that need somebody first."""
        return view.overview()

    @router.get("/machines", tags=["machines"])
    def machines() -> list[MachineRow]:
        """Every machine, those that need somebody first."""
        return view.overview().machines

    @router.get("/machines/{site}/{area}/{line}/{machine}/series", tags=["machines"])
    def series(machine: Machine, window: ChosenWindow, measurement: Measurement = "telemetry") -> Series:
        """One measurement of a machine, each column thinned to its lows and highs."""
        return view.read_series(machine, measurement, window)

    @router.get("/machines/{site}/{area}/{line}/{machine}/charts", tags=["machines"])
    def charts(machine: Machine, window: ChosenWindow) -> MachineCharts:
        """Everything that the machine page draws: curves, normal bands, score, limit, alert marks."""
        return view.read_charts(machine, window)

    @router.get("/machines/{site}/{area}/{line}/{machine}/model", tags=["machines"])
    def model(machine: Machine) -> ModelSheet:
        """What the machine's model knows: learning, version, promise, grades, drift, refits, history."""
        find_row(view, machine)
        return view.read_model(machine)


def _add_alerts(router: APIRouter, view: PlantView) -> None:
    @router.get("/alerts", tags=["alerts"])
    def alerts(
        machine: OneMachine = None, limit: Annotated[int, Query(ge=1, le=ALERTS_MAX)] = 100
    ) -> list[AlertRow]:
        """The newest alerts, open ones first."""
        return view.list_alerts(limit, machine)

    @router.get("/alerts/{alert_id}", tags=["alerts"])
    def alert(alert_id: str) -> AlertSheet:
        """Everything about one alert."""
        return find_alert(view, alert_id)


def find_row(view: PlantView, machine: MachinePath) -> MachineRow:
    """Return the row of a machine; 404 when nobody knows it."""
    row = view.find_machine(machine)
    if row is None:
        raise HTTPException(404, f"No machine {machine} has sent anything yet.")
    return row


def find_alert(view: PlantView, alert_id: str) -> AlertSheet:
    """Return an alert; 404 when there is none of that id."""
    sheet = view.find_alert(alert_id)
    if sheet is None:
        raise HTTPException(404, f"There is no alert {alert_id[:80]!r}.")
    return sheet


def make_health_router(view: PlantView) -> APIRouter:
    """Return `/healthz` and `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    def healthz(response: Response) -> Health:
        """Whether every part works; 503 when the ingester or the store does not.

        200 and `degraded` where values are missing in the store: an alarm, but nothing that a restart mends.
        """
        health = view.check_health()
        response.status_code = 200 if health.ok else 503
        return health

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Our own counters in Prometheus' text format."""
        return Response(view.render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
