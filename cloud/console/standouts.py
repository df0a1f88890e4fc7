"""What stands out on a machine right now, in words: read from the store for machines with an alert."""

from cloud.alerts.words import say_pair
from cloud.console.series import column_of, newest
from cloud.console.words import say_deviation
from cloud.machines import MachineCard
from cloud.stores import StoreReader, StoreUnavailable

LOOK_BACK_NS = 15_000_000_000


def find_standout(reader: StoreReader, card: MachineCard, at_ns: int) -> str:
    """Return the tag that is furthest from what is expected, or "" when the store does not tell."""
    span = (card.path, at_ns - LOOK_BACK_NS, at_ns + 1)
    try:
        sigmas = reader.read("contribution", *span)
        strengths = {tag: newest(column_of(sigmas, tag)) or 0.0 for tag in sigmas.values}
        if not strengths:
            return ""
        top = max(strengths, key=lambda tag: abs(strengths[tag]))
        expected = newest(column_of(reader.read("expected", *span, [top]), top))
        value = newest(column_of(reader.read("telemetry", *span, [top]), top))
    except StoreUnavailable:
        return ""
    if value is None or expected is None:
        return ""
    said = card.tag(top)
    return say_deviation(said.title, said.unit, say_pair(value, expected), strengths[top])
