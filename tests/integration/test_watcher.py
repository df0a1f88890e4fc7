"""The watcher: from stored blocks to observations, scores and machine states, over the real store."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block, Rejection, StoreUnavailable
from cloud.watch.machine_states import MachineStates
from cloud.watch.training import NothingStored, train_machine
from models.anomaly.bundle import locate_machine
from models.telemetry import Frame, quality
from tests.integration.watcher_rig import (
    MACHINE,
    NOW_NS,
    OTHER,
    PAST_ROWS,
    SCRIPT,
    SECOND,
    SETTINGS,
    Rig,
    make_frame,
    make_rows,
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Give a rig with twenty minutes of stored normal running and a bundle learned from them."""
    rig = Rig(tmp_path)
    rig.store(make_frame(-PAST_ROWS, PAST_ROWS))
    rig.train()
    yield rig
    rig.close()


def test_normal_running_is_judged_and_stored(rig: Rig) -> None:
    """Every row gets a score below the limit at once after the start, and score, expected and
    contribution stand in the store."""
    for first in range(0, 60, 2):
        rig.bring(make_frame(first, 2))
    assert len(rig.book.judged()) == len(rig.book.seen) >= 57
    assert rig.book.strange() == []
    stamps = [seen.timestamp for seen in rig.book.seen]
    assert stamps == list(range(stamps[0], stamps[-1] + 1, SECOND))
    rig.turn()
    scores = rig.reader.read("score", MACHINE, NOW_NS, NOW_NS + 100 * SECOND)
    assert scores.values["score"].tolist() == [seen.score for seen in rig.book.judged()]
    assert (scores.values["coverage"] == 1.0).all()
    expected = rig.reader.read("expected", MACHINE, NOW_NS, NOW_NS + 100 * SECOND).values["temperature"]
    assert np.abs(expected - make_rows(0, 60)["temperature"][: len(expected)]).max() < 3.0
    assert set(rig.reader.read("contribution", MACHINE, 0, 2**62).values) == {"flow", SCRIPT, "temperature"}


def test_wear_is_seen_and_named(rig: Rig) -> None:
    """A tag that leaves its relation to the others is strange within seconds, and named first."""

    def wear(columns: dict) -> None:
        columns["temperature"] += 5.0

    rig.bring(make_frame(0, 30))
    rig.bring(make_frame(30, 12, wear))
    strange = rig.book.strange()
    assert strange
    assert strange[0].timestamp <= NOW_NS + 38 * SECOND
    assert strange[-1].contributions[0].tag == "temperature"
    rig.turn()
    (row,) = MachineStates(rig.engine).list()
    assert (row.state, row.machine, row.score) == ("judged", MACHINE, rig.book.seen[-1].score)
    assert row.limit is not None
    assert (row.score or 0.0) > row.limit


def test_a_stuck_tag_is_a_tags_fault_only(rig: Rig) -> None:
    """A frozen sensor is named with its reason and never makes the machine look strange."""
    value = float(make_rows(9, 1)["temperature"][0])

    def freeze(columns: dict) -> None:
        columns["temperature"][:] = value

    rig.bring(make_frame(0, 10))
    for first in range(10, 100, 3):
        rig.bring(make_frame(first, 3, freeze))
    assert rig.book.strange() == []
    assert set(rig.book.seen[-1].faulty_tags) == {"temperature"}
    assert rig.book.seen[-1].faulty_tags["temperature"].startswith("unchanged for ")
    first_fault = next(seen for seen in rig.book.seen if seen.faulty_tags)
    assert first_fault.timestamp <= NOW_NS + 25 * SECOND
    assert rig.book.seen[-1].coverage == pytest.approx(2 / 3)


