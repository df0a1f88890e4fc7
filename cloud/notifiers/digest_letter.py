"""Writes what was found in history as a letter: one for all machines that were judged afterwards."""

import msgspec

from cloud.alerts.words import join_words, name_tag, say_number, say_time
from cloud.machines import CardBox
from cloud.notifiers import Letter
from cloud.notifiers.letter import SUBJECT_CHARS_MAX, clean, render_letter
from cloud.watch.history_book import HistoryDigest, JudgedSpan, StrangePast
from models.telemetry import MachinePath

MACHINES_TOLD_MAX = 50
NS_PER_MS = 1_000_000


class Find(msgspec.Struct, frozen=True):
    """One machine's past in words; `what` is empty where nothing was strange."""

    title: str
    path: str
    span: str
    what: str
    link: str


class DigestFacts(msgspec.Struct, frozen=True):
    """Everything that the letter says; HTML and text are written from this alone."""

    headline: str
    lead: str
    strange: list[Find]
    calm: list[Find]
    more: int
    digest_id: str


def write_digest_letter(digest: HistoryDigest, cards: CardBox, public_url: str) -> Letter:
    """Return the letter about a digest; `public_url` without its last slash."""
    facts = gather_digest(digest, cards, public_url)
    subject = f"[Forewarn] {facts.headline}"
    cut = subject if len(subject) <= SUBJECT_CHARS_MAX else f"{subject[: SUBJECT_CHARS_MAX - 1]}…"
    return render_letter("history", facts, cut)


def gather_digest(digest: HistoryDigest, cards: CardBox, public_url: str) -> DigestFacts:
    """Return what the letter says, the machine that was furthest over its limit first."""
    spans = {one.machine: one for one in digest.judged}
    worst_first = sorted(digest.strange, key=lambda one: -one.peak)
    strange = [_describe(one, spans.get(one.machine), cards, public_url) for one in worst_first]
    named = {one.machine for one in digest.strange}
    calm = [_say_calm(one, cards, public_url) for one in digest.judged if one.machine not in named]
    shown = strange[:MACHINES_TOLD_MAX], calm[: max(0, MACHINES_TOLD_MAX - len(strange))]
    return DigestFacts(
        headline=_write_headline(digest, cards),
        lead=(
            "Values came too late to be news, as a gateway's backlog does. They were judged all the same, "
            "as history: no alert was raised for them, and none is open because of them."
        ),
        strange=shown[0],
        calm=shown[1],
        more=len(strange) + len(calm) - len(shown[0]) - len(shown[1]),
        digest_id=str(digest.id),
    )


def say_episodes(count: int) -> str:
    """Return `1 episode` or `3 episodes`."""
    return f"{count} episode{'' if count == 1 else 's'}"


def _write_headline(digest: HistoryDigest, cards: CardBox) -> str:
    names = list(
        dict.fromkeys([*(one.machine for one in digest.judged), *(one.machine for one in digest.strange)])
    )
    who = f"{len(names)} machines" if len(names) != 1 else clean(_card_title(names[0], cards))
    episodes = sum(one.episodes for one in digest.strange)
    found = say_episodes(episodes) if episodes else "nothing strange"
    return f"History of {who} was judged: {found}"


def _card_title(path: str, cards: CardBox) -> str:
    return cards.of(MachinePath.parse(path)).title


def _describe(found: StrangePast, span: JudgedSpan | None, cards: CardBox, public_url: str) -> Find:
    card = cards.of(MachinePath.parse(found.machine))
    first_ns, last_ns = (span.first_ns, span.last_ns) if span else (found.first_ns, found.last_ns)
    strongest = f", strongest at {say_time(found.peak_ns)}" if found.peak_ns else ""
    tags = [clean(name_tag(card, tag)) for tag in found.tags]
    who = f"; what stood out: {join_words(tags)}" if tags else ""
    return Find(
        title=clean(card.title),
        path=found.machine,
        span=f"{say_time(first_ns)} to {say_time(last_ns)}",
        what=f"{say_episodes(found.episodes)}{strongest}, {say_number(found.peak)} times the limit{who}",
        link=_link(found.machine, first_ns, last_ns, public_url),
    )


def _say_calm(span: JudgedSpan, cards: CardBox, public_url: str) -> Find:
    return Find(
        title=clean(_card_title(span.machine, cards)),
        path=span.machine,
        span=f"{say_time(span.first_ns)} to {say_time(span.last_ns)}",
        what="",
        link=_link(span.machine, span.first_ns, span.last_ns, public_url),
    )


def _link(machine: str, first_ns: int, last_ns: int, public_url: str) -> str:
    return f"{public_url}/machines/{machine}?from={first_ns // NS_PER_MS}&to={last_ns // NS_PER_MS}"
