"""Alerts as a report tells them: what stood out, who took them on, what was found, how early it was."""

from collections.abc import Sequence

from cloud.alerts import Alert
from cloud.alerts.crossings import Crossing
from cloud.alerts.verdicts import Verdict
from cloud.alerts.words import choose_blamed, say_pair, say_sigma, say_time
from cloud.console.words import say_number, say_span
from cloud.machines import MachineCard
from cloud.reports.facts import Bar, EventRow
from cloud.watch.observations import Contribution

KIND_WORDS = {"machine": "Machine", "tag": "Sensor", "model": "Model", "found": "Would have been told"}


def describe_event(
    alert: Alert, verdict: Verdict | None, card: MachineCard, crossed: Crossing | None, now_ns: int
) -> EventRow:
    """Return an alert's row; `crossed`: what passed its fixed limit after it."""
    ends_ns = now_ns if alert.cleared_ns is None else alert.cleared_ns
    return EventRow(
        kind=alert.kind,
        kind_words=KIND_WORDS[alert.kind],
        raised=say_time(alert.raised_ns),
        lasted=say_span((ends_ns - alert.raised_ns) / 1e9),
        is_open=alert.is_open,
        summary=alert.summary,
        peak=f"{say_number(alert.score_peak / alert.limit)} × limit" if alert.kind == "machine" else "",
        severity=alert.severity.words if alert.severity else "",
        forecast=alert.forecast.words if alert.forecast and alert.is_open else "",
        acknowledged=say_acknowledged(alert),
        verdict="" if verdict is None else verdict.describe(),
        forewarning=say_forewarning(alert, verdict, card, crossed),
        bars=draw_bars(alert.contributions, card),
    )


def say_acknowledged(alert: Alert) -> str:
    """Return who took the alert on, and when."""
    if alert.acknowledged_ns is None:
        return "nobody has acknowledged it"
    return f"acknowledged by {alert.acknowledged_by} {say_time(alert.acknowledged_ns)}"


def say_forewarning(
    alert: Alert, verdict: Verdict | None, card: MachineCard, crossed: Crossing | None
) -> str:
    """Return how long before the failure, or else before a fixed limit, the alert was raised."""
    if verdict is not None and verdict.kind == "real_fault" and verdict.failed_ns is not None:
        lead_s = (verdict.failed_ns - alert.raised_ns) / 1e9
        return f"{say_span(lead_s)} before it failed" if lead_s > 0 else "only after it had failed"
    if alert.kind != "machine" or not any(tag.high is not None for tag in card.tags.values()):
        return ""
    if crossed is None:
        return "no fixed limit was passed in it"
    return f"{say_span(crossed.lead_s)} before {card.tag(crossed.tag).title} passed its fixed limit"


def draw_bars(contributions: Sequence[Contribution], card: MachineCard) -> list[Bar]:
    """Return what stood out, the strongest first, each as long as its share of the strongest."""
    blamed = choose_blamed(contributions)
    strongest = max((abs(part.sigma) for part in blamed), default=0.0)
    rows = []
    for part in blamed:
        reads, should = say_pair(part.value, part.expected)
        said = card.tag(part.tag)
        words = f"{reads} {said.unit}".strip() + f", expected {should} {said.unit}".rstrip()
        rows.append(Bar(said.title, words, say_sigma(part.sigma), abs(part.sigma) / strongest))
    return rows
