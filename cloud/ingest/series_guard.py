"""The budget of new series: how many tags that the store has never seen a gateway may bring within an hour.

A gateway with a mistake in it makes a series of every value; a time series database dies of millions.
"""

from collections.abc import Iterable, Sequence

import msgspec

from cloud.ingest.sorting import Accepted, Poison
from cloud.ingest.stowing import Excerpt, make_excerpt
from cloud.stores import StoredMachine, slicing
from models.telemetry import MachinePath, encode_batch

HOUR_S = 3_600.0
GATEWAYS_MAX = 10_000
"""Gateways with a budget of their own; all beyond share one."""
SERIES_KNOWN_MAX = 2_000_000
NOTHING: frozenset[str] = frozenset()


class Admission(msgspec.Struct, frozen=True):
    """What of some batches may be stored; the rest is for the dead letters.

    `spent` are gateways that ran out of budget just now, `series_refused` counts tags refused.
    """

    accepted: list[Accepted] = []
    excerpts: list[Excerpt] = []
    poison: list[Poison] = []
    spent: list[str] = []
    series_refused: int = 0


class _Budget(msgspec.Struct):
    """Fills up evenly, to an hour's worth."""

    left: float
    filled_s: float
    said_s: float = float("-inf")


class SeriesGuard:
    """Knows every series, counts new ones by gateway. Pure: the time comes in as an argument, in seconds."""

    def __init__(self, new_series_per_hour_max: int) -> None:
        self._per_hour_max = new_series_per_hour_max
        self._known: dict[MachinePath, set[str]] = {}
        self._count = 0
        self._budgets: dict[str, _Budget] = {}

    def learn(self, machines: Iterable[StoredMachine]) -> None:
        """Take note of what the store has: it costs nobody's budget."""
        for stored in machines:
            known = self._known.setdefault(stored.machine, set())
            known.update(stored.tags)
        self._count = sum(len(known) for known in self._known.values())

    def admit(self, accepted: Sequence[Accepted], now_s: float) -> Admission:
        """Return `accepted` without the tags that their gateway has no budget for."""
        done = Admission()
        refused_series = 0
        for one in accepted:
            known = self._known.get(one.machine, NOTHING)
            strange = [frame for frame in one.batch.frames if not frame.values.keys() <= known]
            refused = self._refuse(one, {tag for frame in strange for tag in frame.values} - known, now_s)
            if not refused:
                done.accepted.append(one)
                continue
            refused_series += len(refused)
            self._part(one, refused, done)
            budget = self._find_budget(one.key[0], now_s)
            if now_s - budget.said_s >= HOUR_S:
                budget.said_s = now_s
                done.spent.append(one.key[0])
        return msgspec.structs.replace(done, series_refused=refused_series)

    def _refuse(self, one: Accepted, new: set[str], now_s: float) -> set[str]:
        """Make known what the budget allows, return the rest."""
        if not new:
            return new
        budget = self._find_budget(one.key[0], now_s)
        refused = set()
        for tag in sorted(new):
            if budget.left >= 1 and self._count < SERIES_KNOWN_MAX:
                budget.left -= 1
                self._count += 1
                self._known.setdefault(one.machine, set()).add(tag)
            else:
                refused.add(tag)
        return refused

    def _find_budget(self, gateway: str, now_s: float) -> _Budget:
        name = gateway if gateway in self._budgets or len(self._budgets) < GATEWAYS_MAX else ""
        budget = self._budgets.setdefault(name, _Budget(float(self._per_hour_max), now_s))
        gained = (now_s - budget.filled_s) / HOUR_S * self._per_hour_max
        budget.left = min(float(self._per_hour_max), budget.left + gained)
        budget.filled_s = now_s
        return budget

    def _part(self, one: Accepted, refused: set[str], done: Admission) -> None:
        """Leave the refused tags of a batch to the dead letters and the others to the store."""
        tags = dict.fromkeys(tag for frame in one.batch.frames for tag in frame.values)
        kept = slicing.take_tags(one.batch.frames, [tag for tag in tags if tag not in refused])
        reason = self._explain(one.key[0], len(refused))
        if not kept and not one.batch.gaps:
            done.poison.append(Poison(one.delivery, reason, one.key[0], one.key, one.sequence, one.values))
            return
        out = slicing.take_tags(one.batch.frames, [tag for tag in tags if tag in refused])
        excerpt = make_excerpt(one, out, reason)
        batch = msgspec.structs.replace(one.batch, frames=kept)
        message = msgspec.structs.replace(one.delivery.message, payload=encode_batch(batch))
        done.excerpts.append(excerpt)
        done.accepted.append(
            msgspec.structs.replace(
                one,
                batch=batch,
                values=one.values - excerpt.values,
                delivery=msgspec.structs.replace(one.delivery, message=message),
            )
        )

    def _explain(self, gateway: str, count: int) -> str:
        return (
            f"gateway {gateway} has made its {self._per_hour_max:,} new series (machine and tag) of this "
            f"hour, and {count} tags here are new: mend its tags' names, or raise "
            "ingest.new_series_per_hour_max; then forewarn cloud dead-letters replay"
        )
