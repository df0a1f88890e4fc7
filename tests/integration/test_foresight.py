"""What lies ahead of an open alert: from real stores, kept up to date, shown in mail, page and API."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import Engine, insert

from cloud.alerts import Alert
from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.failures import FailureBook
from cloud.alerts.foresight import Foresight, say_between
from cloud.alerts.foreteller import Foreteller
from cloud.alerts.settings import AlertSettings
from cloud.alerts.tables import alert_table, write_alert
from cloud.alerts.verdicts import Verdict, VerdictBook
from cloud.console.sheets import make_sheet
from cloud.machines import CardBox, MachineCard, TagCard
from cloud.notifiers.letter import write_letter
from cloud.records import open_records
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.transactions import begin_write
from models.telemetry import Frame, MachinePath
from tests.unit.alert_rig import PUMP, START_S, TEMPERATURE, make_alert

SECOND = 1_000_000_000
BEGIN_NS = START_S * SECOND
LIFE_S = 3_600
FAN = MachinePath("riverside", "hall-1", "air", "fan-1")


class Rig:
    """A store and records in a folder, with an alert about the pump."""

    def __init__(self, folder: Path, *, limit: float | None = None) -> None:
        settings = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
        self.writer, self.reader = settings.build_writer(), settings.build_reader()
        self.engine: Engine = open_records(f"sqlite:///{folder}/records.sqlite")
        tags = {"bearing_temperature": TagCard(unit="°C", high=limit)}
        self.cards = CardBox([MachineCard(path=PUMP, type="pump", title="Feed pump 7", tags=tags)])
        self.book = AlertBook(self.engine, AlertSettings(), self.cards, adviser=load_adviser())
        self.foresight = Foresight(self.reader, self.cards, FailureBook(self.engine), 10.0)
        self.now_ns = BEGIN_NS
        self.foreteller = Foreteller(self.book, self.foresight, 1.0, clock_ns=lambda: self.now_ns)

    def wear(self, begin_ns: int, first_s: int, last_s: int, seed: int = 0, life_s: float = LIFE_S) -> None:
        """Store a score that goes from half its limit to ten limits, and a temperature from 60 to 95."""
        rng = np.random.default_rng(seed)
        seconds = np.arange(first_s, last_s, 2)
        share = seconds / life_s
        score = 0.5 * 20.0**share * np.exp(0.05 * rng.standard_normal(len(share)))
        heat = 60.0 + 35.0 * share + 0.3 * rng.standard_normal(len(share))
        stamps = [begin_ns + int(second) * SECOND for second in seconds]
        scores = {"score": score.tolist(), "limit": [1.0] * len(stamps)}
        blocks = [
            Block("score", PUMP, [Frame(stamps, scores)]),
            Block("telemetry", PUMP, [Frame(stamps, {"bearing_temperature": heat.tolist()})]),
        ]
        assert self.writer.write(blocks) == []
        self.now_ns = stamps[-1]

    def raise_alert(self, **fields: object) -> Alert:
        """Write down an alert, a quarter of the life after the wear began."""
        shape = {"raised_ns": BEGIN_NS + LIFE_S // 4 * SECOND, "contributions": [TEMPERATURE]}
        alert = make_alert(**{**shape, "tags": ["bearing_temperature"], **fields})
        with begin_write(self.engine) as connection:
            connection.execute(insert(alert_table).values(**write_alert(alert)))
        return alert

    def close(self) -> None:
        """Let go of the files."""
        self.writer.close()
        self.reader.close()
        self.engine.dispose()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Give a rig whose tags have no fixed limits."""
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_the_forecast_of_an_open_alert_narrows_as_time_goes_on(rig: Rig) -> None:
    """At 60 and at 85 % of the machine's life the band is at its end; the second is the narrower one."""
    alert = rig.raise_alert()
    widths, told = [], []
    for first, last in ((0, 2_160), (2_160, 3_060)):
        rig.wear(BEGIN_NS, first, last, seed=first)
        assert rig.foreteller.look() == 1
        told.append(rig.book.get(alert.id))
        forecast = told[-1].forecast
        assert forecast is not None
        assert forecast.basis == "score"
        assert forecast.earliest_ns is not None
        assert forecast.latest_ns is not None
        end_ns, leeway_ns = BEGIN_NS + LIFE_S * SECOND, 60 * SECOND  # a band of 80 % may just miss
        assert forecast.earliest_ns - leeway_ns <= end_ns <= forecast.latest_ns + leeway_ns
        assert forecast.words.startswith("the score reaches 10 times its limit between")
        widths.append(forecast.latest_ns - forecast.earliest_ns)
    assert widths[1] < widths[0]
    assert [one.severity and one.severity.grade for one in told] == ["severe", "critical"]


