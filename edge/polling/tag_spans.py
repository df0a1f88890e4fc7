"""From when to when tags are missing that come back later than their machine, or were behind it. Pure."""

import msgspec

from models.telemetry import Gap

TagSpans = dict[tuple[int, int], list[str]]
"""First and last timestamp, both exclusive -> tags."""


class Return(msgspec.Struct):
    """A gap of a machine that has ended, while tags may still say their first value after it."""

    gap: Gap
    until_ns: int
    seen: set[str] = msgspec.field(default_factory=set)

    def find_spans(self, starts: dict[str, int], last_of: dict[str, int], lag_ns: int) -> TagSpans:
        """Return what lasted longer than the machine's gap: tags that were lost before, or come back later.

        `starts`: the first timestamps of tags that speak now; `last_of`: the last ones before.
        """
        gap = self.gap
        spans: TagSpans = {}
        ends = {tag: start for tag, start in starts.items() if tag not in self.seen}
        if lag_ns and not self.seen:
            ends = dict.fromkeys(last_of, gap.last) | ends
        for tag, end in ends.items():
            first = max(last_of.get(tag, gap.first), gap.first - lag_ns) if lag_ns else gap.first
            if end > first + 1 and (first < gap.first or end > gap.last):
                spans.setdefault((first, end), []).append(tag)
        self.seen |= starts.keys()
        return spans


def limit_spans(spans: TagSpans, spans_max: int) -> TagSpans:
    """Return the spans, those that are too many in groups of neighbours that each cover all of theirs."""
    if len(spans) <= spans_max:
        return spans
    ordered = sorted(spans)
    size = -(-len(ordered) // spans_max)
    grouped: TagSpans = {}
    for at in range(0, len(ordered), size):
        part = ordered[at : at + size]
        hull = (min(first for first, _ in part), max(last for _, last in part))
        grouped.setdefault(hull, []).extend(tag for span in part for tag in spans[span])
    return grouped
