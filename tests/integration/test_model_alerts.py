"""A model that cannot take charge: the previous one judges on, one alert says so, a good model clears it."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.exc import IntegrityError

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.model_alerts import describe_trouble
from cloud.alerts.settings import AlertSettings
from cloud.alerts.tables import alert_table, write_alert
from cloud.notifiers.letter import write_letter
from cloud.notifiers.outbox import Address, NotificationOutbox
from cloud.notifiers.picture import PictureMissing, draw_alert
from cloud.records import open_records
from cloud.watch.versions import retire, roll_back
from models.anomaly.bundle import find_current, locate_machine
from models.anomaly.signing import list_trusted, locate_keys, trust
from tests.integration.watcher_rig import MACHINE, NOW_NS, PAST_ROWS, SETTINGS, Rig, make_frame
from tests.unit.alert_rig import PUMP, SCRIPT, make_alert, make_cards

WHY = "card.json: was changed"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Give a machine that is judged by a good model, and a watcher that tells a real alert book."""
    rig = Rig(tmp_path)
    rig.store(make_frame(-PAST_ROWS, PAST_ROWS))
    rig.train()
    rig.bring(make_frame(0, 3))
    yield rig
    rig.close()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Records in a file of the test's own."""
    return open_records(f"sqlite:///{tmp_path}/alerts.sqlite")


def open_book(engine: Engine, **rules: object) -> AlertBook:
    """Return a book as after a start of the service."""
    addresses = [Address("email", "crew@plant.example")]
    return AlertBook(
        engine, AlertSettings(**rules), make_cards(), adviser=load_adviser(), addresses=addresses
    )


def damage(rig: Rig, kind: str) -> None:
    """Train once more and spoil what came of it."""
    rig.train()
    folder = find_current(rig.bundles, MACHINE)
    if kind == "missing":
        shutil.rmtree(folder)
    elif kind == "corrupt":
        (folder / "arrays.npz").write_bytes(b"nothing")
    elif kind == "unsigned":
        (folder / "signature.json").unlink()
    elif kind == "mismatching":
        other = locate_machine(rig.bundles, MACHINE).with_name("riverside.hall-1.water.pump-8")
        card = (folder / "card.json").read_text().replace("pump-7", "pump-8")
        shutil.copytree(folder, other / folder.name)
        (folder / "card.json").write_text(card)
    elif kind == "vanished":
        shutil.rmtree(folder.parent)


@pytest.mark.parametrize("kind", ["missing", "corrupt", "unsigned", "mismatching", "vanished"])
def test_the_previous_model_judges_on_and_one_alert_is_raised(rig: Rig, engine: Engine, kind: str) -> None:
    """Whatever is wrong with the newest model: scores go on, and the book has one alert, until a good one."""
    rig.watcher._desk._book = book = open_book(engine)
    damage(rig, kind)
    for first in (3, 6, 9):
        rig.bring(make_frame(first, 3))
    rig.turn()
    scores = rig.reader.read("score", MACHINE, NOW_NS + 6_000_000_000, NOW_NS + 11_000_000_000)
    assert len(scores.timestamps) >= 4
    (alert,) = book.list_alerts()
    assert (alert.kind, alert.state, alert.machine) == ("model", "raised", MACHINE)
    assert alert.summary.startswith("The newest model of Feed pump 7 cannot take charge: ")
    assert f"forewarn cloud train --machine {MACHINE}" in alert.advice[-1]
    assert [row.occasion for row in NotificationOutbox(engine).list_of(alert.id)] == ["raised"]
    rig.train()
    rig.turn()
    rig.turn()
    assert book.get(alert.id).state == "cleared"
    assert [event.change for event in book.list_events(alert.id)] == ["raised", "cleared"]


@pytest.mark.parametrize("kind", ["corrupt", "unsigned"])
def test_after_a_restart_the_model_before_the_refused_one_judges_on(rig: Rig, kind: str) -> None:
    """The service has forgotten what was in memory: it takes that version, and the trouble stays."""
    damage(rig, kind)
    rig.turn()
    rig.watch()
    rig.bring(make_frame(3, 6))
    rig.turn()
    assert len(rig.book.judged()) >= 4
    assert rig.book.troubles[MACHINE] == rig.watcher._machines[MACHINE].trouble != ""
    assert rig.book.judged()[-1].reason == rig.book.troubles[MACHINE]
    rig.train()
    rig.turn()
    rig.turn()
    assert rig.book.troubles[MACHINE] == rig.watcher._machines[MACHINE].trouble == ""


