"""Figures and spans of time as a plant engineer says them."""

import math

_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
SPANS_TWO_PART_FROM_S = 60.0


def say_number(value: float | None) -> str:
    """Return `value` with three to four significant figures, and no exponent for what a plant measures."""
    if value is None or math.isnan(value):
        return "–"
    size = abs(value)
    if size and (size >= 1e9 or size < 1e-4):
        return f"{value:.3g}"
    if size >= 1_000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if size >= 100:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def say_count(count: int) -> str:
    """Return a whole number in groups of three."""
    return f"{count:,}".replace(",", "\u202f")


def say_span(seconds: float) -> str:
    """Return a span in words: "12 s", "3 min 20 s", "2 h 5 min", "4 d 1 h"."""
    left = max(0.0, seconds)
    for index, (size, unit) in enumerate(_SPANS):
        if left >= size:
            whole = int(left // size)
            rest = left - whole * size
            if size >= SPANS_TWO_PART_FROM_S:
                smaller, smaller_unit = _SPANS[index + 1]
                part = int(rest // smaller)
                return f"{whole} {unit} {part} {smaller_unit}" if part else f"{whole} {unit}"
            return f"{whole} {unit}"
    return "0 s"


def say_share(share: float) -> str:
    """Return a share in per cent with the digits that count: 0.3 %, 12 %."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def say_rate(rate: float) -> str:
    """Return a rate with the digits that count: 0.4, 1, 44."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}".removesuffix(".0")


def name_forewarning(faults: int) -> str:
    """Return what the average forewarning time rests on."""
    rests_on = f", {faults} real fault{'' if faults == 1 else 's'}" if faults else " (no fault dated)"
    return f"Average forewarning{rests_on}"


def say_realised(realised: float | None, counted: int, months: float) -> str:
    """Return the realised rate of false alarms; the bare count before a rate says anything."""
    if realised is not None:
        return say_rate(realised)
    return f"{counted} so far" if months else "–"


def name_false_alarms(promised: float | None) -> str:
    """Return what the figure is of, and what was promised."""
    terms = "" if promised is None else f" (promised {say_rate(promised)})"
    return f"False alarms per machine-month{terms}"


def say_sigma(sigma: float) -> str:
    """Return a signed number of sigmas: "+5.2 σ"."""
    rounded = round(sigma, 1) or 0.0  # no "−0.0"
    return f"{rounded:+.1f} σ".replace("-", "\u2212")


def say_deviation(title: str, unit: str, pair: tuple[str, str], sigma: float) -> str:
    """Say how far one tag is from what is expected: "Flow 24 L/min, expected 31 (−4.6 σ)"."""
    measured = f"{pair[0]} {unit}".strip()
    return f"{title} {measured}, expected {pair[1]} ({say_sigma(sigma)})"
