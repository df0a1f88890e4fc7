"""`forewarn models report`: a page of a real store, records and bundles, or of a file; it fetches nothing."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from cloud.alerts import Forecast, Severity
from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.alerts.tables import alert_table, write_alert
from cloud.alerts.verdicts import Verdict, VerdictBook
from cloud.machines import CardBox
from cloud.records import open_records
from cloud.watch.learning_book import LearningBook
from cloud.watch.lessons import Lesson
from forewarn.cli import app
from models.anomaly.provenance import TagGrade
from tests.integration.watcher_rig import MACHINE, NOW_NS, PAST_ROWS, SCRIPT, SECOND, Rig, make_frame
from tests.unit.alert_rig import make_alert

CONFIG = f"""
records: {{path: records.sqlite}}
store: {{kind: embedded, path: store.sqlite}}
bundles: bundles
watch: {{grid_s: 1.0}}
machines:
  - path: {MACHINE}
    title: Feed pump 7
    tags:
      flow: {{unit: m³/h}}
      temperature: {{title: Bearing temperature, unit: °C, high: 70.0}}
"""
EVIL = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """What a browser makes of a page: elements, what they would fetch, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a plant in which a machine was judged for two minutes, an alert raised and a failure dated."""
    (tmp_path / "cloud.yaml").write_text(CONFIG)
    rig = Rig(tmp_path)
    rig.store(make_frame(-PAST_ROWS, PAST_ROWS))
    rig.train()

    def wear(columns: dict) -> None:
        columns["temperature"] += 15.0

    for first in range(0, 120, 10):
        rig.bring(make_frame(first, 10, wear if first >= 60 else lambda _: None))
    rig.turn()
    rig.watcher._scores.write()
    rig.close()
    return tmp_path


def put_alert(folder: Path, **fields: object) -> str:
    """Put an alert of the machine into the records."""
    engine = open_records(f"sqlite:///{folder}/records.sqlite")
    alert = make_alert(**{"machine": MACHINE, "raised_ns": NOW_NS + 65 * SECOND, **fields})
    with engine.begin() as connection:
        connection.execute(insert(alert_table).values(**write_alert(alert)))
    engine.dispose()
    return alert.id


def write(folder: Path, *words: str) -> Page:
    """Return the page that the command writes."""
    args = ["models", "report", *words, "--output", str(folder / "page.html")]
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Page((folder / "page.html").read_text())


def report(folder: Path, *words: str) -> Page:
    """Return the report of the machine."""
    return write(folder, "--machine", str(MACHINE), "--config", str(folder / "cloud.yaml"), *words)


def test_the_page_says_what_an_engineer_asks(folder: Path) -> None:
    """Scores against the limit, the alert with who took it on and how early it was, promise, grades, card."""
    forecast = Forecast(NOW_NS, "score", "no reliable forecast: too few scores")
    alert_id = put_alert(folder, severity=Severity("severe", "severe, 4 times the limit"), forecast=forecast)
    engine = open_records(f"sqlite:///{folder}/records.sqlite")
    VerdictBook(engine).put(alert_id, Verdict("real_fault", "Bearing", "Ada", 1, NOW_NS + 3_665 * SECOND))
    book = AlertBook(engine, AlertSettings(), CardBox(), adviser=load_adviser())
    book.acknowledge(alert_id, "Ada")
    grades = {"flow": TagGrade("medium", "a value in 70% of the rows")}
    LearningBook(engine).put([Lesson(str(MACHINE), 1.0, 1.0, grades=grades)], NOW_NS)
    engine.dispose()
    page = report(folder)
    for words in (
        "Feed pump 7",
        "1 alert about the machine in this span, 1 acknowledged",
        "1 h before it failed",
        "acknowledged by Ada",
        "Real fault: Bearing",
        "Vibration 5.8 mm/s (expected 2.1, +7.2 sigma)",
        "+7.2 sigma",
        "How bad: severe, 4 times the limit",
        "What lies ahead: no reliable forecast",
        "Average forewarning",
        "Promised",
        "On rows held out of learning",
        "a value in 70% of the rows",
        "a value in 100% of the rows",  # of tags that nobody graded since: as they were learned with
        "1200 rows, one every 1 s",
        "nothing: it is the first of its line",
        "in charge",
    ):
        assert words in page.text, words
    assert re.search(r"1\d\d rows judged, [34]\d % of them above the limit", page.text)
    assert "svg" in page.tags


def test_the_page_fetches_nothing_and_nothing_of_a_machine_becomes_markup(folder: Path) -> None:
    """Tags and words that are markup are text; there is no script, link or picture, and a policy says so."""
    put_alert(folder, summary=f"{SCRIPT} {EVIL}", acknowledged_by=EVIL, acknowledged_ns=NOW_NS)
    page = report(folder)
    assert page.fetched == []
    assert not {"script", "img", "iframe", "link", "a"} & set(page.tags)
    assert page.text.count(SCRIPT) >= 3  # a strip, a row of the table, the alert
    assert EVIL in page.text
    html = (folder / "page.html").read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"https?://", html)
    assert len(html) < 200_000


def test_a_fixed_limit_says_how_early_the_warning_was(folder: Path) -> None:
    """Where no failure is dated, the forewarning is counted to the first tag above its fixed limit."""
    put_alert(folder, raised_ns=NOW_NS + 50 * SECOND)
    page = report(folder)
    found = re.search(r"(\d+) s before Bearing temperature passed its fixed limit", page.text)
    assert found
    assert 9 <= int(found[1]) <= 20  # it wears from second 60 on


def test_a_model_that_is_refused_is_told(folder: Path) -> None:
    """The open alert of its model stands in the report, and the kept one is named with its trouble."""
    put_alert(folder, kind="model", summary="The newest model cannot take charge: cut")
    version = next((folder / "bundles").glob("*.*/2*"))
    (version / "signature.json").unlink()
    page = report(folder)
    assert "The newest model cannot take charge: cut" in page.text
    assert "nobody that is believed here" in page.text


def test_a_machine_without_a_model_has_a_report_too(folder: Path) -> None:
    """How far learning has come is what there is to say."""
    (next((folder / "bundles").glob("*.*")) / "current").unlink()
    engine = open_records(f"sqlite:///{folder}/records.sqlite")
    LearningBook(engine).put([Lesson(str(MACHINE), 3_600.0, 86_400.0)], NOW_NS)
    engine.dispose()
    page = report(folder, "--from", "2026-11-22T08:00:00Z", "--to", "2026-11-22T08:58:00Z")
    assert "Nothing of this span was judged" in page.text
    assert "1 of 24 h" in page.text


def test_what_cannot_be_reported_is_said_with_what_can(folder: Path) -> None:
    """An unknown machine, an empty span, and words that do not go together each get their mend."""
    config = ["--config", str(folder / "cloud.yaml")]
    for words, said in (
        (["--machine", "a/b/c/d", *config], f"stored machines are {MACHINE}"),
        (["--machine", str(MACHINE), *config, "--from", "2030-01-01T00:00:00Z"], "stored are 2026-11-22T"),
        (config, "say --machine PATH, or --bundle DIR with --values FILE.csv"),
        (["--machine", str(MACHINE), "--bundle", "x"], "say --machine PATH"),
    ):
        result = CliRunner().invoke(app, ["models", "report", *words])
        assert result.exit_code != 0
        assert said in result.output + str(result.exception), words


def test_a_file_is_enough(tmp_path: Path) -> None:
    """A bundle that was trained from a file is reported over another: what it would have told, and when."""
    columns = make_frame(-PAST_ROWS, PAST_ROWS).values
    worn = {
        **columns,
        "temperature": [
            *columns["temperature"][:900],
            *(value + 12.0 for value in columns["temperature"][900:]),
        ],
    }
    for name, table in (("good", columns), ("worn", worn)):
        rows = [",".join(["timestamp", *table])]
        rows += [
            f"{NOW_NS // SECOND + second}," + ",".join(f"{table[tag][second]:.3f}" for tag in table)
            for second in range(PAST_ROWS)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
    bundle = str(tmp_path / "bundles")
    trained = CliRunner().invoke(app, ["models", "train", str(tmp_path / "good.csv"), "--bundle", bundle])
    assert trained.exit_code == 0, trained.output
    calm = write(tmp_path, "--bundle", bundle, "--values", str(tmp_path / "good.csv"))
    assert "No alerts would have been raised" in calm.text
    page = write(tmp_path, "--bundle", bundle, "--values", str(tmp_path / "worn.csv"))
    assert "1 alert would have been raised" in page.text
    assert "Would have been told" in page.text
    assert page.fetched == []
    assert SCRIPT in page.text
