"""What the demo found, as JSON for a program and as lines for a person."""

import msgspec

from forewarn.demo.plan import Plan


class AlertSeen(msgspec.Struct, frozen=True):
    """One alert: `raised_s` seconds after the start of the demo; `kind` is machine or tag."""

    machine: str
    raised_s: float
    tags: list[str]
    kind: str


class Account(msgspec.Struct, frozen=True):
    """What the ledger says at the end, in values."""

    produced: int
    stored: int
    missing: int


class Summary(msgspec.Struct, frozen=True):
    """The demo in numbers. Every `_s` is seconds after its start; None where it did not happen."""

    values_produced: int
    values_stored: int
    values_missing: int
    alerts: list[AlertSeen]
    mails: int
    wear_begins_s: float | None
    failure_s: float | None
    forewarning_s: float | None
    threshold_would_fire_s: float | None
    outage_s: tuple[float, float] | None
    ready_s: float
    memory_mb_peak: float
    broker: str


def find_forewarning_s(alerts: list[AlertSeen], failure_s: float | None) -> float | None:
    """Return how long before the failure the first alert about a machine came, None without either."""
    raised = [alert.raised_s for alert in alerts if alert.kind == "machine"]
    if failure_s is None or not raised:
        return None
    return round(failure_s - min(raised), 3)


def tell_ending(summary: Summary, plan: Plan) -> list[str]:
    """Return the closing lines of the story."""
    lines = [
        f"{summary.values_produced} values produced, {summary.values_stored} stored, "
        f"{summary.values_missing} missing"
        + (", with the broker killed for 10 s on the way" if summary.outage_s else ""),
        f"{len(summary.alerts)} alert{'s' * (len(summary.alerts) != 1)}, "
        f"{summary.mails} mail{'s' * (summary.mails != 1)}; memory at most {summary.memory_mb_peak:.0f} MB",
    ]
    if plan.failure_s is not None and summary.forewarning_s is not None:
        lines.append(f"the warning came {summary.forewarning_s:.0f} s before the failure")
        lines.append(_compare_with_threshold(summary))
    elif plan.failure_s is not None and summary.failure_s is not None:
        lines.append("the machine failed WITHOUT a warning")
    return lines


def _compare_with_threshold(summary: Summary) -> str:
    fired, failure = summary.threshold_would_fire_s, summary.failure_s
    if fired is None or failure is None or fired >= failure:
        return "the usual fixed thresholds would not have fired before the failure"
    return f"the usual fixed thresholds would have fired {failure - fired:.0f} s before the failure"
