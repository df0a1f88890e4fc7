"""Alerts as a person reads them: a row in the list, a sheet with its evidence and its history."""

from collections.abc import Sequence

from cloud.alerts import Alert, AlertEvent, Forecast
from cloud.alerts.findings import Verdict
from cloud.alerts.words import say_pair
from cloud.console import shapes
from cloud.console.outlook_shapes import AlertForecast, AlertSeverity
from cloud.console.words import say_deviation
from cloud.machines import MachineCard
from cloud.notifiers.outbox import Notification

NS_PER_MS = 1_000_000
CHANGE_WORDS = {
    "raised": "Raised",
    "escalated": "Became a machine alert",
    "widened": "One more tag faulty",
    "acknowledged": "Acknowledged",
    "reviewed": "Reviewed",
    "cleared": "Cleared",
}


def make_row(alert: Alert, card: MachineCard, verdict: Verdict | None = None) -> shapes.AlertRow:
    """Return the alert's line in the list."""
    return shapes.AlertRow(
        id=alert.id,
        machine=str(alert.machine),
        machine_title=card.title,
        kind=alert.kind,
        state=find_state(alert),
        headline=alert.summary,
        raised_ms=alert.raised_ns // NS_PER_MS,
        cleared_ms=None if alert.cleared_ns is None else alert.cleared_ns // NS_PER_MS,
        acknowledged_by=alert.acknowledged_by or "",
        verdict=verdict.kind if verdict else "",
        note=verdict.note if verdict else "",
        failed_ms=verdict.failed_ns // NS_PER_MS if verdict and verdict.failed_ns is not None else None,
    )


def find_state(alert: Alert) -> str:
    """Return what a person must know first: cleared, or acknowledged, or raised."""
    if not alert.is_open:
        return "cleared"
    return "raised" if alert.acknowledged_ns is None else "acknowledged"


def make_sheet(
    alert: Alert,
    events: Sequence[AlertEvent],
    notices: Sequence[Notification],
    card: MachineCard,
    verdict: Verdict | None = None,
) -> shapes.AlertSheet:
    """Return everything about one alert."""
    row = make_row(alert, card, verdict)
    return shapes.AlertSheet(
        **row.model_dump(),
        score=None if alert.kind == "model" else alert.score,
        limit=None if alert.kind == "model" else alert.limit,
        cause=alert.cause,
        forecast=_make_forecast(alert.forecast) if alert.forecast else None,
        severity=AlertSeverity(grade=alert.severity.grade, words=alert.severity.words)
        if alert.severity
        else None,
        tags=[*_list_deviations(alert, card), *_list_faults(alert, card)],
        advice=list(alert.advice),
        history=[
            shapes.AlertEvent(
                at_ms=event.at_ns // NS_PER_MS,
                what=_name_change(alert, event),
                by=event.by,
                words=event.words,
            )
            for event in events
        ],
        notices=[_make_notice(one) for one in notices],
    )


def _name_change(alert: Alert, event: AlertEvent) -> str:
    is_models = alert.kind == "model" and event.change == "widened"
    return "Another reason" if is_models else CHANGE_WORDS[event.change]


def _make_forecast(told: Forecast) -> AlertForecast:
    earliest_ns, latest_ns = told.earliest_ns, told.latest_ns
    return AlertForecast(
        at_ms=told.at_ns // NS_PER_MS,
        basis=told.basis,
        words=told.words,
        earliest_ms=None if earliest_ns is None else earliest_ns // NS_PER_MS,
        latest_ms=None if latest_ns is None else latest_ns // NS_PER_MS,
    )


def _make_notice(told: Notification) -> shapes.AlertNotice:
    return shapes.AlertNotice(
        recipient=told.recipient,
        channel=told.channel,
        occasion=told.occasion,
        state=told.state,
        attempts=told.attempts,
        sent_ms=None if told.sent_ns is None else told.sent_ns // NS_PER_MS,
        words=told.words,
    )


def _list_deviations(alert: Alert, card: MachineCard) -> list[shapes.AlertTag]:
    rows: list[shapes.AlertTag] = []
    for part in alert.contributions:
        said = card.tag(part.tag)
        pair = say_pair(part.value, part.expected)
        rows.append(
            shapes.AlertTag(
                tag=part.tag,
                title=said.title,
                unit=said.unit,
                words=say_deviation(said.title, said.unit, pair, part.sigma),
                pair=pair,
                value=part.value,
                expected=part.expected,
                sigma=part.sigma,
            )
        )
    return rows


def _list_faults(alert: Alert, card: MachineCard) -> list[shapes.AlertTag]:
    return [
        shapes.AlertTag(
            tag=tag,
            title=card.tag(tag).title,
            unit=card.tag(tag).unit,
            words=f"{card.tag(tag).title}: {reason}",
            pair=None,
            value=None,
            expected=None,
            sigma=None,
        )
        for tag, reason in alert.faulty_tags.items()
    ]
