"""The alert book on a real SQLite file: one open alert, a history, notifications, and restarts."""

from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import IntegrityError

from cloud.alerts import UnknownAlert
from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.alerts.tables import alert_table, write_alert
from cloud.notifiers.outbox import Address, NotificationOutbox
from cloud.records import open_records
from cloud.transactions import RecordsUnavailable
from cloud.watch.observations import Observation
from models.telemetry import MachinePath
from tests.unit.alert_rig import PUMP, SCRIPT, TEMPERATURE, VIBRATION, make_alert, make_cards, observe

ADDRESSES = [Address("email", "crew@plant.example"), Address("email", "chief@plant.example")]
STUCK = {"flow": "unchanged for 14 s"}
MOTOR = MachinePath.parse("riverside/hall-1/water/motor-3")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Records in a file of the test's own."""
    return open_records(f"sqlite:///{tmp_path}/records.sqlite")


def open_book(engine: Engine, **rules: object) -> AlertBook:
    """Return a book as after a start of the service."""
    return AlertBook(
        engine, AlertSettings(**rules), make_cards(), adviser=load_adviser(), addresses=ADDRESSES
    )


def worn(first: int, last: int, score: float = 2.0, **fields: object) -> list[Observation]:
    """Return a worn bearing's observations, one a second."""
    return [observe(s, score, contributions=[VIBRATION, TEMPERATURE], **fields) for s in range(first, last)]


def observe_each(book: AlertBook, seen: Sequence[Observation]) -> None:
    """Give the observations one call each, as the watcher does."""
    for one in seen:
        book.observe([one])


def test_a_worn_machine_makes_one_alert_with_its_reasons(engine: Engine) -> None:
    """The alert says what reads wrong, what it looks like and what to check; each recipient is told once."""
    book = open_book(engine)
    observe_each(book, worn(0, 60))
    (alert,) = book.list_alerts()
    assert (alert.machine, alert.kind, alert.state) == (PUMP, "machine", "raised")
    assert alert.raised_ns == observe(7).timestamp
    assert alert.tags == ["vibration_velocity", "bearing_temperature"]
    assert alert.summary.startswith("Vibration 5.8 mm/s (expected 2.1, +7.2 sigma)")
    assert alert.cause == "Bearing wear"
    assert alert.advice
    assert book.get(alert.id) == alert
    told = NotificationOutbox(engine).list_of(alert.id)
    assert [(row.occasion, row.recipient, row.state) for row in told] == [
        ("raised", "crew@plant.example", "waiting"),
        ("raised", "chief@plant.example", "waiting"),
    ]


def test_the_peak_is_kept_and_the_evidence_stays(engine: Engine) -> None:
    """`score_peak` follows the worst; what was told when raised does not change under the reader."""
    book = open_book(engine)
    observe_each(book, [*worn(0, 20), *worn(20, 25, 9.0), *worn(25, 30)])
    (alert,) = book.list_alerts()
    assert (alert.score, alert.limit, alert.score_peak) == (2.0, 1.0, 9.0)


@pytest.mark.parametrize("cut", range(0, 100, 9))
def test_a_restart_at_any_instant_changes_nothing(engine: Engine, cut: int) -> None:
    """The same life with a restart in it, and the last minute fed again, makes the same two alerts."""
    life = [*worn(0, 10), *worn(10, 45, 0.1), *worn(45, 100)]
    observe_each(open_book(engine), life[:cut])
    observe_each(open_book(engine), life[max(0, cut - 60) :])
    book = open_book(engine)
    second, first = book.list_alerts()
    assert (first.raised_ns, first.cleared_ns) == (observe(7).timestamp, observe(40).timestamp)
    assert (second.raised_ns, second.cleared_ns) == (observe(52).timestamp, None)
    assert [event.change for event in book.list_events(first.id)] == ["raised", "cleared"]
    assert len(NotificationOutbox(engine).list_due(2**62, 100)) == 4


def test_acknowledging_is_written_once(engine: Engine) -> None:
    """The first person who acknowledges is the one in the book; it may also be done after the end."""
    book = open_book(engine)
    observe_each(book, worn(0, 10))
    (alert,) = book.list_alerts()
    assert book.acknowledge(alert.id, "  Ada \n").acknowledged_by == "Ada"
    again = book.acknowledge(alert.id, "Bob")
    assert (again.state, again.acknowledged_by) == ("acknowledged", "Ada")
    assert [(event.change, event.by) for event in book.list_events(alert.id)] == [
        ("raised", "forewarn"),
        ("acknowledged", "Ada"),
    ]
    observe_each(book, worn(10, 60, 0.1))
    assert book.get(alert.id).state == "cleared"
    assert book.get(alert.id).acknowledged_by == "Ada"


def test_an_unknown_alert_is_named(engine: Engine) -> None:
    """A wrong link is answered with words, not with a stack trace."""
    book = open_book(engine)
    for ask in (book.get, book.list_events, lambda alert_id: book.acknowledge(alert_id, "Ada")):
        with pytest.raises(UnknownAlert, match="there is no alert 'nonsense'"):
            ask("nonsense")


