"""Many machines judged together: each as if it were alone, to the last bit."""

from functools import cache

import msgspec
import numpy as np
import pytest

from cloud.stores import Block
from cloud.watch.observations import Observation
from cloud.watch.rounds import judge_due
from cloud.watch.watched import WatchedMachine
from models.anomaly.bundle import Bundle
from models.anomaly.features import Matrix
from models.anomaly.together import Seating
from models.anomaly.training import train_bundle
from models.telemetry import Frame, MachinePath, quality

SECOND = 1_000_000_000
START_ROW = 1_000_000
PAST_ROWS = 600
MACHINES = 40


def make_values(rows: int, tags: int, seed: int) -> Matrix:
    """Return a machine whose tags follow a slow load, with noise."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 40), np.ones(40) / 6.0, mode="valid")[:rows]
    return 20.0 + np.outer(load, np.arange(1, tags + 1)) + 0.3 * rng.normal(size=(rows, tags))


def count_tags(seed: int) -> int:
    """Return the machine's number of tags: most are alike, a few are of another shape."""
    return 3 if seed % 7 == 6 else 4


@cache
def learn(seed: int) -> Bundle:
    """Return what the machine's past taught; one machine in eleven has another detector."""
    values = make_values(PAST_ROWS, count_tags(seed), seed)
    return train_bundle(
        f"a/b/c/m-{seed}",
        (START_ROW + np.arange(PAST_ROWS, dtype=np.int64)) * SECOND,
        {f"tag-{column}": values[:, column] for column in range(values.shape[1])},
        {},
        grid_s=1.0,
        trained_ns=0,
        base_rows=2,
        detector="conditional" if seed % 11 == 10 else "fuse",
    )


def make_frames(seed: int, first: int, rows: int) -> list[Frame]:
    """Return rows as one frame; of some machines a tag is bad, missing or strange for a while."""
    values = make_values(PAST_ROWS + 200, count_tags(seed), seed)[first : first + rows]
    stamps = [(START_ROW + first + row) * SECOND + 1 for row in range(rows)]
    columns = {f"tag-{column}": values[:, column].tolist() for column in range(values.shape[1])}
    marks: dict[str, dict[int, int]] = {}
    if first >= PAST_ROWS + 20:
        if seed % 5 == 1:
            columns["tag-1"] = [value + 8.0 for value in columns["tag-1"]]
        if seed % 9 == 2:
            marks = {"tag-0": dict.fromkeys(range(rows), quality.BAD_SENSOR_FAILURE)}
        if seed % 13 == 3:
            del columns["tag-2"]
    return [Frame(stamps, columns, marks)]


def watch() -> list[WatchedMachine]:
    """Return machines with a model of their own, but for two that share one, their windows filled."""
    machines = []
    for seed in range(MACHINES):
        bundle = learn(0 if seed == 1 else seed)
        machine = WatchedMachine(MachinePath("a", "b", "c", f"m-{seed}"), 0)
        machine.take_charge(bundle)
        machine.put(make_frames(0 if seed == 1 else seed, PAST_ROWS - 100, 100))
        machine.take_due()
        machines.append(machine)
    return machines


Found = dict[MachinePath, tuple[list[Observation], list[Block]]]


def run(seating: Seating, together: int) -> Found:
    """Return all that is said of the machines when so many at a time are judged, with uneven deliveries."""
    machines, found = watch(), Found()
    first = PAST_ROWS
    for rows in (1, 1, 3, 1, 20, 1, 2, 1, 1):
        for seed, machine in enumerate(machines):
            machine.put(make_frames(0 if seed == 1 else seed, first, rows if seed % 4 else 1))
        first += rows
        for begin in range(0, MACHINES, together):
            for machine, seen, blocks in judge_due(machines[begin : begin + together], seating):
                known = found.setdefault(machine.machine, ([], []))
                known[0].extend(seen)
                known[1].extend(blocks)
    return found


@pytest.fixture(scope="module")
def alone() -> Found:
    """Give what is said when every machine is judged by itself."""
    return run(Seating(), 1)


@pytest.mark.parametrize("together", [1, 7, MACHINES])
def test_what_is_said_of_a_machine_does_not_depend_on_the_others(alone: Found, together: int) -> None:
    """Observations and blocks are the same to the byte: with other shapes, other detectors, bad tags."""
    detectors = [learn(seed).detector for seed in range(MACHINES)]
    found = run(Seating(detectors), together)
    assert found.keys() == alone.keys()
    for machine, (seen, blocks) in alone.items():
        assert msgspec.json.encode(found[machine][0]) == msgspec.json.encode(seen)
        assert msgspec.json.encode(found[machine][1]) == msgspec.json.encode(blocks)


def test_there_is_something_to_be_told_apart(alone: Found) -> None:
    """Some machines are strange, some cannot be judged wholly, most are neither."""
    last = [seen[-1] for seen, _ in alone.values()]
    assert len(last) == MACHINES
    strange = [one for one in last if (one.score or 0.0) > (one.limit or np.inf)]
    assert 5 <= len(strange) <= 10
    assert 5 <= sum(one.coverage < 1.0 for one in last) <= 20
    assert sum(one.state == "judged" for one in last) > MACHINES / 2
