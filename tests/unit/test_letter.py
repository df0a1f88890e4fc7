"""Letters: the same facts in HTML and text, nothing of a machine's becomes markup, nothing is fetched."""

import re
from html.parser import HTMLParser

import pytest

from cloud.alerts.words import say_time
from cloud.notifiers.letter import clean, write_letter, write_subject
from cloud.watch.observations import Contribution
from tests.unit.alert_rig import PUMP, SCRIPT, START_S, make_alert, make_cards

CARD = make_cards().of(PUMP)
LINK = "http://forewarn.plant.example:8080/alerts/20261123-031502-pump-7-3f9a2c"
EVIL = [SCRIPT, '"><img src="http://evil.example/x.png">', "a\u202eb", "{{ 7*7 }}{% raw %}", "]]><mj-raw>"]


class Page(HTMLParser):
    """What a mail program sees: tags, attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href", "background")}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_and_text_say_the_same_facts() -> None:
    """Who, what, since when, how sure, what each tag reads and should read, what to check, where to click."""
    letter = write_letter(make_alert(), "raised", CARD, link=LINK, picture=b"png", missing="")
    page = Page(letter.html)
    for fact in (
        "Feed pump 7",
        str(PUMP),
        "Looks like bearing wear",
        say_time(START_S * 1_000_000_000),
        "clear, 2.4 times the limit (score 2.40, limit 1.00)",
        "No fixed limit has been reached yet.",
        "5.8 mm/s",
        "expected 2.1 mm/s",
        "+7.2 sigma",
        "82 °C",
        "expected 61 °C",
        "fixed limit 95 °C: not reached yet",
        "Listen at both bearing housings.",
        "Check the oil.",
    ):
        assert fact in page.text
        assert fact in letter.text
    assert LINK in page.addresses
    assert LINK in letter.text


def test_the_subject_names_machine_and_tags() -> None:
    """The crew sees on a locked phone which machine it is and what is wrong."""
    where = "[Forewarn] Feed pump 7 (riverside/hall-1/water/pump-7): "
    assert write_subject(make_alert(), "raised", CARD) == (
        f"{where}vibration and bearing temperature are not normal"
    )
    tag = make_alert(kind="tag", tags=["bearing_temperature"], contributions=[])
    assert write_subject(tag, "raised", CARD) == (
        f"{where}sensor fault, bearing temperature cannot be believed"
    )
    assert write_subject(make_alert(), "cleared", CARD) == f"{where}back to normal"


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["machine", "tag"])
def test_nothing_of_a_machine_becomes_markup(name: str, kind: str) -> None:
    """Whatever a tag is called, the letter has the tags and addresses of an innocent one."""
    alert = make_alert(
        kind=kind,
        tags=[name],
        contributions=[Contribution(name, 5.0, 2.0, 7.0)],
        faulty_tags={name: f"says {name}"},
        summary=f"{name} is odd",
        cause=name,
        advice=[f"Check {name}"],
    )
    letter = write_letter(alert, "raised", CARD, link=LINK, picture=None, missing=f"No picture: {name}")
    innocent = write_letter(
        make_alert(kind=kind, faulty_tags={"flow": "stuck"}),
        "raised",
        CARD,
        link=LINK,
        picture=None,
        missing="No picture",
    )
    page, plain = Page(letter.html), Page(innocent.html)
    assert page.tags == plain.tags
    assert page.addresses == plain.addresses
    assert f"says {clean(name)}" in page.text
    assert letter.subject.isprintable()
    assert letter.text.replace("\n", "").isprintable()


def test_a_letter_fetches_nothing() -> None:
    """Plants have no internet: no fonts, no pictures, no style sheets from outside."""
    letter = write_letter(make_alert(), "raised", CARD, link=LINK, picture=b"png", missing="")
    assert Page(letter.html).addresses == {LINK, "cid:plot"}
    assert not re.findall(r"url\(|@import", letter.html)


def test_a_missing_picture_is_said_in_its_place() -> None:
    """The letter goes out without it, and says why."""
    letter = write_letter(make_alert(), "raised", CARD, link=LINK, picture=None, missing="No picture: away.")
    assert "No picture: away." in letter.text
    assert "No picture: away." in letter.html
    assert "cid:plot" not in letter.html


def test_a_passed_limit_is_said_and_nothing_else_claimed() -> None:
    """The letter never says that no limit was reached when one was."""
    alert = make_alert(contributions=[Contribution("bearing_temperature", 96.0, 61.0, 9.0)])
    letter = write_letter(alert, "raised", CARD, link=LINK, picture=None, missing="-")
    assert "fixed limit 95 °C: passed" in letter.text
    assert "No fixed limit" not in letter.text


def test_very_long_names_do_not_make_a_monster() -> None:
    """A subject stays one short line, a name is cut."""
    name = "x" * 128
    alert = make_alert(tags=[name, name], contributions=[Contribution(name, 1.0, 2.0, 9.0)])
    assert len(write_subject(alert, "raised", CARD)) <= 200
    assert clean("a\r\nBcc: evil@example.org\x00\t b") == "a Bcc: evil@example.org b"


def test_the_follow_ups_say_what_changed() -> None:
    """An escalated alert says that it is no longer only a sensor; a cleared one how long it lasted."""
    escalated = write_letter(make_alert(), "escalated", CARD, link=LINK, picture=None, missing="-")
    assert "So far only a sensor looked faulty" in escalated.text
    alert = make_alert(cleared_ns=(START_S + 7200) * 1_000_000_000, state="cleared")
    cleared = write_letter(alert, "cleared", CARD, link=LINK, picture=None, missing="-")
    assert "Back to normal" in cleared.html
    assert "for 2 h" in cleared.text
    assert "WHAT TO CHECK" not in cleared.html