def test_a_model_from_before_a_repair_never_comes_back_by_itself(rig: Rig) -> None:
    """The first one after a reset is refused: the machine is learning, whatever versions there are."""
    retire(rig.bundles, MACHINE)
    rig.turn()
    damage(rig, "corrupt")
    rig.turn()
    rig.watch()
    rig.bring(make_frame(3, 6))
    rig.turn()
    assert rig.watcher._machines[MACHINE].bundle is None
    assert "changed or cut" in rig.book.troubles[MACHINE]


def test_an_alert_from_before_a_restart_is_cleared_by_a_rollback(rig: Rig, engine: Engine) -> None:
    """A new watcher raises nothing anew for the same trouble; the older model in charge clears the alert."""
    rig.watcher._desk._book = open_book(engine)
    damage(rig, "corrupt")
    rig.turn()
    rig.watch()
    rig.watcher._desk._book = book = open_book(engine)
    rig.bring(make_frame(3, 3))
    assert len(book.list_alerts()) == 1
    roll_back(rig.bundles, MACHINE)
    rig.turn()
    rig.turn()
    assert [alert.state for alert in book.list_alerts()] == ["cleared"]


def test_a_trusted_key_lets_the_refused_model_take_charge(rig: Rig, tmp_path: Path) -> None:
    """A model from elsewhere is refused until its key is trusted; nothing has to be restarted."""
    other = Rig(tmp_path / "other")
    other.store(make_frame(-PAST_ROWS, PAST_ROWS))
    other.train()
    folder = find_current(other.bundles, MACHINE)
    home = locate_machine(rig.bundles, MACHINE)
    shutil.copytree(folder, home / folder.name)
    (home / "current").write_text(folder.name)
    rig.turn()
    rig.turn()
    assert "which is not trusted here" in rig.book.troubles[MACHINE]
    (public,) = list_trusted(locate_keys(other.bundles)).values()
    trust(public, locate_keys(rig.bundles))
    rig.turn()
    rig.turn()
    assert rig.book.troubles[MACHINE] == ""
    other.close()


def test_a_reset_is_no_trouble(rig: Rig) -> None:
    """A machine that a person lets learn anew is learning, and no alert says that its model is missing."""
    retire(rig.bundles, MACHINE)
    rig.turn()
    assert rig.watcher._machines[MACHINE].bundle is None
    rig.turn()
    assert rig.book.troubles == {MACHINE: ""}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_reset_clears_the_alert_about_a_refused_model(rig: Rig, engine: Engine, *, restarts: bool) -> None:
    """Nobody waits for that model any more; so it is where the service was off when it was retired."""
    damage(rig, "corrupt")
    rig.watch()
    rig.watcher._desk._book = book = open_book(engine)
    rig.bring(make_frame(3, 3))
    assert [alert.state for alert in book.list_alerts()] == ["raised"]
    retire(rig.bundles, MACHINE)
    if restarts:
        rig.watch()
        rig.watcher._desk._book = book
    rig.bring(make_frame(6, 3))
    rig.turn()
    rig.turn()
    assert [alert.state for alert in book.list_alerts()] == ["cleared"]
    assert "no model yet" in rig.watcher._machines[MACHINE].say_learning().reason


def test_a_pointer_that_is_mended_ends_the_trouble(rig: Rig) -> None:
    """The model that it named before is believed again, though it was never out of charge."""
    pointer = locate_machine(rig.bundles, MACHINE) / "current"
    name = pointer.read_text()
    pointer.write_text("../elsewhere")
    rig.turn()
    rig.turn()
    assert "names no bundle" in rig.book.troubles[MACHINE]
    pointer.write_text(name)
    rig.turn()
    rig.turn()
    assert rig.book.troubles[MACHINE] == ""
    assert rig.watcher._machines[MACHINE].trouble == ""


