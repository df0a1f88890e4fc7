"""The plant as the pages and the API read it: one place that asks the store, the alerts and the ledger."""

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from cloud.alerts import Alert, UnknownAlert
from cloud.alerts.crossings import find_crossing
from cloud.alerts.findings import Verdict, VerdictKind
from cloud.console import sheets
from cloud.console.charts import Window, read_charts, read_series
from cloud.console.forms import Acknowledgement, FreshStart
from cloud.console.history import ScoreHistory
from cloud.console.ledger_shapes import LedgerSheet
from cloud.console.model_shapes import ModelSheet
from cloud.console.overview import Sighting, join_sightings, make_row, sort_rows, sum_plant
from cloud.console.shapes import (
    AlertRow,
    AlertSheet,
    GatewayRow,
    Health,
    MachineCharts,
    MachineRow,
    Overview,
    PartHealth,
    Series,
)
from cloud.console.sources import Alerts, Cards, Gaps, Gateways, Ledgers, Models, Notices, Parts, States
from cloud.console.standouts import find_standout
from cloud.stores import Measurement, StoreReader, StoreUnavailable
from cloud.transactions import RecordsUnavailable
from models.telemetry import MachinePath

NS_PER_MS = 1_000_000
OVERVIEW_S = 0.9
STORE_LOOK_S = 5.0
ALERTS_OPEN_MAX = 10_000
MARKS_MAX = 200
STANDOUTS_MAX = 20
RECORDS_AWAY = (RecordsUnavailable, DBAPIError)