def test_live_first_and_the_backlog_later(rig: Rig, tmp_path: Path) -> None:
    """After an outage the gap raises nothing; the backlog is no news, and fills the windows as if in time."""
    rig.bring(make_frame(0, 30))
    rig.bring(make_frame(50, 2))
    judged_until = rig.book.seen[-1].timestamp
    assert rig.book.strange() == []
    assert "tags have enough values" in next(s.reason for s in rig.book.seen if s.state == "cannot_judge")
    for first in (40, 30):
        rig.bring(make_frame(first, 10))
    assert rig.watcher.late_values_total == 20
    assert rig.book.seen[-1].timestamp == judged_until
    rig.bring(make_frame(52, 4))
    with_backlog = rig.book.judged()[-1]

    whole = Rig(tmp_path / "whole")
    whole.store(make_frame(-PAST_ROWS, PAST_ROWS))
    whole.train()
    whole.bring(make_frame(0, 56))
    assert whole.book.judged()[-1].timestamp == with_backlog.timestamp
    assert whole.book.judged()[-1].score == with_backlog.score
    whole.close()


def test_after_a_restart_the_windows_are_full_at_once(rig: Rig) -> None:
    """What the store holds warms the watcher up: the first live row has a score."""
    rig.store(make_frame(0, 30))
    rig.watch()
    rig.bring(make_frame(30, 3))
    assert [seen.state for seen in rig.book.seen][-1] == "judged"
    assert rig.book.seen[0].timestamp >= NOW_NS + 30 * SECOND


def test_without_a_bundle_the_machine_is_learning_until_it_is_trained(tmp_path: Path) -> None:
    """Learning is a state; training while the watcher runs takes effect with the next blocks."""
    rig = Rig(tmp_path)
    rig.store(make_frame(-PAST_ROWS, PAST_ROWS))
    rig.bring(make_frame(0, 3))
    rig.turn()
    (row,) = MachineStates(rig.engine).list()
    assert (row.state, row.score) == ("learning", None)
    assert row.reason == f"no model yet: train one with `forewarn cloud train --machine {MACHINE}`"
    assert rig.book.seen == []
    rig.train()
    rig.turn()
    rig.bring(make_frame(3, 5))
    assert rig.book.seen[-1].state == "judged"
    assert rig.book.seen[0].timestamp > NOW_NS + 2 * SECOND
    rig.close()


def test_a_damaged_bundle_leaves_the_previous_one_in_charge(rig: Rig) -> None:
    """Scores go on, and the reason says what is wrong with the newer one."""
    rig.bring(make_frame(0, 3))
    rig.train()
    home = locate_machine(rig.bundles, MACHINE)
    newest = home / (home / "current").read_text().strip()
    (newest / "arrays.npz").write_bytes(b"nothing")
    rig.turn()
    rig.bring(make_frame(3, 3))
    assert rig.book.seen[-1].state == "judged"
    assert "changed or cut after training" in rig.book.seen[-1].reason
    rig.train()
    rig.turn()
    rig.bring(make_frame(6, 3))
    assert rig.book.seen[-1].reason == ""


def test_a_lost_connection_is_no_fault_of_any_tag(rig: Rig) -> None:
    """When every tag is bad the machine cannot be judged, and no sensor is blamed."""
    rig.bring(make_frame(0, 5))
    stamps = [NOW_NS + (5 + row) * SECOND for row in range(10)]
    codes = dict.fromkeys(range(10), quality.BAD_NO_COMMUNICATION)
    tags = list(make_rows(0, 1))
    rig.bring(Frame(stamps, {tag: [None] * 10 for tag in tags}, dict.fromkeys(tags, codes)))
    last = rig.book.seen[-1]
    assert (last.state, last.faulty_tags, last.score) == ("cannot_judge", {}, None)
    assert "BadNoCommunication" in last.reason


def test_a_silent_machine_cannot_be_judged(rig: Rig) -> None:
    """After `silent_after_s` without a block the state says since when; one observation tells the book."""
    rig.bring(make_frame(0, 5))
    before = len(rig.book.seen)
    for _ in range(8):
        rig.turn()
    told = rig.book.seen[before:]
    assert [seen.state for seen in told] == ["cannot_judge"]
    assert told[0].reason.startswith("no values since 2026-11-22 ")
    (row,) = MachineStates(rig.engine).list()
    assert row.state == "cannot_judge"


