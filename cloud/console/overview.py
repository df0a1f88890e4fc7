"""What the overview says of each machine: pure decisions over states, alerts and what the store knows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cloud.alerts import Alert
from cloud.alerts.words import say_pair
from cloud.console.model_shapes import LearningProgress, PlantModels
from cloud.console.shapes import Attention, GatewayRow, MachineRow, PlantLine
from cloud.console.sources import Cards, StateRow
from cloud.console.words import (
    name_false_alarms,
    name_forewarning,
    say_deviation,
    say_number,
    say_realised,
    say_span,
)
from cloud.machines import MachineCard
from models.telemetry import MachinePath

SILENT_AFTER_S = 30.0
NOTHING_LEARNED: Mapping[str, LearningProgress] = {}

STATE_WORDS = {
    Attention.ALERT: "Alert",
    Attention.ACKNOWLEDGED: "Acknowledged",
    Attention.TAG_FAULT: "Sensor fault",
    Attention.CANNOT_JUDGE: "Cannot judge",
    Attention.UNKNOWN_RUNNING: "Unknown running",
    Attention.LEARNING: "Learning",
    Attention.HEALTHY: "Healthy",
}


class Sighting(NamedTuple):
    """What is known of one machine at an instant; any part may be missing."""

    machine: MachinePath
    state: StateRow | None
    alert: Alert | None
    newest_ns: int | None
    standout: str = ""
    model_alert: Alert | None = None


def choose_alerts(alerts: Iterable[Alert]) -> dict[MachinePath, Alert]:
    """Return the open alert of each machine that has one; a model's is none of the machine."""
    chosen: dict[MachinePath, Alert] = {}
    for alert in alerts:
        if alert.kind == "model" or not alert.is_open:
            continue
        if alert.machine not in chosen or alert.kind == "machine":
            chosen[alert.machine] = alert
    return chosen


def find_attention(sighting: Sighting, now_ns: int) -> Attention:
    """Return how much a machine needs somebody. Silence is no health: old values cannot be judged."""
    alert, state = sighting.alert, sighting.state
    if alert is not None and alert.acknowledged_ns and state is not None and state.state == "learning":
        alert = None  # repaired: nothing judges it, so nothing could clear the alert
    if alert is not None and alert.kind == "machine":
        return Attention.ALERT if alert.acknowledged_ns is None else Attention.ACKNOWLEDGED
    if alert is not None or (state is not None and state.faulty):
        return Attention.TAG_FAULT
    if is_silent(sighting, now_ns):
        return Attention.CANNOT_JUDGE
    if state is None or state.state == "learning":
        return Attention.LEARNING
    if state.state == "unknown_running":
        return Attention.UNKNOWN_RUNNING
    return Attention.HEALTHY if state.state == "judged" else Attention.CANNOT_JUDGE


def is_silent(sighting: Sighting, now_ns: int) -> bool:
    """Return whether the newest value is too old to speak for the machine."""
    return sighting.newest_ns is not None and now_ns - sighting.newest_ns > SILENT_AFTER_S * 1e9


def say_reason(sighting: Sighting, attention: Attention, card: MachineCard, now_ns: int) -> str:
    """Say in one line why the machine has its state, the strongest tag first."""
    alert, state = sighting.alert, sighting.state
    if alert is not None and attention in (Attention.ALERT, Attention.ACKNOWLEDGED):
        return sighting.standout or say_alert(alert, card)
    if attention is Attention.TAG_FAULT:
        faulty = (state.faulty if state is not None else {}) or (alert.faulty_tags if alert else {})
        return "; ".join(f"{card.tag(tag).title}: {reason}" for tag, reason in faulty.items())
    if attention is Attention.CANNOT_JUDGE and is_silent(sighting, now_ns) and sighting.newest_ns is not None:
        return f"No value for {say_span((now_ns - sighting.newest_ns) / 1e9)}"
    if state is None:
        return "Values arrive; the model has not looked at them yet"
    if attention is Attention.HEALTHY:
        return f"Score {say_number(state.score)}, limit {say_number(state.limit)}"
    return state.reason


