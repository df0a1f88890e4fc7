"""The overview's small curves: whole at every look, however long nobody looked."""

from collections.abc import Sequence

import numpy as np

from cloud.console.history import SLOT_NS, ScoreHistory
from cloud.stores import Measurement, StoredMachine, Table
from cloud.watch.machine_states import MachineStateRow
from models.telemetry import MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
NOW_NS = 1_795_337_910_000_000_000


class ScoreStore:
    """A store that holds one score for every half slot, and counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def read(
        self,
        _measurement: Measurement,
        _machine: MachinePath,
        start_ns: int,
        end_ns: int,
        tags: Sequence[str] | None = None,
    ) -> Table:
        """Return a score of 1 below a limit of 2 all along."""
        self.reads += 1
        times = np.arange(start_ns, end_ns, SLOT_NS // 2)
        columns = {"score": np.ones(len(times)), "limit": np.full(len(times), 2.0)}
        return Table(times, {tag: columns[tag] for tag in tags or columns}, {})

    def list_machines(self) -> list[StoredMachine]:
        """Return nothing: nobody asks."""
        return []

    def close(self) -> None:
        """Hold nothing."""


def judge(at_ns: int) -> MachineStateRow:
    """Return a judgement of the pump, half way to its limit."""
    return MachineStateRow(
        machine=PUMP,
        state="judged",
        score=1.0,
        limit=2.0,
        coverage=1.0,
        timestamp_ns=at_ns,
        since_ns=at_ns,
        reason="",
        faulty={},
    )


def count_points(path: str) -> int:
    """Return how many points an SVG path goes through."""
    return path.count("M") + path.count("L")


def test_a_look_after_a_pause_shows_the_whole_curve() -> None:
    """What was judged while nobody looked comes from the store, in one unbroken line."""
    store = ScoreStore()
    history = ScoreHistory(store)
    history.note(judge(NOW_NS), NOW_NS)
    later = NOW_NS + 60 * SLOT_NS
    history.note(judge(later), later)
    drawn = history.draw(PUMP, later)
    assert count_points(drawn) == 120
    assert drawn.count("M") == 1
    assert store.reads == 2


def test_a_live_overview_does_not_read_the_store_again() -> None:
    """Looked at every second, the curve is kept up from the judgements alone."""
    store = ScoreStore()
    history = ScoreHistory(store)
    for second in range(120):
        now = NOW_NS + second * 1_000_000_000
        history.note(judge(now), now)
    assert store.reads == 1
    assert history.draw(PUMP, now).count("M") == 1