def test_a_tag_on_its_way_to_its_fixed_limit_is_asked_first(tmp_path: Path) -> None:
    """A person knows what 95 degrees are, and nobody what ten times a score is."""
    rig = Rig(tmp_path, limit=95.0)
    alert = rig.raise_alert()
    rig.wear(BEGIN_NS, 0, 2_400)
    rig.foreteller.look()
    forecast = rig.book.get(alert.id).forecast
    assert forecast is not None
    assert forecast.basis == "fixed_limit"
    assert forecast.words.startswith("bearing temperature reaches its fixed limit of 95 °C between")
    assert forecast.earliest_ns is not None
    assert forecast.latest_ns is not None
    assert (
        forecast.earliest_ns - 300 * SECOND < BEGIN_NS + LIFE_S * SECOND < forecast.latest_ns + 300 * SECOND
    )
    rig.close()


def test_what_does_not_rise_is_said_to_have_no_reliable_forecast(rig: Rig) -> None:
    """And just after the alert there are too few values."""
    alert = rig.raise_alert(raised_ns=BEGIN_NS + 60 * SECOND)
    rng = np.random.default_rng(1)
    for rows, reason in ((70, "only"), (600, "it does not rise steadily")):
        stamps = [BEGIN_NS + second * SECOND for second in range(rows)]
        score = np.where(np.arange(rows) < 60, 0.3, 2.0 + 0.2 * rng.standard_normal(rows))
        frame = Frame(stamps, {"score": score.tolist(), "limit": [1.0] * rows})
        rig.writer.write([Block("score", PUMP, [frame])])
        rig.now_ns = stamps[-1]
        rig.foreteller.look()
        forecast = rig.book.get(alert.id).forecast
        assert forecast is not None
        assert forecast.earliest_ns is None
        assert forecast.words.startswith(f"no reliable forecast: {reason}")


def test_five_recorded_failures_of_such_machines_speak_first(rig: Rig) -> None:
    """Alerts that the crew called real, with the time of the failure, are what the machine is likened to."""
    verdicts = VerdictBook(rig.engine)
    for number in range(5):
        begin_ns = BEGIN_NS - (number + 1) * 2 * LIFE_S * SECOND
        rig.wear(begin_ns, 0, LIFE_S, seed=10 + number)
        raised_ns, failed_ns = begin_ns + LIFE_S // 4 * SECOND, begin_ns + LIFE_S * SECOND
        past = rig.raise_alert(id=f"past-{number}", raised_ns=raised_ns, cleared_ns=failed_ns + SECOND)
        verdicts.put(past.id, Verdict("real_fault", "bearing replaced", "Ada", failed_ns, failed_ns))
    alert = rig.raise_alert()
    rig.wear(BEGIN_NS, 0, 2_400, seed=99)
    rig.foreteller.look()
    forecast = rig.book.get(alert.id).forecast
    assert forecast is not None
    assert forecast.basis == "failures"
    assert forecast.words.startswith("going by 5 failures of the past, it fails between")
    assert forecast.earliest_ns is not None
    assert forecast.latest_ns is not None
    assert (
        forecast.earliest_ns - 200 * SECOND < BEGIN_NS + LIFE_S * SECOND < forecast.latest_ns + 200 * SECOND
    )