class PlantView:
    """Everything that people see. All methods block: call them in a thread. Safe from many threads."""

    def __init__(
        self,
        *,
        reader: StoreReader,
        alerts: Alerts,
        notices: Notices,
        states: States,
        cards: Cards,
        gateways: Gateways,
        gaps: Gaps,
        ledgers: Ledgers,
        models: Models,
        parts: Parts,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._alerts = alerts
        self._notices = notices
        self._states = states
        self._cards = cards
        self._gateways = gateways
        self._gaps = gaps
        self._ledgers = ledgers
        self._models = models
        self._parts = parts
        self._now_ns = now_ns
        self._history = ScoreHistory(reader)
        self._lock = threading.Lock()
        self._overview: Overview | None = None
        self._overview_at_ns = 0
        self._newest_ns: dict[MachinePath, int] = {}
        self._newest_at_ns = 0
        self._trouble = ""

    def overview(self) -> Overview:
        """Return the plant now. Everybody who looks within a second sees the same picture."""
        with self._lock:
            now_ns = self._now_ns()
            if self._overview is None or not 0 <= now_ns - self._overview_at_ns < OVERVIEW_S * 1e9:
                self._overview = self._look_kindly(now_ns)
                self._overview_at_ns = now_ns
            return self._overview

    def find_machine(self, machine: MachinePath) -> MachineRow | None:
        """Return the row of one machine, or None when nobody knows it."""
        path = str(machine)
        return next((row for row in self.overview().machines if row.path == path), None)

    def read_series(self, machine: MachinePath, measurement: Measurement, window: Window) -> Series:
        """Return one measurement of a machine, thinned; raise `StoreUnavailable`."""
        return read_series(self._reader, machine, measurement, window)

    def read_charts(self, machine: MachinePath, window: Window) -> MachineCharts:
        """Return what the machine page draws; raise `StoreUnavailable`."""
        alerts = self._alerts.list_alerts(machine=machine, limit=MARKS_MAX)
        charts = read_charts(self._reader, self._cards.of(machine), alerts, window)
        gaps = self._gaps.list_between(machine, window.from_ms, window.to_ms)
        return charts.model_copy(update={"gaps": list(gaps)})

    def list_alerts(self, limit: int, machine: MachinePath | None = None) -> list[AlertRow]:
        """Return the newest alerts, of one machine or of all, open ones first."""
        opened = self._alerts.list_alerts(open_only=True, machine=machine, limit=limit)
        newest = self._alerts.list_alerts(machine=machine, limit=limit)
        alerts = {alert.id: alert for alert in [*opened, *newest]}
        verdicts = self._models.list_verdicts(alerts)
        rows = [
            sheets.make_row(alert, self._cards.of(alert.machine), verdicts.get(alert.id))
            for alert in alerts.values()
        ]
        return rows[:limit]

    def find_alert(self, alert_id: str) -> AlertSheet | None:
        """Return everything about one alert, or None when there is none of that id."""
        try:
            alert = self._alerts.get(alert_id)
        except UnknownAlert:
            return None
        events, notices = self._alerts.list_events(alert_id), self._notices.list_of(alert_id)
        verdict = self._models.list_verdicts([alert_id]).get(alert_id)
        return sheets.make_sheet(alert, events, notices, self._cards.of(alert.machine), verdict)

    def acknowledge(self, alert_id: str, change: Acknowledgement) -> None:
        """Note who takes an alert on, and what it was where that is known; raise `UnknownAlert`."""
        self._alerts.acknowledge(alert_id, change.by)
        if change.verdict is not None:
            self._judge(self._alerts.get(alert_id), change.verdict, change)
        self._forget()

    def _judge(self, alert: Alert, kind: VerdictKind, change: Acknowledgement) -> None:
        now_ns = self._now_ns()
        failed_ns = None if change.failed_ms is None else change.failed_ms * NS_PER_MS
        if failed_ns is None and kind == "real_fault":
            before = self._models.list_verdicts([alert.id]).get(alert.id)
            failed_ns = before.failed_ns if before is not None else None
            # Who corrects a note does not mean to take the date away.
            failed_ns = failed_ns or self._find_crossing_ns(alert, now_ns)
        self._models.judge_alert(alert.id, Verdict(kind, change.note, change.by, now_ns, failed_ns))

    def _find_crossing_ns(self, alert: Alert, now_ns: int) -> int | None:
        """Return when the machine failed as far as its values tell; while the store is away nobody knows."""
        try:
            crossed = find_crossing(self._reader, self._cards.of(alert.machine), alert, now_ns)
        except StoreUnavailable:
            return None
        return None if crossed is None else crossed.at_ns

    def read_model(self, machine: MachinePath) -> ModelSheet:
        """Return what is known of a machine's model; raise `RecordsUnavailable`."""
        state = next((one for one in self._states.list() if one.machine == machine), None)
        opened = self._alerts.list_alerts(open_only=True, machine=machine)
        refused = next((alert.summary for alert in opened if alert.kind == "model"), "")
        if not refused and state is not None and state.state == "judged":
            refused = f"The newest model cannot take charge: {state.reason}" if state.reason else ""
        return self._models.read(self._cards.of(machine), state, refused)

    def start_afresh(self, machine: MachinePath, change: FreshStart) -> None:
        """Have a repaired machine learn anew; what it said before counts no more."""
        since_ns = self._now_ns() if change.since_ms is None else change.since_ms * NS_PER_MS
        self._models.start_afresh(machine, since_ns, change.by)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._overview = None  # whoever clicked sees it at once

    def list_gateways(self) -> list[GatewayRow]:
        """Return the account of every gateway."""
        return list(self._gateways.list_gateways())

    def read_ledger(self) -> LedgerSheet:
        """Return what the records prove of every gateway's values; raise `RecordsUnavailable`."""
        return self._ledgers.read()

    def check_health(self) -> Health:
        """Return how every part fares; the store is asked in earnest."""
        parts = [*self._parts.list_parts(), self._check_store()]
        degraded = any(part.degraded for part in parts)
        return Health(ok=all(part.ok for part in parts), degraded=degraded, parts=parts)

    def render_metrics(self) -> bytes:
        """Return our own counters in Prometheus' text format."""
        return self._parts.render_metrics()

    def _look_kindly(self, now_ns: int) -> Overview:
        """Return the plant now; while the records are away what was seen last, and why it is old."""
        try:
            return self._look(now_ns)
        except RECORDS_AWAY as error:
            trouble = f"The records do not answer, what you see may be old: {error}"
            before = self._overview or Overview(
                at_ms=now_ns // 1_000_000, plant=sum_plant([], []), machines=[]
            )
            return before.model_copy(update={"trouble": trouble})

    def _look(self, now_ns: int) -> Overview:
        states = self._states.list()
        opened = self._alerts.list_alerts(open_only=True, limit=ALERTS_OPEN_MAX)
        models = self._models.sum_up(states)
        self._look_at_store(now_ns)
        sightings = self._add_standouts(join_sightings(states, opened, self._newest_ns))
        for state in states:
            self._history.note(state, now_ns)
        self._history.forget_others({sighting.machine for sighting in sightings})
        rows = sort_rows(
            make_row(
                sighting, self._cards, self._history.draw(sighting.machine, now_ns), now_ns, models.learning
            )
            for sighting in sightings
        )
        plant = sum_plant(rows, self._gateways.list_gateways(), models)
        trouble = self._trouble or "; ".join(self._list_alarms())
        return Overview(at_ms=now_ns // 1_000_000, plant=plant, machines=rows, trouble=trouble)

    def _list_alarms(self) -> list[str]:
        return [f"{part.part}: {part.state}" for part in self._parts.list_parts() if part.degraded]

    def _add_standouts(self, sightings: list[Sighting]) -> list[Sighting]:
        """Say what stands out now on machines with an alert: of the others nobody asks."""
        strange = [one for one in sightings if one.alert is not None and one.alert.kind == "machine"]
        told = {
            one.machine: find_standout(self._reader, self._cards.of(one.machine), one.state.timestamp_ns)
            for one in strange[:STANDOUTS_MAX]
            if one.state is not None
        }
        return [one._replace(standout=told.get(one.machine, "")) for one in sightings]

    def _look_at_store(self, now_ns: int) -> None:
        """Ask the store now and then which machines there are: one without a judgement stands only there."""
        if 0 <= now_ns - self._newest_at_ns < STORE_LOOK_S * 1e9:
            return
        self._newest_at_ns = now_ns
        try:
            self._newest_ns = {row.machine: row.last_ns for row in self._reader.list_machines()}
            self._trouble = ""
        except StoreUnavailable as error:
            self._trouble = f"The store does not answer, what you see may be old: {error}"

    def _check_store(self) -> PartHealth:
        try:
            machines = len(self._reader.list_machines())
        except StoreUnavailable as error:
            return PartHealth(part="store", ok=False, state=str(error))
        return PartHealth(part="store", ok=True, state=f"answers, {machines} machines")
