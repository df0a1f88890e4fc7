"""The gated refit: a challenger takes charge when it is no worse, and never when it has learned the fault."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sqlalchemy import insert

from cloud.alerts import Alert
from cloud.alerts.tables import alert_table, write_alert
from cloud.alerts.verdicts import Verdict, VerdictBook, VerdictKind
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.transactions import begin_write
from cloud.watch.drift_book import DriftBook
from cloud.watch.refit import Event, leave_out
from cloud.watch.refit_book import RefitBook
from cloud.watch.school import School
from cloud.watch.watching import LearningSettings
from models.anomaly.bundle import find_current, load_current
from models.telemetry import Frame
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
ROWS = 4_500
EVENT = 700, 800
COLUMNS = make_columns(0, PAST_ROWS + ROWS)
DAY = 86_400 * SECOND


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ReplayRig]:
    """Give a machine with a model and one confirmed alert since."""
    rig = ReplayRig(tmp_path)
    rig.learn(PUMP, cut(COLUMNS, -PAST_ROWS, PAST_ROWS))
    raised, cleared = (NOW_NS + at * SECOND for at in (EVENT[0] + 20, EVENT[1]))
    alert = Alert(
        id="a-1",
        machine=PUMP,
        kind="machine",
        state="cleared",
        raised_ns=raised,
        cleared_ns=cleared,
        acknowledged_ns=cleared,
        acknowledged_by="Ada",
        score=2.0,
        limit=1.0,
        score_peak=2.0,
        contributions=[],
        faulty_tags={},
        tags=["temperature"],
        summary="warm",
        cause="",
        advice="",
    )
    with begin_write(rig.engine) as connection:
        connection.execute(insert(alert_table).values(**write_alert(alert)))
    yield rig
    rig.close()


def bring_weeks(rig: ReplayRig, worn_from: int | None) -> None:
    """Store what came after the training: trouble during the event, and for ever from `worn_from` on."""
    frame = cut(COLUMNS, 0, ROWS)
    warm = np.array(frame.values["temperature"])
    rows = np.arange(ROWS)
    # It comes and goes slowly: a jump would be strange also to who knows both levels.
    warm += np.interp(rows, [EVENT[0], EVENT[0] + 45, EVENT[1] - 45, EVENT[1]], [0.0, 6.0, 6.0, 0.0])
    if worn_from is not None:
        warm += np.interp(rows, [worn_from, worn_from + 120], [0.0, 6.0])
    frame = Frame(frame.timestamps, frame.values | {"temperature": warm.tolist()})
    rig.writer.write([Block("telemetry", PUMP, [frame])])


def make_school(rig: ReplayRig, folder: Path, refit: str = "gated") -> School:
    """Return a school eight days after the training."""
    settings = SETTINGS.model_copy(update={"learning": LearningSettings(good_hours=1.0, refit=refit)})
    store = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
    card_ns = find_current(rig.bundles, PUMP).stat().st_mtime_ns
    return School(store, rig.bundles, rig.engine, settings, clock_ns=lambda: card_ns + 8 * DAY)


def test_a_challenger_that_is_no_worse_takes_charge(rig: ReplayRig, tmp_path: Path) -> None:
    """It finds the confirmed event, which it has not learned from; the next look is a week away."""
    bring_weeks(rig, None)
    champion = find_current(rig.bundles, PUMP)
    school = make_school(rig, tmp_path)
    school.look(threading.Event())
    refit = RefitBook(rig.engine).list()[str(PUMP)].refit
    assert refit.is_promoted, refit.words
    assert "1 confirmed events replayed" in refit.words
    newer = find_current(rig.bundles, PUMP)
    assert newer.name > champion.name
    origin = load_current(rig.bundles, PUMP).card.origin
    assert origin.parent == champion.name
    assert [event.is_found for event in origin.replayed] == [True]
    (left_out,) = origin.exclusions
    assert left_out[0] < origin.replayed[0].first_ns < origin.replayed[0].last_ns < left_out[1]
    assert champion.is_dir()
    school.look(threading.Event())
    assert find_current(rig.bundles, PUMP) == newer


def test_a_challenger_that_learned_the_fault_stays_out(rig: ReplayRig, tmp_path: Path) -> None:
    """Wear that nobody was told of would be normal to it, and the event it cannot see any more says so."""
    bring_weeks(rig, 1_500)
    champion = find_current(rig.bundles, PUMP)
    make_school(rig, tmp_path).look(threading.Event())
    refit = RefitBook(rig.engine).list()[str(PUMP)].refit
    assert not refit.is_promoted
    assert refit.words.startswith("the challenger misses the confirmed event of 2026-11-22T")
    assert find_current(rig.bundles, PUMP) == champion


def test_rows_near_an_alert_teach_nothing(rig: ReplayRig) -> None:
    """Ten minutes before it and ten after are left out; the rest stays."""
    bring_weeks(rig, None)
    table = rig.reader.read("telemetry", PUMP, NOW_NS, NOW_NS + ROWS * SECOND)
    calm = leave_out(table, [Event(NOW_NS + 700 * SECOND, NOW_NS + 800 * SECOND, is_confirmed=True)])
    left = np.flatnonzero(np.isnan(calm.values["flow"]))
    assert (left[0], left[-1], len(left)) == (100, 1_399, 1_300)
    np.testing.assert_array_equal(calm.values["flow"][1_400:], table.values["flow"][1_400:])


def test_drift_is_measured_daily_and_shown(rig: ReplayRig, tmp_path: Path) -> None:
    """A tag that has moved stands out by its PSI, the others do not; it is asked for once a day."""
    frame = cut(COLUMNS, 0, ROWS)
    warm = [value + 6.0 for value in frame.values["temperature"]]
    moved = Frame(frame.timestamps, frame.values | {"temperature": warm})
    for first in range(0, 100, 10):
        rig.bring([(PUMP, cut(COLUMNS, first, 10))])
    rig.turn()
    rig.writer.write([Block("telemetry", PUMP, [moved])])
    school, shown = make_school(rig, tmp_path, refit="never"), []
    school._show_drift = lambda machine, drift: shown.append((machine, drift))
    school._store_drift = rig.writer.write
    school.look(threading.Event())
    ((machine, drift),) = shown
    assert machine == str(PUMP)
    assert drift.psi["temperature"] > 0.25
    assert drift.psi["temperature"] > 3 * max(drift.psi["flow"], drift.psi["current"])
    assert drift.above_half is not None
    assert 0.0 <= drift.above_half < 0.5
    assert DriftBook(rig.engine).list()[str(PUMP)].drift == drift
    stored = rig.reader.read("drift", PUMP, 0, 2**62)
    assert {tag: column.tolist() for tag, column in stored.values.items()} == {
        tag: [psi] for tag, psi in drift.psi.items()
    }
    assert school.look(threading.Event()) == []


def test_what_the_crew_found_decides_what_a_challenger_must_find(rig: ReplayRig) -> None:
    """A real fault is to be found, maintenance only left out; a false alarm is normal and is learned."""
    events, verdicts = RefitBook(rig.engine), VerdictBook(rig.engine)
    found = {}
    for kind in get_args(VerdictKind):
        verdicts.put("a-1", Verdict(kind, "", "Ada", NOW_NS))
        found[kind] = [one.is_confirmed for one in events.list_events(PUMP, 0)]
    assert found == {"real_fault": [True], "false_alarm": [], "maintenance": [False]}
