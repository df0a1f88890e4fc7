"""Machines without a model: how far they have come is said, and with enough good values they are trained."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.watch.learning_book import LearningBook
from cloud.watch.machine_states import MachineStates
from cloud.watch.school import LessonsFailed, School, read_lessons
from cloud.watch.watching import LearningSettings
from models.anomaly.bundle import load_current
from models.telemetry import Gap
from tests.integration.watch_replay_rig import (
    MACHINES,
    PAST_ROWS,
    SETTINGS,
    ReplayRig,
    cut,
    make_columns,
)
from tests.integration.watcher_rig import NOW_NS, SECOND


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ReplayRig]:
    """Give a store in which two machines have spoken for a while, without a model."""
    rig = ReplayRig(tmp_path)
    for seed in (0, 1):
        columns = make_columns(seed, PAST_ROWS + 100)
        frames = [cut(columns, -PAST_ROWS, 500), cut(columns, -200, 200)]
        rig.writer.write([Block("telemetry", MACHINES[seed], frames)])
    first, last = (NOW_NS + at * SECOND + 300_000_000 for at in (-401, -200))
    rig.record(MACHINES[0], Gap(first, last, "gateway_down"))
    yield rig
    rig.close()


def make_school(rig: ReplayRig, folder: Path, minutes: float, detector: str = "conditional") -> School:
    """Return a school that wants so many minutes of good values."""
    settings = SETTINGS.model_copy(
        update={"learning": LearningSettings(good_hours=minutes / 60), "detector": detector}
    )
    store = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
    return School(store, rig.bundles, rig.engine, settings, clock_ns=lambda: NOW_NS)


def test_what_is_still_wanted_is_said_with_what_was_left_out(rig: ReplayRig, tmp_path: Path) -> None:
    """Eleven good minutes of twenty; of the silence a recorded gap is named, another one is not explained."""
    make_school(rig, tmp_path, 20.0).look(threading.Event())
    rig.bring(
        [
            (machine, cut(make_columns(seed, PAST_ROWS + 100), 0, 2))
            for seed, machine in enumerate(MACHINES[:2])
        ]
    )
    rig.turn()
    first, second = MachineStates(rig.engine).list()
    assert first.state == second.state == "learning"
    assert first.reason.startswith("learning: 12 min of 20 min good values; left out: 3 min not acquired")
    assert "without any value" in second.reason
    lesson = LearningBook(rig.engine).find(MACHINES[0])
    assert lesson is not None
    assert lesson.good_s == pytest.approx(700, abs=5)
    assert {tag: one.grade for tag, one in lesson.grades.items()} == dict.fromkeys(
        ("flow", "current", "temperature"), "medium"
    )


@pytest.mark.parametrize("detector", ["conditional", "fuse"])
def test_with_enough_good_values_a_machine_is_trained_and_judged(
    rig: ReplayRig, tmp_path: Path, detector: str
) -> None:
    """Whichever detector is set; the child's bundle is in charge with the next values."""
    lessons = make_school(rig, tmp_path, 10.0, detector).look(threading.Event())
    assert [lesson.is_enough for lesson in lessons] == [True, True]
    assert [lesson.trouble for lesson in lessons] == ["", ""]
    assert load_current(rig.bundles, MACHINES[0]).card.detector == detector
    columns = make_columns(0, PAST_ROWS + 100)
    for second in range(0, 10, 2):
        rig.bring([(MACHINES[0], cut(columns, second, 2))])
    assert rig.book.seen[-1].state == "judged"
    assert make_school(rig, tmp_path, 10.0).look(threading.Event()) == []


def test_what_cannot_be_learned_is_said_and_the_others_learn(rig: ReplayRig, tmp_path: Path) -> None:
    """A machine whose rows all lie in one window has the reason as its trouble."""
    rows = cut(make_columns(2, PAST_ROWS + 100), -130, 130)
    rig.writer.write([Block("telemetry", MACHINES[2], [rows])])
    lessons = make_school(rig, tmp_path, 2.0).look(threading.Event())
    assert [bool(lesson.trouble) for lesson in lessons] == [False, False, True]
    assert "rows have values of all tags" in lessons[2].trouble


def test_the_service_does_not_load_what_training_needs() -> None:
    """scikit-learn is the child's alone."""
    script = "import sys, cloud.watch.school; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_child_that_hangs_or_dies_holds_nothing_up() -> None:
    """`stop` ends it at once; one that dies leaves its last words."""
    stop = threading.Event()
    stop.set()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **pipes)
    assert read_lessons(hanging, b"", stop) == []
    assert hanging.returncode not in (0, None)
    dying = subprocess.Popen([sys.executable, "-c", "raise SystemExit('no such store')"], **pipes)
    with pytest.raises(LessonsFailed, match="ended with 1: no such store"):
        read_lessons(dying, b"", threading.Event())
