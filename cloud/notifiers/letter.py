"""Writes an alert as a letter: HTML that a phone can read and plain text, from the same facts."""

from pathlib import Path

import mjml
import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from cloud.alerts import Alert
from cloud.alerts.words import (
    choose_blamed,
    join_words,
    name_tag,
    say_number,
    say_pair,
    say_sigma,
    say_time,
)
from cloud.machines import MachineCard
from cloud.notifiers import Letter, Occasion
from models.words import say_duration

SUBJECT_CHARS_MAX = 200
WORDS_CHARS_MAX = 160

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    # Tag names and reasons come from machines: nothing of theirs may become markup.
    autoescape=select_autoescape(["mjml"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Reading(msgspec.Struct, frozen=True):
    """What one blamed tag reads and should read, in words."""

    title: str
    tag: str
    value: str
    expected: str
    deviation: str
    fixed_limit: str


class Facts(msgspec.Struct, frozen=True):
    """Everything a letter says; HTML and text are written from this alone."""

    occasion: Occasion
    kind: str
    machine_title: str
    machine: str
    headline: str
    lead: str
    opening: str
    since: str
    lasted: str
    sureness: str
    severity: str
    outlook: str
    readings: list[Reading]
    faulty: list[tuple[str, str]]
    advice: list[str]
    picture_words: str
    link: str
    alert_id: str


def write_letter(
    alert: Alert, occasion: Occasion, card: MachineCard, *, link: str, picture: bytes | None, missing: str
) -> Letter:
    """Return the letter; `missing` says why there is no picture, and is empty when there is one."""
    facts = gather_facts(alert, occasion, card, link=link, missing=missing)
    return render_letter("alert", facts, write_subject(alert, occasion, card), picture)


def render_letter(template: str, facts: msgspec.Struct, subject: str, picture: bytes | None = None) -> Letter:
    """Return the letter that the pair of templates makes of `facts`, by the names of its fields."""
    fields = {name: getattr(facts, name) for name in facts.__struct_fields__}
    return Letter(
        subject=subject,
        text=_templates.get_template(f"{template}.txt").render(fields),
        html=mjml.mjml2html(_templates.get_template(f"{template}.mjml").render(fields)),
        picture=picture,
    )


def write_subject(alert: Alert, occasion: Occasion, card: MachineCard) -> str:
    """Return one line that is safe in a header whatever machines are called."""
    names = [clean(name_tag(card, tag)) for tag in alert.tags]
    where = f"[Forewarn] {clean(card.title)} ({alert.machine})"
    if occasion == "cleared":
        what = "a good model took charge" if alert.kind == "model" else "back to normal"
    elif alert.kind == "tag":
        what = f"sensor fault, {join_words(names)} cannot be believed"
    elif alert.kind == "model":
        what = "its newest model cannot take charge"
    elif names:
        what = f"{join_words(names)} {'is' if len(names) == 1 else 'are'} not normal"
    else:
        what = "does not behave as it used to"
    subject = f"{where}: {what}"
    return subject if len(subject) <= SUBJECT_CHARS_MAX else f"{subject[: SUBJECT_CHARS_MAX - 1]}…"


def gather_facts(alert: Alert, occasion: Occasion, card: MachineCard, *, link: str, missing: str) -> Facts:
    """Return what the letter says, every word from a machine on one line and printable."""
    title, lead = clean(card.title), clean(f"{alert.summary}.", chars_max=1000)
    return Facts(
        occasion=occasion,
        kind=alert.kind,
        machine_title=title,
        machine=str(alert.machine),
        headline=_headline(alert, occasion),
        lead=lead,
        opening=_write_opening(alert, occasion, lead, card),
        since=say_time(alert.raised_ns),
        lasted=say_duration((alert.cleared_ns - alert.raised_ns) / 1e9) if alert.cleared_ns else "",
        sureness=_sureness(alert) if alert.kind == "machine" else "",
        severity=clean(alert.severity.words) if alert.severity and occasion != "cleared" else "",
        outlook=clean(alert.forecast.words) if alert.forecast and occasion != "cleared" else "",
        readings=_list_readings(alert, card),
        faulty=[(clean(card.tag(tag).title), clean(reason)) for tag, reason in alert.faulty_tags.items()],
        advice=[clean(sentence, chars_max=500) for sentence in alert.advice],
        picture_words=clean(missing, chars_max=500),
        link=link,
        alert_id=alert.id,
    )


def clean(text: str, *, chars_max: int = WORDS_CHARS_MAX) -> str:
    """Return the text on one line, without control and direction marks, at most `chars_max` long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= chars_max else f"{line[: chars_max - 1]}…"


def _headline(alert: Alert, occasion: Occasion) -> str:
    if alert.kind == "model":
        return "A good model took charge" if occasion == "cleared" else "The newest model cannot take charge"
    if occasion == "cleared":
        return "Back to normal"
    if alert.kind == "tag":
        return "A sensor cannot be believed"
    if not alert.cause:
        return "Does not behave as it used to"
    return f"Looks like {alert.cause[:1].lower()}{clean(alert.cause[1:])}"


def _write_opening(alert: Alert, occasion: Occasion, lead: str, card: MachineCard) -> str:
    if alert.kind == "model":
        return f"The alert was: {lead}" if occasion == "cleared" else lead
    if occasion == "cleared":
        return (
            f"The readings fit together again as they do when the machine is healthy. The alert was: {lead}"
        )
    if alert.kind == "tag":
        return (
            f"{lead} The sensor, its wiring or its link is at fault; "
            "the machine itself is watched on with its other tags."
        )
    if occasion == "escalated":
        return (
            "So far only a sensor looked faulty. Now the other readings show that the machine itself "
            "does not behave as it used to."
        )
    limits = [(part.value, card.tag(part.tag).high) for part in choose_blamed(alert.contributions)]
    passed = [value > high for value, high in limits if high is not None]
    early = " No fixed limit has been reached yet." if passed and not any(passed) else ""
    return f"Its readings no longer fit together as they did when the machine was healthy.{early}"


def _sureness(alert: Alert) -> str:
    """Return how far above its limit the score was, and what that means for trust."""
    ratio = alert.score / alert.limit if alert.limit > 0 else float("inf")
    score, limit = say_number(alert.score), say_number(alert.limit)
    word = "clear" if ratio >= 2 else "distinct" if ratio >= 1.3 else "early and faint"
    return f"{word}, {ratio:.1f} times the limit (score {score}, limit {limit})"


def _list_readings(alert: Alert, card: MachineCard) -> list[Reading]:
    return [
        _read_part(part.tag, part.value, part.expected, part.sigma, card)
        for part in choose_blamed(alert.contributions)
    ]


def _read_part(tag: str, value: float, expected: float, sigma: float, card: MachineCard) -> Reading:
    known = card.tag(tag)
    unit = clean(known.unit)
    reads, should = say_pair(value, expected)
    fixed = ""
    if known.high is not None:
        passed = "passed" if value > known.high else "not reached yet"
        fixed = f"fixed limit {known.high:g} {unit}: {passed}".replace(" :", ":")
    return Reading(
        title=clean(known.title),
        tag=clean(tag),
        value=f"{reads} {unit}".strip(),
        expected=f"{should} {unit}".strip(),
        deviation=say_sigma(sigma),
        fixed_limit=fixed,
    )