def test_keys_that_cannot_be_looked_at_are_a_trouble_and_no_end(rig: Rig, tmp_path: Path) -> None:
    """A folder of keys that another user made may not even be looked at: the watcher says so and goes on."""
    nowhere = tmp_path / ("k" * 300)  # of a name too long nobody can say whether it is there, not even root
    rig.settings = SETTINGS.model_copy(update={"trusted_keys": nowhere})
    rig.watch()
    rig.bring(make_frame(3, 3))
    rig.turn()
    assert "the trusted keys cannot be looked at" in rig.book.troubles[MACHINE]


def test_trouble_waits_for_records_that_are_away(rig: Rig) -> None:
    """What could not be told of a model is told when the records are back."""
    rig.book.away = True
    damage(rig, "corrupt")
    rig.bring(make_frame(3, 3))
    assert rig.book.troubles == {MACHINE: ""}
    rig.book.away = False
    rig.turn()
    assert "changed or cut" in rig.book.troubles[MACHINE]


def test_it_stands_beside_the_machines_own_alert(engine: Engine) -> None:
    """A machine may be strange and its newest model refused; of either there is one, says the database."""
    book = open_book(engine, tell=["raised", "cleared"])
    with engine.begin() as connection:
        connection.execute(insert(alert_table).values(**write_alert(make_alert(id="machine"))))
    for why in (WHY, WHY, SCRIPT):
        book.note_models({PUMP: why})
    model, machine = book.list_alerts(open_only=True)
    assert (model.kind, machine.kind) == ("model", "machine")
    assert SCRIPT in model.summary
    assert [event.change for event in book.list_events(model.id)] == ["raised", "widened"]
    book.note_models({PUMP: ""})
    assert [one.occasion for one in NotificationOutbox(engine).list_of(model.id)] == ["raised", "cleared"]
    assert [one.kind for one in book.list_alerts(open_only=True)] == ["machine"]
    for kind in ("machine", "model"):
        row = write_alert(make_alert(id=f"a-{kind}", kind=kind))
        again = write_alert(make_alert(id=f"b-{kind}", kind=kind))
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(insert(alert_table), [row, again])


def test_the_letter_speaks_of_the_model_only(tmp_path: Path) -> None:
    """It says why, what to type, that nothing is known against the machine, and clears in its own words."""
    card = make_cards().of(PUMP)
    alert = describe_trouble(PUMP, f"{SCRIPT} was changed", card, NOW_NS)
    with pytest.raises(PictureMissing, match="nothing is known against the machine"):
        draw_alert(alert, card, Rig(tmp_path, SETTINGS).reader)
    letter = write_letter(alert, "raised", card, link="http://x/1", picture=None, missing="No picture.")
    assert letter.subject == f"[Forewarn] Feed pump 7 ({PUMP}): its newest model cannot take charge"
    for words in (
        "The newest model cannot take charge",
        f"forewarn models list --machine {PUMP}",
        "No picture.",
    ):
        assert words in letter.text
    assert "readings no longer fit" not in letter.text
    assert SCRIPT not in letter.html
    cleared = write_letter(alert, "cleared", card, link="http://x/1", picture=None, missing="No picture.")
    assert "A good model took charge" in cleared.text


def test_records_of_version_3_let_both_alerts_be_open(tmp_path: Path) -> None:
    """The step keeps an open alert, and its promise of one per machine."""
    file = tmp_path / "records.sqlite"
    engine = open_records(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(insert(alert_table).values(**write_alert(make_alert(id="old"))))
    engine.dispose()
    with sqlite3.connect(file) as old:
        old.executescript(
            "DROP INDEX one_open_alert_per_machine; DROP INDEX one_open_model_alert_per_machine;"
            "CREATE UNIQUE INDEX one_open_alert_per_machine ON alert (machine) WHERE cleared_ns IS NULL;"
            "UPDATE schema_version SET version = 3;"
        )
    engine = open_records(f"sqlite:///{file}")
    open_book(engine).note_models({PUMP: WHY})
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(alert_table).values(**write_alert(make_alert(id="second"))))
    engine.dispose()