def say_alert(alert: Alert, card: MachineCard) -> str:
    """Say what stood out most when the alert was raised."""
    if not alert.contributions:
        return alert.summary
    top = alert.contributions[0]
    tag = card.tag(top.tag)
    return say_deviation(tag.title, tag.unit, say_pair(top.value, top.expected), top.sigma)


def make_row(
    sighting: Sighting,
    cards: Cards,
    spark: str,
    now_ns: int,
    learning: Mapping[str, LearningProgress] = NOTHING_LEARNED,
) -> MachineRow:
    """Return the overview's row of one machine; `learning` is how far learning has come, by path."""
    card, state = cards.of(sighting.machine), sighting.state
    attention = find_attention(sighting, now_ns)
    judged = state is not None and state.state == "judged"
    score = state.score if state is not None and judged else None
    limit = state.limit if state is not None and judged else None
    alert = sighting.alert
    progress = learning.get(str(sighting.machine)) if attention is Attention.LEARNING else None
    since_ns = alert.raised_ns if alert is not None else state.since_ns if state is not None else None
    return MachineRow(
        path=str(sighting.machine),
        title=card.title,
        attention=attention,
        words=STATE_WORDS[attention],
        reason=say_reason(sighting, attention, card, now_ns),
        score=score,
        limit=limit,
        load=round(score / limit, 3) if score is not None and limit else None,
        newest_ms=None if sighting.newest_ns is None else sighting.newest_ns // 1_000_000,
        since_ms=None if since_ns is None else since_ns // 1_000_000,
        alert_id=None if alert is None else alert.id,
        spark=spark,
        learned=None if progress is None else progress.share,
        learned_words="" if progress is None else progress.words,
        model_alert_id=None if sighting.model_alert is None else sighting.model_alert.id,
    )


def sort_rows(rows: Iterable[MachineRow]) -> list[MachineRow]:
    """Return the rows, those that need somebody first; among equals the longest unattended, then by path."""
    return sorted(
        rows,
        key=lambda row: (
            row.attention.rank,
            (row.since_ms or 0) if row.alert_id is not None else 0,
            row.path,
        ),
    )


def sum_plant(
    rows: Sequence[MachineRow], gateways: Sequence[GatewayRow], models: PlantModels | None = None
) -> PlantLine:
    """Return the line above all machines."""
    line = _sum_gateways(rows, gateways)
    if models is None:
        return line
    alarms = models.false_alarms
    return line.model_copy(
        update={
            "forewarning_s": models.forewarning.mean_s,
            "forewarning_words": models.forewarning.words or "–",
            "forewarning_terms": name_forewarning(models.forewarning.faults),
            "false_promised": alarms.promised,
            "false_realised": alarms.realised,
            "false_words": say_realised(alarms.realised, alarms.marked + alarms.unreviewed, alarms.months),
            "false_terms": name_false_alarms(alarms.promised),
        }
    )


def _sum_gateways(rows: Sequence[MachineRow], gateways: Sequence[GatewayRow]) -> PlantLine:
    known = [gateway.batches_missing for gateway in gateways if gateway.batches_missing is not None]
    online = sum(gateway.state == "online" for gateway in gateways)
    return PlantLine(
        machines=len(rows),
        needing_attention=sum(row.attention.needs_somebody for row in rows),
        gateways_online=online,
        gateways_offline=len(gateways) - online,
        values_stored=sum(gateway.values_stored for gateway in gateways),
        batches_missing=sum(known) if known else None,
    )


def join_sightings(
    states: Iterable[StateRow], opened: Sequence[Alert], newest_ns: Mapping[MachinePath, int]
) -> list[Sighting]:
    """Return one sighting per machine that the watcher or the store knows."""
    by_machine = {state.machine: state for state in states}
    alerts = choose_alerts(opened)
    of_models = {alert.machine: alert for alert in opened if alert.kind == "model" and alert.is_open}
    joined: list[Sighting] = []
    for machine in sorted({*by_machine, *newest_ns, *alerts, *of_models}):
        state = by_machine.get(machine)
        seen = [at for at in (newest_ns.get(machine), state.timestamp_ns if state else None) if at]
        newest = max(seen, default=None)
        joined.append(Sighting(machine, state, alerts.get(machine), newest, "", of_models.get(machine)))
    return joined
