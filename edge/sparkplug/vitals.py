"""How Sparkplug fares, for `/healthz`, `/metrics` and the status line."""

from typing import Any

import msgspec

from edge.sparkplug.host import HostState
from edge.sparkplug.settings import Custody
from edge.vitals.exposition import Metric


class SparkplugVitals(msgspec.Struct, frozen=True):
    """All at one moment. `promise`: who answers for the values, and what nobody does."""

    custody: Custody
    promise: str
    broker_connected: bool
    is_born: bool
    host_id: str
    host_state: HostState
    batches_waiting: int
    values_dropped_total: int
    values_merged_total: int
    births_total: int
    commands_rejected_total: int


def list_sparkplug_problems(vitals: SparkplugVitals) -> list[str]:
    """Return what is not as it should be, each in a line for a person."""
    if not vitals.broker_connected:
        return ["no connection to Sparkplug's broker: values wait"]
    if not vitals.is_born and vitals.host_id:
        said = "is offline" if vitals.host_state == "offline" else "has not said that it is online"
        return [f"the Sparkplug primary host {vitals.host_id!r} {said}: values wait"]
    return []


def render_sparkplug(vitals: SparkplugVitals) -> dict[str, Any]:
    """Return what `/healthz` says of it."""
    return {
        "custody": vitals.custody,
        "promise": vitals.promise,
        "broker_connected": vitals.broker_connected,
        "online": vitals.is_born,
        "primary_host": {"id": vitals.host_id, "state": vitals.host_state} if vitals.host_id else None,
        "batches_waiting": vitals.batches_waiting,
        "values_dropped_total": vitals.values_dropped_total,
    }


def list_sparkplug_metrics(vitals: SparkplugVitals) -> list[Metric]:
    """Return it as metrics."""
    gauges = {
        "connected": ("1 while the Sparkplug session stands", vitals.broker_connected),
        "online": ("1 while the edge node's births stand and values go out", vitals.is_born),
        "batches_waiting": ("Batches that wait to be sent, or sent again", vitals.batches_waiting),
    }
    counters = {
        "births_total": ("Births of the edge node", vitals.births_total),
        "dropped_values_total": (
            "Values that the copy in memory had no room for",
            vitals.values_dropped_total,
        ),
        "merged_values_total": (
            "Values left out where a tag had more than one in each millisecond",
            vitals.values_merged_total,
        ),
        "commands_rejected_total": ("Commands that were no payload", vitals.commands_rejected_total),
    }
    return [
        Metric(f"forewarn_sparkplug_{name}", "gauge", meaning, [({}, value)])
        for name, (meaning, value) in gauges.items()
    ] + [
        Metric(f"forewarn_sparkplug_{name}", "counter", meaning, [({}, value)])
        for name, (meaning, value) in counters.items()
    ]
