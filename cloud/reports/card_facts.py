"""A bundle's card in a report: where a model comes from, what it rests on, what its limit promises."""

from collections.abc import Sequence

from cloud.alerts.words import say_time
from cloud.console.knowledge import find_promised
from cloud.console.words import say_number, say_rate, say_span
from cloud.reports.facts import Fact, VersionRow
from cloud.watch.versions import Version
from models.anomaly.bundle import Card
from models.words import say_duration

EXCLUSIONS_SHOWN_MAX = 10
DETECTOR_WORDS = {
    "fuse": "fuse: every tag against the others, slow drift, and distance to what was seen",
    "conditional": "conditional: every tag against the others",
}


def describe_card(card: Card, version: str, signer: str) -> list[Fact]:
    """Return what the model is, for somebody who must answer for it."""
    limit, steps = card.limit, [say_duration(rows * card.grid_s) for rows in card.windows.means]
    span_s = (card.last_ns - card.first_ns) / 1e9
    origin = card.origin
    return [
        Fact("Version", version, [f"trained {say_time(card.trained_ns)}"]),
        Fact(
            "Learned from",
            f"{say_time(card.first_ns)} to {say_time(card.last_ns)}",
            [
                f"{say_span(span_s)}, {card.rows} rows, one every {say_duration(card.grid_s)}",
                f"{limit.independent_windows} independent windows of {steps[-1]}",
            ],
        ),
        Fact("Left out of learning", _count_exclusions(card), _list_exclusions(card)),
        Fact("Refitted from", origin.parent or "nothing: it is the first of its line"),
        Fact("Confirmed events replayed", _count_replayed(card)),
        Fact("Method", DETECTOR_WORDS.get(card.detector, card.detector), [f"windows of {', '.join(steps)}"]),
        Fact("Ways of running", *_describe_running(card)),
        Fact(
            "Limit",
            say_number(limit.value),
            [
                f"held-out scores: half below {say_number(limit.quantiles['0.5'])}, "
                f"99 % below {say_number(limit.quantiles['0.99'])}",
            ],
        ),
        Fact("Signed by", f"key {signer}" if signer else "nobody: it is from before signatures"),
        Fact(
            "Made with",
            ", ".join(f"{name} {number}" for name, number in card.versions.items()),
            [f"training rows SHA-256 {card.training_sha256}"],
        ),
    ]


def describe_promise(card: Card) -> list[Fact]:
    """Return what the limit promises and what the rows held out of learning had."""
    promised = find_promised(card)
    details = []
    if card.promise is not None:
        low, high = card.promise.band
        details = [
            f"asked for: {say_rate(card.promise.asked)} a month",
            f"likely {say_rate(low)} to {say_rate(high)} (5 to 95 %)",
            f"what was learned from supports {say_number(card.promise.floor)} a month or more",
        ]
    if card.limit.provisional:
        details.append("provisional: too short a span to promise how rare false alarms will be")
    facts = [Fact("Promised", "" if promised is None else f"{say_rate(promised)} a month at most", details)]
    if card.realised is not None:
        facts.append(
            Fact(
                "On rows held out of learning",
                f"{say_rate(card.realised)} a month",
                [f"of {say_span(card.rows * card.grid_s)}; what the model had not seen when it judged them"],
            )
        )
    return facts


def describe_versions(versions: Sequence[Version]) -> list[VersionRow]:
    """Return the machine's models, the newest first."""
    return [
        VersionRow(
            name=one.name,
            is_current=one.is_current,
            trained=say_time(one.card.trained_ns) if one.card else "",
            learned_from=say_span((one.card.last_ns - one.card.first_ns) / 1e9) if one.card else "",
            limit=say_number(one.card.limit.value) if one.card else "",
            origin=one.card.origin.parent if one.card else "",
            trouble=one.trouble,
        )
        for one in reversed(versions)
    ]


def _count_exclusions(card: Card) -> str:
    spans = card.origin.exclusions
    if not spans:
        return "nothing"
    return f"{say_span(sum(last - first for first, last in spans) / 1e9)} near {len(spans)} alerts"


def _list_exclusions(card: Card) -> list[str]:
    spans = card.origin.exclusions
    shown = [f"{say_time(first)} to {say_time(last)}" for first, last in spans[-EXCLUSIONS_SHOWN_MAX:]]
    return shown if len(spans) <= EXCLUSIONS_SHOWN_MAX else [*shown, f"and {len(spans) - len(shown)} earlier"]


def _count_replayed(card: Card) -> str:
    replayed = card.origin.replayed
    if not replayed:
        return "none"
    return f"{sum(one.is_found for one in replayed)} of {len(replayed)} found again"


def _describe_running(card: Card) -> tuple[str, list[str]]:
    running = card.running
    if running is None:
        return "one", []
    return f"{len(running.numbers)}, told apart by {', '.join(map(str, running.conditions))}", [
        f"{running.describe(number)}: {rows} rows, limit {say_number(limit)}"
        for number, rows, limit in zip(running.numbers, running.rows, running.limits, strict=True)
    ]
