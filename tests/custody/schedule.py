"""Runs a schedule of faults over the chain, lets it come to rest, and judges what became of every number."""

import random
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tests.custody.faults import DIRECTED, Fault, healed
from tests.custody.plant import Plant
from tests.custody.reconcile import Verdict, reconcile
from tests.custody.truth import Issue

RECOVERY_S_MAX = 60.0
DRAIN_S_MAX = 90.0
FRESH_S_MAX = 5.0
"""So long a fresh value of every machine may take once nothing hinders it any more."""
FELT_S_MAX = 20.0
"""So late a program may say what it felt: on a busy computer it takes some seconds to start."""
UNDER_WAY_S = 2.0
"""What was just handed out is read, flushed and committed within this: before it is in no outbox yet."""
LOOK_S = 0.1
VALUES_A_ROW = 2
"""Number and reading."""
SETTLE_S = 0.5


class Strike(msgspec.Struct, frozen=True):
    """One fault as it went: `recovery_s` from its end until all that waited then was stored, None: never."""

    name: str
    lasted_s: float
    peak_backlog: int
    recovery_s: float | None
    unfelt: str = ""
    """What nobody said though it should have been felt."""


class Weight(msgspec.Struct, frozen=True):
    """How many bytes so many values take."""

    size_bytes: int = 0
    values: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """A whole run. `silent`: machines without a fresh value at the end. `waiting`: batches left behind.

    `way`: how the way to the broker was made bad. `outboxes`: at their fullest; `stored`: at the end.
    """

    seed: int | None
    store: str
    way: str
    outboxes: Weight
    stored: Weight
    seconds: float
    strikes: list[Strike]
    verdict: Verdict
    silent: list[str]
    waiting: int
    gap_seconds: dict[str, float]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, nothing doubled, nothing unexplained, and all machines go on."""
        rested = not self.silent and not self.waiting
        return self.verdict.is_clean and rested and not any(one.unfelt for one in self.strikes)


def choose_faults(
    store: str, *, is_root: bool, seed: int | None = None, seconds: float = 0
) -> Sequence[Fault]:
    """Return the directed schedule, or with a seed one drawn at random that lasts about `seconds`."""
    possible = [
        fault for fault in DIRECTED if fault.needs_store in ("", store) and (is_root or not fault.needs_root)
    ]
    if seed is None:
        return possible
    dice = random.Random(seed)
    return [dice.choice(possible) for _ in range(max(1, int(seconds / 12)))]


def run_schedule(
    plant: Plant, faults: Iterable[Fault], seed: int | None = None, say: Callable[[str], None] = print
) -> Outcome:
    """Strike with each fault in turn, drain, and return what came of it."""
    began = time.monotonic()
    say(f"\nthe way between gateways and broker: {plant.way.words}")
    strikes, fullest = [], Weight()
    with healed(plant):
        for fault in faults:
            strike, weight = _strike(plant, fault)
            strikes.append(strike)
            fullest = max(fullest, weight, key=lambda one: one.values)
            say(f"{strike}")
            time.sleep(SETTLE_S)
    waiting = _drain(plant)
    silent = _find_silent(plant)
    issued = plant.read_issued()
    time.sleep(UNDER_WAY_S)
    waiting += _drain(plant)
    accepted, stored, gaps = plant.read_accepted(), plant.read_stored(), plant.read_gaps()
    since = plant.read_issued()[len(issued) :]
    accepted = _leave_out_unfinished(accepted, since)
    verdict = reconcile(issued, accepted, stored, gaps, int(plant.slack_s * 1e9), since)
    by_reason: dict[str, float] = {}
    for _, gap in gaps:
        by_reason[gap.reason] = by_reason.get(gap.reason, 0.0) + (gap.last - gap.first) / 1e9
    return Outcome(
        seed,
        plant.store_kind,
        plant.way.words,
        fullest,
        Weight(plant.weigh_store(), VALUES_A_ROW * len(stored)),
        time.monotonic() - began,
        strikes,
        verdict,
        sorted(silent),
        waiting,
        by_reason,
    )


def _strike(plant: Plant, fault: Fault) -> tuple[Strike, Weight]:
    """Strike and wait until all is stored; return how it went, and what the outboxes held at its end."""
    began, (program, event) = time.monotonic(), fault.felt
    said_before = len(plant.read_log(program))
    fault.strike(plant)
    ended, last = time.monotonic(), plant.site.read_sequences()
    weight = Weight(*plant.site.weigh_outboxes())
    peak = waiting = plant.count_unstored(last)
    while waiting and time.monotonic() - ended < RECOVERY_S_MAX:
        time.sleep(LOOK_S)
        waiting = plant.count_unstored(last)
        peak = max(peak, waiting)
    recovery_s = None if waiting else round(time.monotonic() - ended, 1)
    while not (is_felt := event in plant.read_log(program)[said_before:]):
        if time.monotonic() - ended > FELT_S_MAX:
            break
        time.sleep(LOOK_S)
    unfelt = "" if is_felt else " ".join(fault.felt)
    return Strike(fault.name, round(ended - began, 1), peak, recovery_s, unfelt), weight


def _drain(plant: Plant) -> int:
    """Wait until all that waits now has gone; return how many batches have not."""
    last, until = plant.site.read_sequences(), time.monotonic() + DRAIN_S_MAX
    while plant.count_unstored(last) and time.monotonic() < until:
        time.sleep(LOOK_S)
    return plant.count_unstored(last)


def _leave_out_unfinished(
    accepted: Sequence[tuple[str, int]], since: Iterable[Issue]
) -> list[tuple[str, int]]:
    """Leave out what was accepted while the judge was reading: it may be on its way."""
    fresh = {(issue.machine, issue.number) for issue in since}
    return [key for key in accepted if key not in fresh]


def _find_silent(plant: Plant) -> set[str]:
    """Return the machines of which no value newer than now is stored within the time allowed."""
    since_ns = time.time_ns()
    until = time.monotonic() + FRESH_S_MAX
    while silent := plant.list_silent(since_ns):
        if time.monotonic() > until:
            break
        time.sleep(LOOK_S)
    return silent
