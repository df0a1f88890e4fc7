"""Numbers, times and alerts in words: the sentences that people read in mails and on the console."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from cloud.machines import MachineCard
from cloud.watch.observations import Contribution

BLAME_RATIO = 1 / 3
"""A tag is blamed when its deviation is at least this share of the strongest one's."""


def choose_blamed(contributions: Sequence[Contribution]) -> list[Contribution]:
    """Return the contributions worth naming: the first, and those that come near the strongest."""
    strongest = max((abs(part.sigma) for part in contributions), default=0.0)
    return [
        part
        for index, part in enumerate(contributions)
        if index == 0 or abs(part.sigma) >= BLAME_RATIO * strongest
    ]


def summarise_machine(card: MachineCard, blamed: Sequence[Contribution]) -> str:
    """Return one sentence: what each blamed tag reads, and what it should read given the others."""
    if not blamed:
        return f"{card.title} does not behave as it used to; no single tag stands out"
    parts = [_describe_part(card, part) for part in blamed]
    return f"{_capital(join_words(parts))}, given the other tags"


def summarise_tags(card: MachineCard, faulty: dict[str, str]) -> str:
    """Return which tags cannot be believed, and why, as sentences without the last full stop."""
    parts = [f"{name_tag(card, tag)} cannot be believed: {reason}" for tag, reason in faulty.items()]
    return ". ".join(_capital(part) for part in parts)


def _describe_part(card: MachineCard, part: Contribution) -> str:
    tag = card.tag(part.tag)
    value, expected = say_pair(part.value, part.expected)
    reading = f"{value} {tag.unit}".strip()
    return f"{name_tag(card, part.tag)} {reading} (expected {expected}, {say_sigma(part.sigma)})"


def name_tag(card: MachineCard, tag: str) -> str:
    """Return a tag's title as it stands within a sentence: `bearing temperature`, but `RMS velocity`."""
    title = card.tag(tag).title
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def say_sigma(sigma: float) -> str:
    """Return a deviation as `+7.2 sigma`."""
    return f"{sigma:+.1f} sigma" if abs(sigma) < 1000 else f"{'+' if sigma > 0 else '-'}1000 sigma or more"


def say_number(value: float) -> str:
    """Return a number with about three digits that count: 1234, 61.3, 5.82, 0.0123."""
    return f"{value:.{_count_decimals(value)}f}" if math.isfinite(value) else "no number"


def say_pair(value: float, expected: float) -> tuple[str, str]:
    """Return two numbers of one quantity with the decimals that their difference needs: 5.8 and 2.1."""
    if not (math.isfinite(value) and math.isfinite(expected)) or value == expected:
        return say_number(value), say_number(expected)
    decimals = min(6, max(0, 1 - math.floor(math.log10(abs(value - expected)))))
    return f"{value:.{decimals}f}", f"{expected:.{decimals}f}"


def _count_decimals(value: float) -> int:
    if value == 0:
        return 1
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def say_time(timestamp_ns: int) -> str:
    """Return an instant in local time with its zone: `2026-11-23 03:15:02 CET`."""
    local = datetime.fromtimestamp(timestamp_ns // 1_000_000_000, UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"


def join_words(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