def test_a_cleared_alert_keeps_what_was_said_of_it_last(rig: Rig) -> None:
    """Nothing is foretold of it any more, and a page or mail of it shows no forecast."""
    alert = rig.raise_alert()
    rig.wear(BEGIN_NS, 0, 2_160)
    found = rig.foresight.look(alert, rig.now_ns)
    assert found is not None
    cleared = msgspec.structs.replace(alert, cleared_ns=rig.now_ns, state="cleared", id="gone")
    rig.raise_alert(id="gone", cleared_ns=rig.now_ns)
    rig.book.foretell("gone", *found)
    assert rig.book.get("gone").forecast is None
    told = msgspec.structs.replace(cleared, forecast=found[0], severity=found[1])
    letter = write_letter(
        told, "cleared", rig.cards.of(PUMP), link="http://x/alerts/gone", picture=None, missing="none"
    )
    assert "Ahead" not in letter.text


def test_mail_and_api_say_what_lies_ahead(rig: Rig) -> None:
    """In the same words; the API has the band as numbers, too."""
    alert = rig.raise_alert()
    rig.wear(BEGIN_NS, 0, 2_400)
    rig.foreteller.look()
    told = rig.book.get(alert.id)
    assert told.forecast is not None
    assert told.severity is not None
    card = rig.cards.of(PUMP)
    letter = write_letter(told, "raised", card, link="http://x/alerts/1", picture=None, missing="none")
    for text in (letter.text, letter.html):
        assert told.forecast.words in text
        assert told.severity.words in text
    sheet = make_sheet(told, [], [], card)
    assert sheet.forecast is not None
    assert sheet.forecast.words == told.forecast.words
    assert sheet.forecast.earliest_ms == (told.forecast.earliest_ns or 0) // 1_000_000
    assert sheet.severity is not None
    assert sheet.severity.grade == told.severity.grade


def test_an_interval_is_said_as_people_say_it() -> None:
    """Within a day with the day once; with seconds where it is short; over days with both days."""
    assert say_between(BEGIN_NS, BEGIN_NS + 7_200 * SECOND).count(":") == 2
    assert say_between(BEGIN_NS, BEGIN_NS + 90 * SECOND).count(":") == 4
    assert say_between(BEGIN_NS, BEGIN_NS + 3 * 86_400 * SECOND).count("-") == 4


def test_what_was_read_of_failures_is_kept_until_their_date_is_corrected(rig: Rig) -> None:
    """An alert of another type of machine in between does not have them read anew; a new date does."""
    cards = CardBox([rig.cards.of(PUMP), MachineCard(path=FAN, type="fan", title="Fan")])
    foresight = Foresight(rig.reader, cards, FailureBook(rig.engine), 10.0)
    verdicts, failed_ns = VerdictBook(rig.engine), BEGIN_NS + LIFE_S * SECOND
    past = rig.raise_alert(id="past", cleared_ns=failed_ns)
    rig.wear(BEGIN_NS, 0, LIFE_S)
    verdicts.put(past.id, Verdict("real_fault", "bearing", "Ada", failed_ns, failed_ns))
    before = foresight._recall_failures(PUMP)
    assert foresight._recall_failures(FAN) == []
    assert foresight._recall_failures(PUMP)[0] is before[0]
    earlier_ns = failed_ns - 600 * SECOND
    verdicts.put(past.id, Verdict("real_fault", "bearing", "Ada", failed_ns, earlier_ns))
    (corrected,) = foresight._recall_failures(PUMP)
    assert int(before[0].times[-1]) > int(corrected.times[-1]) == earlier_ns


def test_alerts_about_machines_are_foretold_however_many_others_are_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is lost raises an alert about the model of every machine, each newer than the pump's."""
    monkeypatch.setattr("cloud.alerts.foreteller.ALERTS_MAX", 3)
    alert = rig.raise_alert()
    rig.wear(BEGIN_NS, 0, 2_160)
    rig.book.note_models(
        {MachinePath("riverside", "hall-1", "water", f"fan-{n}"): "no key" for n in range(3)}
    )
    assert rig.foreteller.look() == 1
    assert rig.book.get(alert.id).severity is not None
