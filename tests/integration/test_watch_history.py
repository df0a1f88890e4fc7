"""Backfill is judged as history and told once; what was not acquired is not judged, nor blamed on a tag."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cloud.watch.history_book import list_digests
from models.telemetry import Frame, Gap
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, ReplayRig, cut, make_columns
from tests.integration.watcher_rig import NOW_NS, SECOND

ROWS = 400


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ReplayRig]:
    """Give two machines that learned and have run well for a minute."""
    rig = ReplayRig(tmp_path)
    for seed in (0, 1):
        rig.learn(MACHINES[seed], cut(make_columns(seed, PAST_ROWS + ROWS), -PAST_ROWS, PAST_ROWS))
    bring_both(rig, 0, 60)
    yield rig
    rig.close()


def make_both(first: int, rows: int, worn_c: float = 0.0) -> list[Frame]:
    """Return rows of both machines, the second's temperature raised."""
    frames = [cut(make_columns(seed, PAST_ROWS + ROWS), first, rows) for seed in (0, 1)]
    warm = [value + worn_c for value in frames[1].values["temperature"]]
    return [frames[0], Frame(frames[1].timestamps, frames[1].values | {"temperature": warm})]


def bring_both(rig: ReplayRig, first: int, rows: int, worn_c: float = 0.0) -> None:
    """Bring rows of both machines, two seconds at a time."""
    for start in range(first, first + rows, 2):
        rig.bring(list(zip(MACHINES, make_both(start, 2, worn_c), strict=False)))


def settle(rig: ReplayRig) -> None:
    """Let turns pass until history is judged and its scores are stored."""
    for _ in range(8):
        rig.turn()


def test_a_strange_backlog_is_one_digest_and_no_alert(rig: ReplayRig) -> None:
    """An hour's trouble that nobody could see raises nothing now; one digest names machine, span and tag."""
    bring_both(rig, 200, 40)
    told = len(rig.book.seen)
    for first in range(60, 200, 20):  # the backlog drains behind
        rig.bring(list(zip(MACHINES, make_both(first, 20, 6.0), strict=False)))
    settle(rig)
    assert rig.book.strange() == []
    assert all(seen.timestamp > NOW_NS + 238 * SECOND for seen in rig.book.seen[told:])
    (digest,) = list_digests(rig.engine)
    (strange,) = digest.strange
    assert strange.machine == str(MACHINES[1])
    assert strange.tags[0] == "temperature"
    assert strange.peak > 1.0
    assert strange.episodes == 1  # though it was judged in pieces
    assert strange.first_ns <= strange.peak_ns <= strange.last_ns
    assert [span.machine for span in digest.judged] == [str(machine) for machine in MACHINES[:2]]
    assert digest.judged[1].first_ns <= NOW_NS + 60 * SECOND
    assert sum(span.rows for span in digest.judged) == digest.rows
    assert NOW_NS + 60 * SECOND < strange.first_ns < NOW_NS + 100 * SECOND
    assert NOW_NS + 190 * SECOND < strange.last_ns < NOW_NS + 262 * SECOND
    stamps = rig.read(MACHINES[1]).timestamps
    assert np.diff(stamps).max() == SECOND  # the past has its scores too


def test_a_value_of_years_ago_does_not_keep_history_waiting_for_years(rig: ReplayRig) -> None:
    """A clock that was wrong once: the silence up to the usual late values is passed over, and they count."""
    bring_both(rig, 80, 40)
    stray = Frame([NOW_NS - 5 * 365 * 86_400 * SECOND], {"temperature": [60.0]})
    rig.bring([(MACHINES[0], stray)])
    for first in range(60, 80, 4):
        rig.bring(list(zip(MACHINES, make_both(first, 4), strict=False)))
    for _ in range(200):
        rig.turn()
    (digest,) = list_digests(rig.engine)
    assert digest.strange == []
    assert digest.rows < 2_000
    stamps = rig.read(MACHINES[0]).timestamps
    assert np.diff(stamps).max() == SECOND


def test_history_has_the_scores_of_what_comes_in_time(rig: ReplayRig, tmp_path: Path) -> None:
    """Rows scored late equal, up to rounding, those scored live."""
    live = ReplayRig(tmp_path / "live")
    live.learn(MACHINES[0], cut(make_columns(0, PAST_ROWS + ROWS), -PAST_ROWS, PAST_ROWS))
    for first in range(0, 200, 2):
        live.bring([(MACHINES[0], make_both(first, 2)[0])])
    bring_both(rig, 160, 40)
    rig.bring([(MACHINES[0], make_both(60, 100)[0])])
    settle(rig)
    expected, found = live.read(MACHINES[0]), rig.read(MACHINES[0])
    np.testing.assert_array_equal(found.timestamps, expected.timestamps)
    np.testing.assert_allclose(found.values["score"], expected.values["score"], rtol=1e-6)
    live.close()


def test_a_recorded_gap_cannot_be_judged_and_says_why(rig: ReplayRig) -> None:
    """After 60 s without a connection there is no score until the windows are mostly full again."""
    first, last = (NOW_NS + at * SECOND + 300_000_000 for at in (59, 120))
    rig.record(MACHINES[0], Gap(first, last, "connection_lost"))
    before = len(rig.book.seen)
    bring_both(rig, 120, 60)
    seen = [one for one in rig.book.seen[before:] if one.machine == MACHINES[0]]
    blind = [one for one in seen if one.state == "cannot_judge"]
    assert {one.reason.split(":")[0] for one in blind[5:]} == {"connection lost"}
    assert not [one for one in seen if one.faulty_tags]
    assert NOW_NS + 150 * SECOND < blind[-1].timestamp < NOW_NS + 170 * SECOND
    assert seen[-1].state == "judged"
    assert seen[-1].score is not None


def test_a_tag_in_a_gap_is_not_stuck(rig: ReplayRig) -> None:
    """Without its gap a tag that says nothing for 40 s is called stuck; with it the others are judged."""
    frames = [make_both(start, 2)[0] for start in range(60, 140, 2)]
    first, last = (NOW_NS + at * SECOND + 300_000_000 for at in (59, 140))
    told: dict[bool, set[str]] = {}
    for known in (False, True):
        if known:
            rig.restart()
            rig.record(MACHINES[1], Gap(first, last, "notifications_lost", ["temperature"]))
        machine = MACHINES[int(known)]
        columns = [frame.values for frame in frames]
        if known:
            columns = [make_both(start, 2)[1].values for start in range(60, 140, 2)]
        before = len(rig.book.seen)
        for frame, values in zip(frames, columns, strict=True):
            kept = {tag: values[tag] for tag in ("flow", "current")}
            rig.bring([(machine, Frame(frame.timestamps, kept))])
        seen = [one for one in rig.book.seen[before:] if one.machine == machine]
        told[known] = {tag for one in seen for tag in one.faulty_tags}
        assert seen[-1].state == "judged"
        assert seen[-1].coverage == pytest.approx(2 / 3)
    assert told == {False: {"temperature"}, True: set()}
