"""Verdicts: what counts as a false alarm and as forewarning, machine by machine."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.alerts.verdicts import AlarmCount, Verdict, VerdictBook, VerdictKind
from cloud.records import open_records
from models.telemetry import MachinePath
from tests.unit.alert_rig import PUMP, START_S, VIBRATION, make_cards, observe

FAN = MachinePath.parse("riverside/hall-2/drying/fan-1")
START_NS = START_S * 1_000_000_000
SINCE = {str(PUMP): START_NS, str(FAN): START_NS}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Empty records."""
    return open_records(f"sqlite:///{tmp_path}/records.sqlite")


@pytest.fixture
def book(engine: Engine) -> AlertBook:
    """An alert book that tells nobody."""
    return AlertBook(engine, AlertSettings(), make_cards(), adviser=load_adviser())


def pass_by(book: AlertBook, machine: MachinePath = PUMP, at_s: int = 0) -> str:
    """Let a machine be strange and calm again; return its alert's id, cleared and looked at by nobody."""
    for second in range(60):
        score = 2.4 if second < 10 else 0.1
        parts = [VIBRATION] if second < 10 else []
        book.observe([observe(at_s + second, score, machine=machine, contributions=parts)])
    alert = max(book.list_alerts(machine=machine), key=lambda one: one.raised_ns)
    assert alert.cleared_ns is not None
    return alert.id


def give(engine: Engine, alert_id: str, kind: VerdictKind, failed_ns: int | None = None) -> None:
    """Say what an alert was."""
    VerdictBook(engine).put(alert_id, Verdict(kind, "", "Ada", START_NS, failed_ns))


def test_an_alert_that_passes_and_nobody_takes_on_counts_as_false(book: AlertBook, engine: Engine) -> None:
    """Once somebody has taken it on it does not, and a verdict decides whatever came before."""
    verdicts = VerdictBook(engine)
    passed, taken = pass_by(book), pass_by(book, at_s=100)
    book.acknowledge(taken, "Ada")
    assert verdicts.count_false(SINCE) == {str(PUMP): AlarmCount(marked=0, unreviewed=1)}
    give(engine, taken, "false_alarm")
    assert verdicts.count_false(SINCE)[str(PUMP)] == AlarmCount(marked=1, unreviewed=1)
    assert verdicts.count_false(SINCE)[str(PUMP)].false == 2
    give(engine, passed, "real_fault")
    give(engine, taken, "maintenance")
    assert verdicts.count_false(SINCE) == {}


def test_an_open_alert_and_a_sensors_are_no_false_alarms(book: AlertBook, engine: Engine) -> None:
    """What is still strange may yet be found; a faulty sensor says nothing of the machine's model."""
    for second in range(12):
        book.observe([observe(second, 2.4, contributions=[VIBRATION])])
    for second in range(60):
        faulty = {"speed": "unchanged for 14 s"} if second < 20 else {}
        book.observe([observe(second, 0.1, machine=FAN, faulty_tags=faulty)])
    assert {alert.kind for alert in book.list_alerts()} == {"machine", "tag"}
    assert VerdictBook(engine).count_false(SINCE) == {}


def test_false_alarms_are_counted_from_where_watching_is(book: AlertBook, engine: Engine) -> None:
    """Each machine from its own instant on; one that is not asked for is not counted."""
    pass_by(book)
    pass_by(book, FAN)
    late = START_NS + 50_000_000_000
    assert VerdictBook(engine).count_false({str(PUMP): late, str(FAN): START_NS}) == {
        str(FAN): AlarmCount(marked=0, unreviewed=1)
    }
    assert VerdictBook(engine).count_false({str(PUMP): late}) == {}


def test_forewarning_is_from_the_alert_to_the_dated_failure(book: AlertBook, engine: Engine) -> None:
    """Only of real faults whose failure somebody dated; a warning that came after it was none."""
    ids = [pass_by(book, at_s=100 * at) for at in range(4)]
    raised = {alert.id: alert.raised_ns for alert in book.list_alerts()}
    give(engine, ids[0], "real_fault", raised[ids[0]] + 90_000_000_000)
    give(engine, ids[1], "real_fault", raised[ids[1]] - 1)
    give(engine, ids[2], "real_fault")
    give(engine, ids[3], "maintenance", raised[ids[3]] + 1_000_000_000)
    assert sorted(VerdictBook(engine).list_leads()[str(PUMP)]) == [0.0, 90.0]


def test_an_alert_about_a_model_forewarned_of_nothing(book: AlertBook, engine: Engine) -> None:
    """Whatever somebody found when it was open: nobody was warned of the machine's failure by it."""
    book.note_models({PUMP: "it was changed after training"})
    (alert,) = book.list_alerts()
    give(engine, alert.id, "real_fault", alert.raised_ns + 90_000_000_000)
    assert VerdictBook(engine).list_leads() == {}


def test_the_newest_verdict_counts_and_a_repeat_writes_no_history(book: AlertBook, engine: Engine) -> None:
    """A double click is one line; another verdict is another."""
    alert_id = pass_by(book)
    for kind in ("false_alarm", "false_alarm", "real_fault"):
        give(engine, alert_id, kind)
    assert VerdictBook(engine).list_of([alert_id, "none"]) == {
        alert_id: Verdict("real_fault", "", "Ada", START_NS)
    }
    reviewed = [event.words for event in book.list_events(alert_id) if event.change == "reviewed"]
    assert reviewed == ["False alarm", "Real fault"]
