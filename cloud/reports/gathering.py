"""Gathers a machine's report from store, records and bundles; it only reads, while the cloud runs or not."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import msgspec
from sqlalchemy import Engine, or_, select

from cloud.alerts import Alert
from cloud.alerts.crossings import Crossing, find_crossing
from cloud.alerts.tables import alert_table, read_alert
from cloud.alerts.verdicts import VerdictBook
from cloud.alerts.words import say_time
from cloud.console.model_records import ModelRecords
from cloud.console.model_shapes import ModelSheet
from cloud.machines import CardBox, MachineCard
from cloud.reports.card_facts import describe_card, describe_promise, describe_versions
from cloud.reports.drawing import draw_scores, draw_strips
from cloud.reports.events import describe_event
from cloud.reports.facts import EventRow, Fact, Report, ScoreChart, TagRow
from cloud.reports.figures import find_mood, list_figures, say_verdict, say_watched_rows
from cloud.reports.series import Series, read_series
from cloud.settings import CloudSettings
from cloud.stores import StoredMachine, StoreReader
from cloud.transactions import begin_read
from cloud.watch.machine_states import MachineStates
from cloud.watch.training import say_known, say_outside
from cloud.watch.versions import Version, list_versions
from models.anomaly.bundle import BundleDamaged, Card, load_bundle
from models.anomaly.grid import step_ns
from models.errors import ForewarnError
from models.telemetry import MachinePath

DAY_NS = 86_400_000_000_000
ALERTS_MAX = 500
EVENTS_SHOWN_MAX = 15


class NothingToReport(ForewarnError):
    """The machine is not stored, or nothing of it in the span; the message says which there is."""

    exit_code = 2


class _Plant(msgspec.Struct, frozen=True):
    """Where a report's facts come from."""

    settings: CloudSettings
    reader: StoreReader
    engine: Engine


def gather_report(
    settings: CloudSettings, machine: MachinePath, begin_ns: int | None, end_ns: int | None, *, days: float
) -> Report:
    """Return the report of a machine from `begin_ns` to `end_ns`, of the last `days` where that is not said.

    Raises `NothingToReport`, `StoreUnavailable` and `RecordsUnavailable`.
    """
    reader = settings.store.build_reader()
    try:
        engine = settings.records.build()
        try:
            plant = _Plant(settings, reader, engine)
            stored = _find_stored(reader, machine)
            span = _find_span(stored, begin_ns, end_ns, days)
            return _gather(plant, stored, span)
        finally:
            engine.dispose()
    finally:
        reader.close()


def _gather(plant: _Plant, stored: StoredMachine, span: tuple[int, int]) -> Report:
    settings, machine = plant.settings, stored.machine
    named = CardBox(settings.machines).of(machine)
    versions = list_versions(settings.bundles, machine)
    current = next((one for one in versions if one.is_current and one.card), None)
    card = current.card if current else None
    tags, grid_s = (card.tags, card.grid_s) if card else (stored.tags, settings.watch.grid_s)
    series = read_series(plant.reader, machine, span, step_ns(grid_s), tags)
    shown = int(series.edges_ns[0]), span[1]
    alerts = _list_alerts(plant.engine, machine, shown)
    crossings = _find_crossings(plant.reader, alerts, named, span[1])
    sheet = _read_sheet(plant, named, alerts)
    units = (card.origin.units if card else {}) | {
        tag: one.unit for tag, one in named.tags.items() if one.unit
    }
    return Report(
        title=named.title,
        path=str(machine),
        made=say_time(span[1]),
        span=f"{say_time(shown[0])} to {say_time(shown[1])}",
        state=sheet.state_words,
        mood=find_mood(sheet, alerts),
        verdict=say_verdict(sheet, series, alerts),
        figures=list_figures(sheet, card, crossings),
        chart=_draw(series, alerts, span[1]),
        strips=draw_strips(series, {tag: named.tag(tag).title for tag in tags}),
        events=_describe_events(plant.engine, alerts, named, crossings, span[1]),
        events_left_out=max(0, len(alerts) - EVENTS_SHOWN_MAX),
        alarms=[*(describe_promise(card) if card else []), say_realised(sheet)],
        tags=_list_tags(sheet, card, units),
        card=describe_card(card, current.name, _find_signer(settings, current)) if card and current else [],
        versions=describe_versions(versions),
        history=sheet.history,
        forewarn=version("forewarn"),
    )


