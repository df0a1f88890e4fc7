"""After a restart the watcher goes on as if there had been none: the same scores to the last bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.telemetry import Frame, Gap, MachinePath, quality
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, ReplayRig, cut, make_columns
from tests.integration.watcher_rig import NOW_NS, SECOND

ROWS = 120
Turn = list[tuple[MachinePath, Frame]]
HOLE = (56, 58, 60)
LEVEL = [
    Frame([NOW_NS + second * SECOND + 1], {"level": [value]}, {}, {"level": [0]} if repeated else {})
    for second, value, repeated in (
        (0, 3.0, False),
        (40, 3.0, True),
        (41, 3.5, False),
        (81, 3.5, True),
        (82, 4.0, False),
    )
]
"""A tag under a deadband: nothing is said of it for 40 s, which only the marked repeats explain."""


def make_turns() -> list[Turn]:
    """Return what arrives, turn by turn: in pairs, disordered within the lateness, some far too late."""
    turns: list[Turn] = [[(MACHINES[1], Frame([NOW_NS + 1], {"set_point": [8.0]}))]]
    for first in range(0, ROWS, 2):
        turn: Turn = []
        for seed, machine in enumerate(MACHINES):
            columns = make_columns(seed, PAST_ROWS + ROWS)
            frame = cut(columns, first, 2)
            if seed == 1 and first % 6 == 0:  # the newer half first, the older a turn later
                later, frame = cut(columns, first, 1), cut(columns, first + 1, 1)
                turns.append([(machine, frame)])
                frame = later
            if seed == 2 and first == 40:
                late = frame
                continue
            if seed == 2 and first == 52:
                turn.append((machine, late))
            if seed == 0 and first in (30, 32):
                frame = Frame(
                    frame.timestamps,
                    frame.values | {"flow": [None, None]},
                    {"flow": dict.fromkeys((0, 1), quality.BAD_SENSOR_FAILURE)},
                )
            if seed == 0 and first in HOLE:
                frame = Frame(frame.timestamps, {tag: frame.values[tag] for tag in ("flow", "current")})
            turn.append((machine, frame))
        turns.append(turn)
        turns += [
            [(MACHINES[0], beat)]
            for beat in LEVEL
            if first <= (beat.timestamps[0] - NOW_NS) / SECOND < first + 2
        ]
    return turns


def run(folder: Path, restarts: set[int]) -> ReplayRig:
    """Bring everything, with a new watcher before each of the turns named."""
    rig = ReplayRig(folder)
    for seed, machine in enumerate(MACHINES):
        past = cut(make_columns(seed, PAST_ROWS + ROWS), -PAST_ROWS, PAST_ROWS)
        # A set point is told when it changes: the last time long before any window begins.
        stamps = [NOW_NS - (PAST_ROWS - 100 * n) * SECOND for n in range(4)]
        levels = [NOW_NS - (PAST_ROWS - 20 * n) * SECOND for n in range(PAST_ROWS // 20)]
        level = Frame(levels, {"level": [3.0 + n * 7 % 5 / 5 for n in range(len(levels))]})
        rig.learn(machine, past, Frame(stamps, {"set_point": [5.0, 7.0, 5.0, 6.0]}), *[level][: seed == 0])
    for number, turn in enumerate(make_turns()):
        if number in restarts:
            rig.watcher._scores.write()
            rig.restart()
        if turn[0][1].timestamps[0] // SECOND == NOW_NS // SECOND + HOLE[-1] + 2:
            first, last = (turn[0][1].timestamps[0] - seconds * SECOND for seconds in (7, 0))
            rig.record(MACHINES[0], Gap(first, last, "cycles_missed", ["temperature"]))
        rig.bring(turn)
    return rig


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayRig]:
    """Give the run that nothing interrupted."""
    rig = run(tmp_path_factory.mktemp("straight"), set())
    yield rig
    rig.close()


@pytest.mark.parametrize("restarts", [{33}, {5, 6, 23, 41, 62, 78}])
def test_scores_are_the_same_to_the_last_bit(straight: ReplayRig, tmp_path: Path, restarts: set[int]) -> None:
    """Three machines, late and disordered rows, a bad sensor, a recorded gap, a set point told long ago."""
    broken = run(tmp_path, restarts)
    for machine in MACHINES:
        for measurement in ("score", "expected", "contribution"):
            expected, found = straight.read(machine, measurement), broken.read(machine, measurement)
            assert len(expected.timestamps) >= ROWS - 10
            assert measurement != "score" or expected.values["coverage"][-1] == 1.0
            np.testing.assert_array_equal(found.timestamps, expected.timestamps)
            assert found.values.keys() == expected.values.keys()
            for tag, values in expected.values.items():
                assert found.values[tag].tobytes() == values.tobytes(), (str(machine), measurement, tag)
    broken.close()


def test_rows_stored_but_not_judged_before_the_end_are_judged_after_it(tmp_path: Path) -> None:
    """A row that still waited for late values when the watcher ended is not left out."""
    rig = run(tmp_path, set())
    before = rig.read(MACHINES[0]).timestamps[-1]
    rig.restart()
    rig.bring([(MACHINES[0], cut(make_columns(0, PAST_ROWS + ROWS + 10), ROWS, 4))])
    rig.turn()
    stamps = rig.read(MACHINES[0]).timestamps
    assert np.diff(stamps[stamps >= before]).tolist() == [SECOND] * 4
    rig.close()
