"""Compares what was handed out, accepted and stored: the verdict of the custody tests. Pure."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from models.telemetry import Gap
from tests.custody.truth import Issue, value_of

SHOWN_MAX = 5


class Row(msgspec.Struct, frozen=True):
    """What the store has at one instant of one machine; a tag without a value there is None."""

    machine: str
    at_ns: int
    number: float | None
    reading: float | None


class Verdict(msgspec.Struct):
    """How many numbers met which fate, and the first few of each bad one, for a person."""

    issued: int = 0
    accepted: int = 0
    stored: int = 0
    missing: int = 0
    """Accepted (committed to the outbox), and not in the store: lost."""
    twice: int = 0
    """In the store under two instants."""
    never_issued: int = 0
    """In the store, and no machine ever said it."""
    wrong_value: int = 0
    """In the store beside another reading than its own."""
    uncovered: int = 0
    """Handed out, not in the store, and no recorded gap covers it."""
    covered: int = 0
    """Handed out, not in the store, and inside a recorded gap."""
    examples: dict[str, list[str]] = {}

    @property
    def is_clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.missing or self.twice or self.never_issued or self.wrong_value or self.uncovered)

    def note(self, fate: str, example: object) -> None:
        """Count one, and keep it as an example while there are few."""
        setattr(self, fate, getattr(self, fate) + 1)
        shown = self.examples.setdefault(fate, [])
        if len(shown) < SHOWN_MAX:
            shown.append(str(example))


def reconcile(
    issued: Sequence[Issue],
    accepted: Iterable[tuple[str, int]],
    stored: Sequence[Row],
    gaps: Iterable[tuple[str, Gap]],
    slack_ns: int,
    since: Sequence[Issue] = (),
) -> Verdict:
    """Return the verdict; a gap covers what was handed out up to `slack_ns` outside of it.

    What a machine said before the first number that is stored of it, nobody had asked for yet; `since` is
    what was handed out after `issued` was read, which may be stored and need not be.
    """
    verdict = Verdict(issued=len(issued))
    there = _look_at_rows([*issued, *since], stored, verdict)
    for machine, number in set(accepted):
        verdict.accepted += 1
        if (machine, number) not in there:
            verdict.note("missing", (machine, number))
    spans = _merge_spans(gaps, slack_ns)
    begun: set[str] = set()
    for issue in issued:
        if (issue.machine, issue.number) in there:
            begun.add(issue.machine)
            continue
        if issue.machine not in begun:
            continue
        covered = _is_inside(spans.get(issue.machine, []), issue.at_ns)
        if covered:
            verdict.covered += 1
        else:
            verdict.note("uncovered", issue)
    return verdict


def _look_at_rows(issued: Sequence[Issue], stored: Sequence[Row], verdict: Verdict) -> set[tuple[str, int]]:
    known = {(issue.machine, issue.number) for issue in issued}
    whole = [row for row in stored if row.number is not None and row.number.is_integer()]
    times = Counter((row.machine, int(row.number or 0)) for row in whole)
    for key, count in times.items():
        if key not in known:
            verdict.note("never_issued", key)
        elif count > 1:
            verdict.note("twice", (*key, count))
    for row in stored:
        is_whole = row.number is not None and row.number.is_integer()
        if not is_whole or row.reading != value_of(row.machine, int(row.number or 0)):
            verdict.note("wrong_value", row)
    verdict.stored = len(times)
    return set(times)


def _merge_spans(gaps: Iterable[tuple[str, Gap]], slack_ns: int) -> dict[str, list[tuple[int, int]]]:
    by_machine: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for machine, gap in gaps:
        by_machine[machine].append((gap.first - slack_ns, gap.last + slack_ns))
    merged: dict[str, list[tuple[int, int]]] = {}
    for machine, spans in by_machine.items():
        whole: list[tuple[int, int]] = []
        for first, last in sorted(spans):
            if whole and first <= whole[-1][1]:
                whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
            else:
                whole.append((first, last))
        merged[machine] = whole
    return merged


def _is_inside(spans: Sequence[tuple[int, int]], at_ns: int) -> bool:
    found = bisect_right(spans, (at_ns, 2**63)) - 1
    return found >= 0 and spans[found][0] <= at_ns <= spans[found][1]
