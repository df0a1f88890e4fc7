"""What it costs to know of every machine how far it is acquired: beside collecting, and beside the commit."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.outbox.outbox import Outbox
from edge.outbox.stored import Coverage
from edge.polling.collector import Collector
from edge.polling.gaps import Pace
from models.telemetry import Frame, MachinePath

MACHINES = [MachinePath("site", "area", "line", f"machine-{number}") for number in range(50)]
ROUNDS = 300
REPEATS = 5
START_NS = 1_795_337_912_000_000_000


def run_collector(tags: int, *, knows_gaps: bool) -> float:
    """Return CPU microseconds a value: every machine read `ROUNDS` times, taken every tenth time."""
    now_ns = START_NS
    collector = Collector(read_clocks=lambda: (now_ns, now_ns - START_NS))
    values = {f"tag_{number}": [20.5] for number in range(tags)}
    if knows_gaps:
        for machine in MACHINES:
            collector.begin(machine, Pace())
    start = time.process_time()
    for number in range(ROUNDS):
        now_ns += 100_000_000
        for machine in MACHINES:
            collector.add(machine, [Frame([now_ns], values)])
        if number % 10 == 9:
            collector.take()
            if knows_gaps:
                collector.take_coverage(with_frames=True)
                collector.settle()
    return (time.process_time() - start) * 1e6 / (ROUNDS * len(MACHINES) * tags)


@pytest.mark.bench
@pytest.mark.parametrize("tags", [1, 10, 1_000])
def test_collecting_with_gaps(tags: int) -> None:
    """One frame of so many tags at a time."""
    ways: dict[str, Callable[[], float]] = {
        "without": lambda: run_collector(tags, knows_gaps=False),
        "with": lambda: run_collector(tags, knows_gaps=True),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, run in ways.items():
            found[name].append(run())
    best = {name: min(costs) for name, costs in found.items()}
    print(
        f"\ncollecting frames of {tags} tags: {best['without']:.3f} us/value without gaps, "
        f"{best['with']:.3f} with ({(best['with'] - best['without']) * tags:.2f} us a frame more)"
    )


def run_outbox(folder: Path, *, writes_reached: bool) -> float:
    """Return milliseconds a flush of 50 machines."""
    outbox = Outbox(folder / "outbox.sqlite", "pi-01", 10**9)
    folder.mkdir()
    outbox.open()
    flush = [(machine, [Frame([START_NS], {"flow": [1.5], "current": [2.5]})]) for machine in MACHINES]
    start = time.perf_counter()
    for number in range(40):
        reached = {str(machine): START_NS + number for machine in MACHINES} if writes_reached else {}
        put = outbox.put(flush, 1, coverage=Coverage([], reached))
        outbox.release([(put.batches[0].sequence, put.batches[-1].sequence)])
    spent = time.perf_counter() - start
    outbox.close()
    return spent * 1_000 / 40


@pytest.mark.bench
def test_committing_how_far_machines_are_acquired(tmp_path: Path) -> None:
    """A row per machine, in the transaction that is there anyway."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(REPEATS):
        for writes, costs in found.items():
            costs.append(run_outbox(tmp_path / f"{repeat}-{writes}", writes_reached=writes))
    bare, told = (sorted(found[writes])[REPEATS // 2] for writes in (False, True))
    print(
        f"\na flush of {len(MACHINES)} machines, put and released: {bare:.2f} ms without, {told:.2f} ms with"
    )
