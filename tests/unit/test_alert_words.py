"""Sentences for people: numbers that can be told apart, durations, and what an alert says."""

import pytest

from cloud.alerts.words import (
    choose_blamed,
    name_tag,
    say_number,
    say_pair,
    summarise_machine,
    summarise_tags,
)
from cloud.machines import CardBox, MachineCard, TagCard, title_of
from cloud.watch.observations import Contribution
from models.telemetry import MachinePath
from tests.unit.alert_rig import PUMP, TEMPERATURE, VIBRATION, make_cards


@pytest.mark.parametrize(
    ("value", "expected", "words"),
    [
        (5.83, 2.12, ("5.8", "2.1")),
        (82.13, 61.3, ("82", "61")),
        (1481.0, 1480.97, ("1481.000", "1480.970")),
        (0.0, 0.004, ("0.0000", "0.0040")),
        (7.0, 7.0, ("7.00", "7.00")),
        (float("nan"), 2.0, ("no number", "2.00")),
    ],
)
def test_a_reading_and_what_was_expected_can_be_told_apart(
    value: float, expected: float, words: tuple[str, str]
) -> None:
    """Both have the decimals that their difference needs, no more."""
    assert say_pair(value, expected) == words


def test_numbers_are_said_as_people_say_them() -> None:
    """About three digits that count."""
    assert [say_number(x) for x in (12345.6, 61.34, 0.01234, 0.0, -5.0)] == [
        "12346",
        "61.3",
        "0.0123",
        "0.0",
        "-5.00",
    ]


def test_the_summary_says_what_each_tag_reads_and_should_read() -> None:
    """One sentence with the plant's own names and units."""
    card = make_cards().of(PUMP)
    assert summarise_machine(card, [VIBRATION, TEMPERATURE]) == (
        "Vibration 5.8 mm/s (expected 2.1, +7.2 sigma) and bearing temperature 82 °C "
        "(expected 61, +5.0 sigma), given the other tags"
    )
    assert summarise_machine(card, []).startswith("Feed pump 7 does not behave as it used to")
    assert summarise_tags(card, {"bearing_temperature": "unchanged for 14 s", "flow": "no value"}) == (
        "Bearing temperature cannot be believed: unchanged for 14 s. Flow cannot be believed: no value"
    )


def test_acronyms_stay_as_they_are_written() -> None:
    """Within a sentence a title loses its capital, not its letters."""
    tags = {"a": TagCard(title="Vibration velocity (RMS)"), "b": TagCard(title="RMS velocity")}
    card = MachineCard(path=PUMP, tags=tags)
    assert [name_tag(card, tag) for tag in "ab"] == ["vibration velocity (RMS)", "RMS velocity"]


def test_only_tags_near_the_strongest_are_blamed() -> None:
    """A tag that moved a little beside one that moved a lot is not named."""
    weak = Contribution("speed", 1480.0, 1481.0, -1.1)
    assert choose_blamed([VIBRATION, TEMPERATURE, weak]) == [VIBRATION, TEMPERATURE]
    assert choose_blamed([weak]) == [weak]


def test_every_machine_has_a_card() -> None:
    """A machine and a tag that nobody described get words made from their names."""
    box = CardBox([MachineCard(path="a/b/c/m-1", tags={"t": TagCard(unit="A")})])
    unknown = box.of(MachinePath.parse("a/b/c/compressor-2"))
    assert (unknown.title, unknown.type) == ("Compressor 2", "compressor")
    assert unknown.tag("oil_pressure").title == "Oil pressure"
    known = box.of(MachinePath.parse("a/b/c/m-1"))
    assert (known.title, known.type, known.tag("t").unit, known.tag("t").title) == ("M 1", "m", "A", "T")
    assert title_of("<b>x</b>") == "<b>x</b>"
