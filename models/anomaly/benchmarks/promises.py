"""What was promised of false alarms, beside what came of it in judged time that is known to be healthy."""

from collections.abc import Sequence

import msgspec

from models.anomaly.calibration.promise import MONTH_S, Promise

MONTH = "month"


class Kept(msgspec.Struct, frozen=True):
    """A promise of `promised` episodes in each `per` of one machine, and the `realised` ones in `periods`.

    `provisional`: the rows to learn from were too few to extrapolate from, so the promise is what they bear.
    """

    where: str
    per: str
    promised: float
    periods: float
    realised: int
    provisional: bool

    @property
    def expected(self) -> float:
        """How many false alarms the promise lets expect in the judged time."""
        return self.promised * self.periods


def keep_count(where: str, promise: Promise, seconds: float, realised: int) -> Kept:
    """Return what came of a promise in `seconds` of healthy time."""
    return Kept(where, MONTH, promise.promised, seconds / MONTH_S, realised, promise.provisional)


def join_kept(parts: Sequence[Kept]) -> list[Kept]:
    """Return one for each place and period: what is promised on average over all of their time."""
    joined = []
    for where, per in dict.fromkeys((part.where, part.per) for part in parts):
        alike = [part for part in parts if (part.where, part.per) == (where, per)]
        periods = sum(part.periods for part in alike)
        if periods > 0.0:
            joined.append(
                Kept(
                    where,
                    per,
                    sum(part.expected for part in alike) / periods,
                    periods,
                    sum(part.realised for part in alike),
                    any(part.provisional for part in alike),
                )
            )
    return joined


def make_kept_table(kept: Sequence[tuple[str, Kept]]) -> list[list[str]]:
    """Return rows of text, the heading first, of (name of the set or detector, promise)."""
    lines = [["", "healthy time judged", "promised", "expected", "realised", "factor", "ground"]]
    for name, one in kept:
        factor = f"{one.realised / one.expected:.2g}" if one.expected else "-"
        lines.append(
            [
                name,
                f"{one.where}: {_say_periods(one)}",
                f"{_say_number(one.promised)} a {one.per}",
                f"{one.expected:.3g}",
                str(one.realised),
                factor,
                "provisional" if one.provisional else "firm",
            ]
        )
    return lines


def _say_number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100.0 else f"{number:.3g}"


def _say_periods(one: Kept) -> str:
    if one.per != MONTH:
        return f"{_say_number(one.periods)} x {one.per}"
    days = one.periods * MONTH_S / 86_400.0
    return f"{days:.3g} days" if days >= 1.0 else f"{24.0 * days:.3g} h"
