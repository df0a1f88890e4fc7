"""Models of a machine through the commands: promoted, rolled back, and learned anew after a repair."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.watch.machine_states import MachineStates
from cloud.watch.school import School
from cloud.watch.training import train_machine
from cloud.watch.watching import LearningSettings
from forewarn.cli import app
from models.anomaly.bundle import find_current
from models.telemetry import MachinePath
from tests.integration.watch_replay_rig import (
    MACHINES,
    PAST_ROWS,
    SETTINGS,
    ReplayRig,
    cut,
    make_columns,
)
from tests.integration.watcher_rig import NOW_NS, SECOND

PUMP = MACHINES[0]
COLUMNS = make_columns(0, PAST_ROWS + 600)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ReplayRig]:
    """Give a machine with two models, that is watched, and the settings of its cloud."""
    (tmp_path / "cloud.yaml").write_text(
        "records: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\nbundles: bundles\n"
    )
    rig = ReplayRig(tmp_path)
    rig.learn(PUMP, cut(COLUMNS, -PAST_ROWS, PAST_ROWS))
    train_machine(rig.reader, rig.bundles, PUMP, (NOW_NS - 600 * SECOND, NOW_NS), SETTINGS)
    rig.bring([(PUMP, cut(COLUMNS, 0, 10))])
    yield rig
    rig.close()


def call(rig: ReplayRig, *words: str, machine: MachinePath = PUMP) -> str:
    """Return what `forewarn models ...` prints, or the words of its refusal."""
    config = str(rig.bundles.parent / "cloud.yaml")
    words = (*words, "--config", config, "--machine", str(machine))
    result = CliRunner().invoke(app, ["models", *words])
    return result.stdout if result.exit_code == 0 else f"refused: {result.exception or result.stderr}"


def test_versions_are_listed_rolled_back_and_promoted(rig: ReplayRig) -> None:
    """The one in charge is marked; the watcher takes each change; a version that is not there is refused."""
    first, second = sorted(folder.name for folder in find_current(rig.bundles, PUMP).parent.glob("2*"))
    assert f"{second}  in charge  fuse, 3 tags" in call(rig, "list")
    assert f"{first}  kept  fuse, 3 tags, 900 rows from" in call(rig, "list")
    assert call(rig, "rollback") == f"{PUMP}: {first} is in charge again\n"
    assert "has no older version than" in call(rig, "rollback")
    rig.turn()
    rig.bring([(PUMP, cut(COLUMNS, 10, 10))])
    assert rig.watcher._bundle_desk.name_in_charge(PUMP) == first
    assert rig.book.seen[-1].state == "judged"
    assert call(rig, "promote", second) == f"{PUMP}: {second} is in charge\n"
    assert f"there are {first}, {second}" in call(rig, "promote", "newest")
    assert find_current(rig.bundles, PUMP).name == second


def test_a_damaged_version_is_never_promoted(rig: ReplayRig) -> None:
    """The one in charge stays, and the message says what is wrong with the other."""
    home = find_current(rig.bundles, PUMP).parent
    first, second = sorted(folder.name for folder in home.glob("2*"))
    (home / first / "arrays.npz").write_bytes(b"nothing")
    assert "stays out of charge" in call(rig, "promote", first)
    assert "changed or cut after training" in call(rig, "rollback")
    assert find_current(rig.bundles, PUMP).name == second


def test_after_a_reset_only_what_came_since_the_repair_teaches(rig: ReplayRig, tmp_path: Path) -> None:
    """The machine is learning at once; the next model knows nothing from before the repair."""
    told = call(rig, "reset", "--since", "2026-11-22T09:38:52Z")
    since_ns = NOW_NS + 20 * SECOND
    assert told.endswith("its model is out of charge\n")
    assert "since 2026-11-22T" in told
    told = call(rig, "reset", "--since", f"2026-11-22T{_clock(since_ns)}Z")
    assert told.endswith("it had no model in charge\n")
    rig.turn()
    rig.bring([(PUMP, cut(COLUMNS, 10, 10))])
    (state,) = MachineStates(rig.engine).list()
    assert state.state == "learning"
    rig.bring([(PUMP, cut(COLUMNS, 20, 400))])
    settings = SETTINGS.model_copy(update={"learning": LearningSettings(good_hours=0.1)})
    store = EmbeddedStoreSettings(kind="embedded", path=tmp_path / "store.sqlite")
    clock = NOW_NS + 3_600 * SECOND
    school = School(store, rig.bundles, rig.engine, settings, clock_ns=lambda: clock)
    (lesson,) = school.look(threading.Event())
    assert lesson.is_enough
    assert "3 tags, 400 rows from" in call(rig, "list")
    assert "values: 7 min of 6 min good values" in call(rig, "list")
    assert "flow: high (a value in 100% of the rows)" in call(rig, "list")
    rig.turn()
    rig.bring([(PUMP, cut(COLUMNS, 420, 10))])
    assert rig.book.seen[-1].state == "judged"
    assert rig.book.seen[-1].timestamp > NOW_NS + 420 * SECOND


def test_a_machine_that_nobody_knows_is_not_reset(rig: ReplayRig) -> None:
    """The message lists those there are."""
    told = call(rig, "reset", machine=MACHINES[2])
    assert f"there are {PUMP}" in told


def _clock(at_ns: int) -> str:
    at = datetime.fromtimestamp(at_ns / SECOND, UTC)
    assert f"{at:%Y-%m-%d}" == "2026-11-22"
    return f"{at:%H:%M:%S}"
