"""The recent scores of every machine, kept in memory so that the live overview rarely reads the store."""

import math
from collections.abc import Collection

from cloud.console.sources import StateRow
from cloud.console.spark import draw_spark
from cloud.stores import StoreReader, StoreUnavailable
from models.telemetry import MachinePath

SLOT_NS = 5_000_000_000
SLOTS = 120
BRIDGED_SLOTS_MAX = 2


class ScoreHistory:
    """The highest score/limit of each 5 s over ten minutes, per machine.

    It is read from the store when nobody has looked for longer than two slots, and kept up after that.
    """

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._loads: dict[MachinePath, dict[int, float]] = {}
        self._looked_ns: dict[MachinePath, int] = {}

    def note(self, state: StateRow, now_ns: int) -> None:
        """Take in the newest judgement of a machine."""
        unseen_ns = now_ns - self._looked_ns.get(state.machine, 0)
        if unseen_ns > BRIDGED_SLOTS_MAX * SLOT_NS:
            self._loads[state.machine] = self._read(state.machine, now_ns)
        self._looked_ns[state.machine] = now_ns
        slots = self._loads[state.machine]
        if state.score is not None and state.limit:
            _raise_slot(slots, state.timestamp_ns, state.score / state.limit)
        oldest = now_ns // SLOT_NS - SLOTS
        for slot in [slot for slot in slots if slot < oldest]:
            del slots[slot]

    def forget_others(self, machines: Collection[MachinePath]) -> None:
        """Let go of machines that are no longer there."""
        for machine in self._loads.keys() - set(machines):
            del self._loads[machine], self._looked_ns[machine]

    def draw(self, machine: MachinePath, now_ns: int) -> str:
        """Return the machine's curve as an SVG path; "" when nothing was judged."""
        slots = self._loads.get(machine, {})
        newest = now_ns // SLOT_NS
        loads = [slots.get(slot) for slot in range(newest - SLOTS + 1, newest + 1)]
        return draw_spark(bridge(loads), SLOTS)

    def _read(self, machine: MachinePath, now_ns: int) -> dict[int, float]:
        try:
            table = self._reader.read("score", machine, now_ns - SLOTS * SLOT_NS, now_ns, ["score", "limit"])
        except StoreUnavailable:
            return {}  # the curve grows from now on; the overview says that the store is away
        slots: dict[int, float] = {}
        if "score" in table.values and "limit" in table.values:
            rows = zip(
                table.timestamps.tolist(),
                table.values["score"].tolist(),
                table.values["limit"].tolist(),
                strict=True,
            )
            for timestamp, score, limit in rows:
                if limit and math.isfinite(score) and math.isfinite(limit):
                    _raise_slot(slots, timestamp, score / limit)
        return slots


def bridge(loads: list[float | None]) -> list[float | None]:
    """Fill holes of at most two slots with what came before: a slow machine's curve is no row of dots."""
    filled = list(loads)
    hole = 0
    for index in range(1, len(filled)):
        hole = hole + 1 if loads[index] is None else 0
        if 0 < hole <= BRIDGED_SLOTS_MAX:
            filled[index] = filled[index - 1]
    return filled


def _raise_slot(slots: dict[int, float], timestamp_ns: int, load: float) -> None:
    slot = timestamp_ns // SLOT_NS
    slots[slot] = max(slots.get(slot, 0.0), load)
