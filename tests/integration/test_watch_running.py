"""Ways of running in the live watcher: an unknown one is a state of its own, restarts change no score."""

from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block
from cloud.watch.machine_states import MachineStates
from cloud.watch.rules import MachineRule
from cloud.watch.training import train_machine
from models.telemetry import Frame
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, SETTINGS, ReplayRig
from tests.integration.watcher_rig import NOW_NS, SECOND

PUMP = MACHINES[0]
ROWS = 240
RULE = MachineRule(machines="riverside/*/*/pump-*", running=["speed > 50"], settle_s=20.0)


def make_columns(rows: int) -> dict[str, np.ndarray]:
    """Return a pump that runs slow and fast in turn, 150 s each."""
    rng = np.random.default_rng(4)
    fast = (np.arange(rows) // 150) % 2 == 0
    load = np.convolve(rng.normal(size=rows + 40), np.ones(40) / 6.0, mode="valid")[:rows]
    return {
        "speed": np.where(fast, 100.0, 20.0) + 0.2 * rng.normal(size=rows),
        "flow": np.where(fast, 30.0 + load, 6.0) + 0.2 * rng.normal(size=rows),
        "current": np.where(fast, 12.0 + 0.5 * load, 4.0) + 0.1 * rng.normal(size=rows),
    }


def cut(columns: dict[str, np.ndarray], first: int, rows: int) -> Frame:
    """Return rows first.. after the start as a frame."""
    places = slice(first + PAST_ROWS, first + PAST_ROWS + rows)
    stamps = [NOW_NS + (first + row) * SECOND + 300_000_000 for row in range(rows)]
    return Frame(stamps, {tag: values[places].tolist() for tag, values in columns.items()})


def run(folder: Path, restarts: set[int], columns: dict[str, np.ndarray], past_rows: int) -> ReplayRig:
    """Train on the past by the rule, then bring what follows, with a new watcher before the seconds named."""
    rig = ReplayRig(folder)
    rig.writer.write([Block("telemetry", PUMP, [cut(columns, -PAST_ROWS, past_rows)])])
    settings = SETTINGS.model_copy(update={"rules": [RULE]})
    train_machine(rig.reader, rig.bundles, PUMP, (None, NOW_NS), settings)
    for second in range(0, ROWS, 4):
        if second in restarts:
            rig.watcher._scores.write()
            rig.restart()
        rig.bring([(PUMP, cut(columns, second, 4))])
    return rig


@pytest.mark.parametrize("restarts", [{60, 148, 156, 168}])
def test_scores_over_switches_are_the_same_after_restarts(tmp_path: Path, restarts: set[int]) -> None:
    """Also when the watcher begins anew just before, in and after the settling; values are in units."""
    columns = make_columns(PAST_ROWS + ROWS)
    straight = run(tmp_path / "straight", set(), columns, PAST_ROWS)
    broken = run(tmp_path / "broken", restarts, columns, PAST_ROWS)
    for measurement in ("score", "expected", "contribution"):
        expected, found = straight.read(PUMP, measurement), broken.read(PUMP, measurement)
        np.testing.assert_array_equal(found.timestamps, expected.timestamps)
        for tag, values in expected.values.items():
            assert found.values[tag].tobytes() == values.tobytes(), (measurement, tag)
    rows = (straight.read(PUMP).timestamps - NOW_NS) // SECOND
    assert len(rows) > 120
    # The past ends after six turns: 0..149 is fast, then 150..169 settles.
    assert not set(range(151, 171)) & set(rows.tolist())
    flow = straight.read(PUMP, "expected")
    late = flow.timestamps > NOW_NS + 215 * SECOND
    assert late.any()
    assert np.abs(flow.values["flow"][late] - 6.0).max() < 2.0
    assert np.abs(flow.values["flow"][~late][:50] - 30.0).max() < 6.0
    for rig in (straight, broken):
        rig.close()


def test_a_way_of_running_not_learned_raises_nothing_and_says_so(tmp_path: Path) -> None:
    """The machine ran fast only while learning; slow is no alert, and no good row either."""
    columns = make_columns(PAST_ROWS + ROWS)
    slow = np.arange(PAST_ROWS + ROWS) < PAST_ROWS
    fast_only = {
        tag: np.where(slow, np.resize(values[:150], len(values)), values) for tag, values in columns.items()
    }
    rig = run(tmp_path, set(), fast_only, PAST_ROWS)
    (state,) = MachineStates(rig.engine).list()
    assert state.state == "unknown_running"
    assert state.reason.startswith("unknown running condition: no alert, nothing learned (not speed > 50")
    assert state.score is None
    assert not [
        seen for seen in rig.book.seen if seen.state == "judged" and seen.timestamp > NOW_NS + 152 * SECOND
    ]
    rig.close()
