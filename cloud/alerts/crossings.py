"""What passed its fixed limit after an alert: until when it forewarned, where nobody has said more."""

import msgspec
import numpy as np

from cloud.alerts import Alert
from cloud.machines import MachineCard
from cloud.stores import StoreReader

LOOK_NS_MAX = 14 * 86_400_000_000_000
PIECE_NS = 3_600_000_000_000


class Crossing(msgspec.Struct, frozen=True):
    """The first tag above its fixed limit after an alert: when (nanoseconds), and seconds after the raise."""

    tag: str
    at_ns: int
    lead_s: float


def find_crossing(reader: StoreReader, card: MachineCard, alert: Alert, now_ns: int) -> Crossing | None:
    """Return the first tag that passed its fixed limit while an alert was open; None when none did.

    Looked at in pieces, two weeks at most. Raises `StoreUnavailable`.
    """
    highs = {tag: known.high for tag, known in card.tags.items() if known.high is not None}
    ends_ns = min(alert.cleared_ns or now_ns, alert.raised_ns + LOOK_NS_MAX)
    if not highs:
        return None
    for first in range(alert.raised_ns, ends_ns, PIECE_NS):
        table = reader.read("telemetry", alert.machine, first, min(first + PIECE_NS, ends_ns), sorted(highs))
        found = [
            (int(table.timestamps[np.argmax(table.values[tag] > high)]), tag)
            for tag, high in highs.items()
            if tag in table.values and (table.values[tag] > high).any()
        ]
        if found:
            at_ns, tag = min(found)
            return Crossing(tag, at_ns, (at_ns - alert.raised_ns) / 1e9)
    return None