def test_what_the_queue_cannot_hold_is_read_back(rig: Rig) -> None:
    """Dropped blocks are counted, and the windows are whole again from the store."""
    rig.settings = SETTINGS.model_copy(update={"queue_blocks_max": 1})
    rig.watch()
    for first in range(0, 40, 2):
        rig.watcher.feed(rig.store(make_frame(first, 2)))
    rig.turn()
    assert rig.watcher.dropped_blocks_total == 19
    rig.bring(make_frame(40, 3))
    assert rig.book.seen[-1].state == "judged"
    assert rig.book.strange() == []


def test_a_clock_gone_wild_does_not_blind_the_watcher(rig: Rig) -> None:
    """A value from years ahead is passed over; the next right ones are judged."""
    rig.bring(make_frame(0, 3))
    year = 365 * 24 * 3_600 * SECOND
    rig.bring(Frame([NOW_NS + 40 * year], {"flow": [30.0]}))
    rig.bring(make_frame(3, 3))
    assert rig.book.seen[-1].timestamp == NOW_NS + 4 * SECOND
    assert rig.book.seen[-1].state == "judged"


class AwayWriter:
    """A store that is away until told otherwise."""

    def __init__(self) -> None:
        self.away = True
        self.written: list[Block] = []

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Refuse while away."""
        if self.away:
            raise StoreUnavailable("the store is away")
        self.written += blocks
        return []

    def close(self) -> None:
        """Nothing to let go of."""


def test_scores_wait_for_a_store_that_is_away(rig: Rig) -> None:
    """Judging goes on without the store; the scores are written when it is back."""
    away = AwayWriter()
    rig.watcher._scores._writer = away
    for first in range(0, 20, 2):
        rig.bring(make_frame(first, 2))
    assert len(rig.book.judged()) >= 17
    away.away = False
    rig.turn()
    blocks = [block for block in away.written if block.measurement == "score"]
    stored = [stamp for block in blocks for stamp in block.frames[0].timestamps]
    assert stored == [seen.timestamp for seen in rig.book.judged()]


def test_observations_wait_for_records_that_are_away(rig: Rig) -> None:
    """What could not be told is told in order when the records are back: nothing is left out."""
    rig.bring(make_frame(0, 4))
    rig.book.away = True
    for first in range(4, 20, 4):
        rig.bring(make_frame(first, 4))
    rig.book.away = False
    rig.turn()
    stamps = [seen.timestamp for seen in rig.book.seen]
    assert stamps == list(range(NOW_NS + SECOND, NOW_NS + 19 * SECOND, SECOND))


def test_the_thread_judges_and_stops(rig: Rig) -> None:
    """Run as the service does: in a thread, fed from another, stopped by an event."""
    stop = threading.Event()
    thread = threading.Thread(target=rig.watcher.run, args=(stop,))
    thread.start()
    try:
        rig.watcher.feed(rig.store(make_frame(0, 10)))
        deadline = time.monotonic() + 20.0
        while not rig.book.judged() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert rig.book.judged()
    finally:
        stop.set()
        thread.join(20.0)
    assert not thread.is_alive()


def test_training_says_what_is_stored_when_the_span_is_empty(rig: Rig) -> None:
    """The message names the machine, the span asked for and the span stored."""
    with pytest.raises(NothingStored) as found:
        train_machine(rig.reader, rig.bundles, MACHINE, (NOW_NS + 10 * SECOND, None), SETTINGS)
    assert "no values of riverside/hall-1/water/pump-7 from 2026-11-22T" in str(found.value)
    assert "stored are 2026-11-22T" in str(found.value)
    with pytest.raises(NothingStored, match="stored machines are riverside/hall-1/water/pump-7"):
        train_machine(rig.reader, rig.bundles, OTHER, (None, None), SETTINGS)
