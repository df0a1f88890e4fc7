"""When a machine failed, as far as its values tell: the first that passed a fixed limit after the alert."""

import numpy as np

from cloud.alerts import Alert
from cloud.machines import MachineCard
from cloud.stores import StoreReader, StoreUnavailable

LOOK_AHEAD_NS = 7 * 86_400_000_000_000


def find_failure(reader: StoreReader, card: MachineCard, alert: Alert, now_ns: int) -> int | None:
    """Return when a tag first passed its fixed limit after the alert was raised (nanoseconds), or None.

    Looked at are the seven days after the raise. While the store is away nobody knows.
    """
    limits = {tag: known.high for tag, known in card.tags.items() if known.high is not None}
    end_ns = min(now_ns, alert.raised_ns + LOOK_AHEAD_NS)
    if not limits or end_ns <= alert.raised_ns:
        return None
    try:
        table = reader.read("telemetry", alert.machine, alert.raised_ns, end_ns, sorted(limits))
    except StoreUnavailable:
        return None
    passed = [np.flatnonzero(column > limits[tag]) for tag, column in table.values.items() if tag in limits]
    rows = [int(where[0]) for where in passed if len(where)]
    return int(table.timestamps[min(rows)]) if rows else None
