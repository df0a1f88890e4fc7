"""A report without a store: what a bundle says of a file of values, such as it was learned from."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from cloud.alerts.words import say_time
from cloud.console.knowledge import Known, list_tags
from cloud.console.words import say_number, say_span
from cloud.machines import CardBox, MachineCard
from cloud.reports.card_facts import describe_card, describe_promise, describe_versions
from cloud.reports.drawing import draw_scores, draw_strips
from cloud.reports.events import KIND_WORDS, draw_bars
from cloud.reports.facts import EventRow, Figure, Report, TagRow
from cloud.reports.figures import describe_ground, say_watched_rows
from cloud.reports.series import SeriesMaker
from cloud.watch.lessons import Lesson
from cloud.watch.observations import Contribution
from cloud.watch.versions import Version
from models.anomaly.bundle import Card, find_bundle, load_bundle
from models.anomaly.calibration.persistence import Persistence, find_alerting
from models.anomaly.calibration.spans import find_spans
from models.anomaly.grid import step_ns
from models.anomaly.judging import Verdict
from models.anomaly.tables import judge_table, read_table
from models.telemetry import MachinePath

EVENTS_SHOWN_MAX = 15


def gather_from_file(place: Path, file: Path) -> Report:
    """Return the report of a bundle (its folder, its machine's, or a root with one) over a CSV file.

    Raises `BundleMissing`, `BundleDamaged`, `RecordingRejected` and `TableRejected`.
    """
    folder = find_bundle(place)
    bundle = load_bundle(folder)
    card = bundle.card
    verdict = judge_table(bundle, read_table(file, card.columns))
    named = CardBox().of(MachinePath.parse(card.machine))
    grid_ns = step_ns(card.grid_s)
    first_ns, last_ns = int(verdict.timestamps[0]) - grid_ns, int(verdict.timestamps[-1]) + 1
    maker = SeriesMaker(first_ns, last_ns, grid_ns, card.tags)
    maker.put_scores(verdict.timestamps, verdict.judgement.score / verdict.limit)
    sigmas = {tag: verdict.judgement.sigma[:, column] for column, tag in enumerate(card.tags)}
    maker.put_sigmas(verdict.timestamps, sigmas)
    series = maker.make()
    alerting = find_alerting(verdict.judgement.score, verdict.limit, Persistence())
    spans = [(int(first), int(stop)) for first, stop in find_spans(alerting)]
    current = Version(folder.name, folder, is_current=True, card=card)
    marks = [(int(verdict.timestamps[a]), int(verdict.timestamps[b - 1]), "found") for a, b in spans]
    words = say_watched_rows(series) if series.has_scores else ""
    return Report(
        title=named.title,
        path=card.machine,
        made=say_time(last_ns),
        span=f"{file.name}, {say_time(first_ns)} to {say_time(last_ns)}",
        state="Judged from a file",
        mood="look" if spans else "calm",
        verdict=say_found(len(spans), words),
        figures=[_count_found(len(spans)), _count_grades(card), describe_ground(card)],
        chart=draw_scores(series, marks, words) if series.has_scores else None,
        strips=draw_strips(series, {tag: named.tag(tag).title for tag in card.tags}),
        events=[_describe(verdict, span, card, named) for span in reversed(spans[-EVENTS_SHOWN_MAX:])],
        events_left_out=max(0, len(spans) - EVENTS_SHOWN_MAX),
        alarms=describe_promise(card),
        tags=_list_tags(current, named, card),
        card=describe_card(card, folder.name, bundle.signer),
        versions=describe_versions([current]),
        history=[],
        forewarn=version("forewarn"),
    )


def say_found(count: int, words: str) -> str:
    """Return what came of judging the file."""
    if not words:
        return "No row of the file could be judged: has it the windows' length, and the tags' values?"
    return f"{count or 'No'} alert{'' if count == 1 else 's'} would have been raised: {words}."


def _count_found(count: int) -> Figure:
    return Figure("Alerts", str(count), "that would have been raised", "look" if count else "calm")


def _count_grades(card: Card) -> Figure:
    high = sum(one.grade == "high" for one in card.grades.values())
    if not card.grades:
        return Figure("Data", "–", "no tag was graded when it learned")
    return Figure("Data", f"{high} of {len(card.grades)}", "of the tags were graded high when it learned")


def _list_tags(current: Version, named: MachineCard, card: Card) -> list[TagRow]:
    lesson = Lesson(card.machine, 0.0, 0.0, grades=card.grades)
    known = Known([current], None, lesson, None, None, None)
    return [TagRow(one, card.origin.units.get(one.tag, "")) for one in list_tags(known, named)]


def _describe(verdict: Verdict, span: tuple[int, int], card: Card, named: MachineCard) -> EventRow:
    """Return an alert that would have been; what stood out is taken from its strangest row."""
    first, stop = span
    peak = first + int(np.nanargmax(verdict.judgement.score[first:stop]))
    parts = [Contribution(one.tag, one.value, one.expected, one.sigma) for one in verdict.name_causes(peak)]
    lasted_s = (stop - first) * card.grid_s
    return EventRow(
        kind="found",
        kind_words=KIND_WORDS["found"],
        raised=say_time(int(verdict.timestamps[first])),
        lasted=say_span(lasted_s),
        is_open=False,
        summary=f"At its strangest {say_time(int(verdict.timestamps[peak]))}",
        peak=f"{say_number(float(verdict.judgement.score[peak]) / verdict.limit)} × limit",
        severity="",
        forecast="",
        acknowledged="judged from a file, so nobody was told",
        verdict="",
        forewarning="",
        bars=draw_bars(parts, named),
    )