def test_a_tag_alert_grows_into_the_machines(engine: Engine) -> None:
    """The same alert is escalated, must be acknowledged again, and is told anew."""
    book = open_book(engine)
    observe_each(book, [observe(s, faulty_tags=STUCK) for s in range(15)])
    (tag,) = book.list_alerts()
    assert (tag.kind, tag.tags, tag.faulty_tags) == ("tag", ["flow"], STUCK)
    book.acknowledge(tag.id, "Ada")
    observe_each(book, worn(15, 40, faulty_tags=STUCK))
    (alert,) = book.list_alerts()
    assert (alert.id, alert.kind, alert.state) == (tag.id, "machine", "raised")
    assert (alert.raised_ns, alert.escalated_ns) == (tag.raised_ns, observe(22).timestamp)
    assert alert.tags == ["vibration_velocity", "bearing_temperature"]
    assert alert.faulty_tags == STUCK
    changes = [event.change for event in book.list_events(alert.id)]
    assert changes == ["raised", "acknowledged", "escalated"]
    occasions = [row.occasion for row in NotificationOutbox(engine).list_of(alert.id)]
    assert occasions == ["raised", "raised", "escalated", "escalated"]


def test_a_second_faulty_tag_is_added_without_another_mail(engine: Engine) -> None:
    """One sensor after the other: one alert that names them all."""
    book = open_book(engine)
    both = STUCK | {SCRIPT: "bad quality"}
    observe_each(book, [observe(s, faulty_tags=STUCK if s < 20 else both) for s in range(40)])
    (alert,) = book.list_alerts()
    assert alert.faulty_tags == both
    assert alert.tags == ["flow", SCRIPT]
    assert len(NotificationOutbox(engine).list_of(alert.id)) == 2


def test_the_crew_is_told_of_the_end_only_when_asked_for(engine: Engine) -> None:
    """`tell: [raised, cleared]` adds the follow-up."""
    book = open_book(engine, tell=["raised", "cleared"])
    observe_each(book, [*worn(0, 10), *worn(10, 60, 0.1)])
    (alert,) = book.list_alerts()
    occasions = [row.occasion for row in NotificationOutbox(engine).list_of(alert.id)]
    assert occasions == ["raised", "raised", "cleared", "cleared"]


def test_machines_do_not_share_alerts(engine: Engine) -> None:
    """Two machines at once are two alerts; lists can be asked for one machine or for open ones."""
    book = open_book(engine)
    for second in range(10):
        book.observe([*worn(second, second + 1), *worn(second, second + 1, machine=MOTOR)])
    observe_each(book, worn(10, 60, 0.1, machine=MOTOR))
    assert book.count() == 2
    assert book.count(open_only=True) == 1
    assert [alert.machine for alert in book.list_alerts(open_only=True)] == [PUMP]
    assert [alert.machine for alert in book.list_alerts(machine=MOTOR)] == [MOTOR]
    assert len(book.list_alerts(limit=1)) == 1


def test_many_observations_in_one_call_are_as_many_calls(engine: Engine) -> None:
    """A watcher that catches up gives a whole life at once."""
    book = open_book(engine)
    book.observe([*worn(0, 10), *worn(10, 60, 0.1), *worn(60, 70)])
    assert [alert.state for alert in book.list_alerts()] == ["raised", "cleared"]


def test_the_database_itself_refuses_a_second_open_alert(engine: Engine) -> None:
    """The promise does not depend on who writes."""
    rows = [write_alert(make_alert(id=name)) for name in ("a", "b")]
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(alert_table), rows)


def test_when_the_records_are_locked_nothing_happened(engine: Engine) -> None:
    """`RecordsUnavailable` means: repeat the same call, and it counts once."""
    book = open_book(engine)
    observe_each(book, worn(0, 7))
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with book._engine.connect() as mine:  # the pool's connection, made impatient for the test
            mine.execute(text("PRAGMA busy_timeout=50"))
        with pytest.raises(RecordsUnavailable, match="do not answer"):
            book.observe(worn(7, 8))
        other.rollback()
    assert book.count() == 0
    observe_each(book, worn(7, 8))
    assert book.count() == 1


def test_a_healthy_plant_writes_nothing(engine: Engine) -> None:
    """Observations without news leave no row behind."""
    book = open_book(engine)
    observe_each(book, worn(0, 300, 0.2))
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from alert_progress")).scalar_one() == 0


def test_reading_beside_the_writer_is_safe(engine: Engine) -> None:
    """The console reads and acknowledges while the watcher writes."""
    book = open_book(engine)
    writer = Thread(target=observe_each, args=(book, worn(0, 200)))
    writer.start()
    acknowledged = 0
    while writer.is_alive() or not acknowledged:
        for alert in book.list_alerts(open_only=True):
            acknowledged += book.acknowledge(alert.id, "Ada").acknowledged_by == "Ada"
    writer.join()
    (alert,) = book.list_alerts()
    assert [event.change for event in book.list_events(alert.id)] == ["raised", "acknowledged"]
