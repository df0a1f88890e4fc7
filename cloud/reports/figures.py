"""The headlines of a report: what a person reads who reads nothing else. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from cloud.alerts import Alert
from cloud.alerts.crossings import Crossing
from cloud.console.model_shapes import ModelSheet
from cloud.console.words import say_count, say_number, say_rate, say_share, say_span
from cloud.reports.facts import Figure
from cloud.reports.series import Series
from models.anomaly.bundle import Card

CALM_STATES = ("judged", "provisional", "learning")


def find_mood(sheet: ModelSheet, alerts: Sequence[Alert]) -> str:
    """Return how the report's head looks: alarm, look or calm."""
    open_kinds = {alert.kind for alert in alerts if alert.is_open}
    if "machine" in open_kinds:
        return "alarm"
    return "look" if open_kinds or sheet.state not in CALM_STATES else "calm"


def say_verdict(sheet: ModelSheet, series: Series, alerts: Sequence[Alert]) -> str:
    """Return the report in a sentence or two."""
    about = [alert for alert in alerts if alert.kind == "machine"]
    open_now = next((alert for alert in about if alert.is_open), None)
    now = "" if open_now is None else f"It does not run as it used to: {open_now.summary}. "
    if not series.has_scores:
        why = sheet.refused or sheet.reason or (sheet.learning.words if sheet.learning else "")
        return f"{now}Nothing of this span was judged{f': {why}' if why else ''}."
    if not about:
        return f"No alert about the machine in this span: {say_watched_rows(series)}."
    acknowledged = sum(alert.acknowledged_ns is not None for alert in about)
    alerts_told = f"{len(about)} alert{'' if len(about) == 1 else 's'} about the machine in this span"
    return f"{now}{alerts_told}, {acknowledged} acknowledged."


def say_watched_rows(series: Series) -> str:
    """Return how much was judged, and how much of it was strange."""
    above = say_share(series.above / series.rows)
    return f"{say_count(series.rows)} rows judged, {above} of them above the limit"


def list_figures(sheet: ModelSheet, card: Card | None, crossings: Mapping[str, Crossing]) -> list[Figure]:
    """Return the headlines, the one that people ask for first."""
    shown = [_find_forewarning(sheet, crossings), _count_alarms(sheet), _count_grades(sheet)]
    if sheet.drift:
        shown.append(_find_drift(sheet))
    if card is not None:
        shown.append(describe_ground(card))
    elif sheet.learning is not None:
        shown.append(Figure("Learning", sheet.learning.words, "; ".join(sheet.learning.left_out)))
    return shown


def describe_ground(card: Card) -> Figure:
    """Return what the model's limit rests on."""
    windows = f"its limit rests on {say_count(card.limit.independent_windows)} independent windows"
    if card.limit.provisional:
        return Figure("Limit", "provisional", f"{windows}: let it learn longer", "look")
    return Figure("Limit", "calibrated", windows)


def _find_forewarning(sheet: ModelSheet, crossings: Mapping[str, Crossing]) -> Figure:
    if sheet.forewarning.faults:
        rests_on = f"before the failure, over {sheet.forewarning.faults} confirmed"
        return Figure("Average forewarning", sheet.forewarning.words, rests_on)
    if crossings:
        lead = fmean(one.lead_s for one in crossings.values())
        rests_on = f"before a fixed limit was passed, in {len(crossings)} of the alerts; no failure is dated"
        return Figure("Average forewarning", say_span(lead), rests_on)
    return Figure("Average forewarning", "–", "no failure is dated: say on the alert's page when it failed")


def _count_alarms(sheet: ModelSheet) -> Figure:
    found = sheet.false_alarms
    promised = "" if found.promised is None else f"promised: {say_rate(found.promised)} at most; "
    words = f"{promised}watched for {found.watched_words}"
    if found.realised is None:
        return Figure(
            "False alarms so far", str(found.marked + found.unreviewed), f"{words}, too short for a rate"
        )
    kept = found.promised is None or found.realised <= found.promised
    return Figure("False alarms a month", say_rate(found.realised), words, "calm" if kept else "look")


def _count_grades(sheet: ModelSheet) -> Figure:
    known = sum(sheet.grades.values())
    weak = [f"{sheet.grades[grade]} {grade}" for grade in ("medium", "low") if sheet.grades.get(grade)]
    words = "of the tags graded high" + (f"; {', '.join(weak)}" if weak else "")
    if not known:
        return Figure("Data", "–", "no tag is graded yet")
    mood = "look" if sheet.grades.get("low") else "calm"
    return Figure("Data", f"{sheet.grades.get('high', 0)} of {known}", words, mood)


def _find_drift(sheet: ModelSheet) -> Figure:
    worst = max((tag for tag in sheet.tags if tag.psi is not None), key=lambda tag: tag.psi or 0.0)
    words = f"most in {worst.title} (PSI {say_number(worst.psi)})"
    return Figure("Drift", sheet.drift, words, "look" if sheet.drift == "refit advised" else "calm")