def say_realised(sheet: ModelSheet) -> Fact:
    """Return the false alarms that there were under watch, and what they are counted from."""
    found = sheet.false_alarms
    details = [
        f"{found.marked} marked false by somebody, {found.unreviewed} cleared that nobody took on",
        f"watched for {found.watched_words} in all",
    ]
    if found.realised is None:
        return Fact("Under watch", "too early to say", [*details, "a rate is told from three days on"])
    return Fact("Under watch", f"{found.realised:g} a month", details)


def _list_tags(sheet: ModelSheet, card: Card | None, units: Mapping[str, str]) -> list[TagRow]:
    """Return the tags; what nobody has graded since has the grade that it was learned with."""
    learned = card.grades if card else {}
    rows = []
    for known in sheet.tags:
        grade = None if known.grade else learned.get(known.tag)
        told = {} if grade is None else {"grade": grade.grade, "grade_reason": grade.reason}
        rows.append(TagRow(known.model_copy(update=told), units.get(known.tag, "")))
    return rows


def _find_stored(reader: StoreReader, machine: MachinePath) -> StoredMachine:
    stored = reader.list_machines()
    known = next((one for one in stored if one.machine == machine), None)
    if known is None:
        raise NothingToReport(f"no values of {machine} are stored; {say_known(stored)}")
    return known


def _find_span(
    stored: StoredMachine, begin_ns: int | None, end_ns: int | None, days: float
) -> tuple[int, int]:
    end = stored.last_ns + 1 if end_ns is None else min(end_ns, stored.last_ns + 1)
    begin = max(stored.first_ns, round(end - days * DAY_NS) if begin_ns is None else begin_ns)
    if begin >= end:
        raise NothingToReport(say_outside(stored, begin_ns or 0, 2**63 - 1 if end_ns is None else end_ns))
    return begin, end


def _list_alerts(engine: Engine, machine: MachinePath, span: tuple[int, int]) -> list[Alert]:
    """Return the alerts that were open at some time of the span, the newest first."""
    columns = alert_table.c
    query = (
        select(alert_table)
        .where(columns.machine == str(machine), columns.raised_ns < span[1])
        .where(or_(columns.cleared_ns.is_(None), columns.cleared_ns >= span[0]))
        .order_by(columns.raised_ns.desc())
        .limit(ALERTS_MAX)
    )
    with begin_read(engine) as connection:
        return [read_alert(row) for row in connection.execute(query)]


def _find_crossings(
    reader: StoreReader, alerts: Sequence[Alert], named: MachineCard, end_ns: int
) -> dict[str, Crossing]:
    """Return, by alert, the first tag that passed its fixed limit while it was open."""
    machines = [alert for alert in alerts[:EVENTS_SHOWN_MAX] if alert.kind == "machine"]
    found = {alert.id: find_crossing(reader, named, alert, end_ns) for alert in machines}
    return {alert_id: crossing for alert_id, crossing in found.items() if crossing is not None}


def _read_sheet(plant: _Plant, named: MachineCard, alerts: Sequence[Alert]) -> ModelSheet:
    settings = plant.settings
    states = MachineStates(plant.engine).list()
    state = next((one for one in states if one.machine == named.path), None)
    refused = next((one.summary for one in alerts if one.kind == "model" and one.is_open), "")
    records = ModelRecords(plant.engine, settings.bundles, settings.watch.learning)
    return records.read(named, state, refused)


def _draw(series: Series, alerts: Sequence[Alert], end_ns: int) -> ScoreChart | None:
    if not series.has_scores:
        return None
    spans = [
        (alert.raised_ns, alert.cleared_ns or end_ns, alert.kind)
        for alert in reversed(alerts)
        if alert.kind != "model"
    ]
    return draw_scores(series, spans, say_watched_rows(series))


def _describe_events(
    engine: Engine, alerts: Sequence[Alert], named: MachineCard, crossings: dict[str, Crossing], end_ns: int
) -> list[EventRow]:
    shown = alerts[:EVENTS_SHOWN_MAX]
    verdicts = VerdictBook(engine).list_of([alert.id for alert in shown])
    return [
        describe_event(alert, verdicts.get(alert.id), named, crossings.get(alert.id), end_ns)
        for alert in shown
    ]


def _find_signer(settings: CloudSettings, current: Version) -> str:
    try:
        return load_bundle(current.folder, settings.watch.locate_keys(settings.bundles)).signer
    except BundleDamaged as error:
        return f"nobody that is believed here: {error}"
