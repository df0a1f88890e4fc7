"""What a machine's model knows, in words and figures: pure, from its card, its lesson and the records."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

import msgspec

from cloud.alerts.findings import AlarmCount
from cloud.console.model_shapes import (
    FalseAlarms,
    Forewarning,
    LastRefit,
    LearningProgress,
    ModelVersion,
    PastEpisodes,
    TagKnowledge,
)
from cloud.console.sources import StateRow
from cloud.console.words import say_number, say_rate
from cloud.machines import MachineCard
from cloud.watch.drift_book import KeptDrift
from cloud.watch.history_book import HistoryDigest
from cloud.watch.lessons import Lesson
from cloud.watch.refit_book import KeptRefit
from cloud.watch.versions import Version
from models.anomaly.bundle import Card
from models.anomaly.calibration.promise import MONTH_S
from models.words import say_duration

NS_PER_MS = 1_000_000
PSI_STABLE_MAX, PSI_DRIFTING_MAX = 0.1, 0.25
"""As in credit scoring, where the index comes from (Siddiqi 2006): below the first nothing has moved."""
MONTHS_MIN = 0.1
ASKED_STRETCH = 1.05
PROGRESS_UNITS = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))
PROGRESS_UNITS_MIN = 2
GRADES = ("low", "medium", "", "high")
"""The worst first; an unknown grade is no reason to worry."""
DRIFTS = ("refit advised", "drifting", "stable", "")

STATE_WORDS = {
    "learning": "Learning",
    "judged": "Judged",
    "provisional": "Judged, limit provisional",
    "unknown_running": "Unknown running condition",
    "cannot_judge": "Cannot judge",
    "refused": "Model refused",
}


class Known(msgspec.Struct, frozen=True):
    """What is kept of one machine: any part may be missing."""

    versions: Sequence[Version]
    in_charge_ms: int | None
    lesson: Lesson | None
    drift: KeptDrift | None
    refit: KeptRefit | None
    fresh_ns: int | None


def find_state(state: StateRow | None, card: Card | None, refused: str) -> tuple[str, str]:
    """Return what can be said of the machine's judging now, and why."""
    if state is None and card is not None:
        return "cannot_judge", "nothing has been judged since this model took charge"
    if state is None or state.state == "learning":
        return ("refused", refused) if refused else ("learning", "")
    if state.state == "judged":
        is_provisional = card is not None and card.limit.provisional
        return ("provisional", say_provisional(card)) if is_provisional and card else ("judged", "")
    return ("cannot_judge" if state.state == "cannot_judge" else "unknown_running"), state.reason


def say_provisional(card: Card) -> str:
    """Say why a limit is provisional."""
    windows = card.limit.independent_windows
    return (
        f"the limit rests on {windows} independent windows: learn longer and it will be held to its promise"
    )


def find_learning(lesson: Lesson | None) -> LearningProgress | None:
    """Return how far learning has come; None when nobody has looked yet."""
    if lesson is None:
        return None
    strongest = sorted(lesson.left_out.items(), key=lambda item: -item[1])
    return LearningProgress(
        share=round(min(1.0, lesson.good_s / lesson.wanted_s), 3) if lesson.wanted_s > 0 else 1.0,
        words=say_progress(lesson.good_s, lesson.wanted_s),
        left_out=[f"{say_duration(seconds)} {reason}" for reason, seconds in strongest],
        trouble=lesson.trouble,
    )


def say_progress(good_s: float, wanted_s: float) -> str:
    """Return `11 of 24 h`: both in the unit of what is wanted."""
    size, unit = next((one for one in PROGRESS_UNITS if wanted_s >= PROGRESS_UNITS_MIN * one[0]), (1.0, "s"))
    good = min(good_s, wanted_s) / size
    shown = math.floor(good * 10) / 10 if good < 10 else math.floor(good)  # never more than there is
    return f"{shown:g} of {wanted_s / size:.3g} {unit}"


def describe_version(version: Version, in_charge_ms: int | None) -> ModelVersion:
    """Return a model as it is shown."""
    card = version.card
    return ModelVersion(
        name=version.name,
        is_current=version.is_current,
        in_charge_ms=in_charge_ms if version.is_current else None,
        trained_ms=card.trained_ns // NS_PER_MS if card else None,
        detector=card.detector.replace("_", " ") if card else "",
        tags=len(card.tags) if card else 0,
        rows=card.rows if card else 0,
        first_ms=card.first_ns // NS_PER_MS if card else None,
        last_ms=card.last_ns // NS_PER_MS if card else None,
        span=say_duration((card.last_ns - card.first_ns) / 1e9) if card else "",
        limit=card.limit.value if card else None,
        is_provisional=bool(card and card.limit.provisional),
        trouble=version.trouble,
    )


def find_promised(card: Card | None) -> float | None:
    """Return the false alarms a month that the limit promises at most; None without a model."""
    if card is None:
        return None
    if card.promise is not None:
        return card.promise.promised
    return MONTH_S / (card.windows.longest * card.grid_s) / card.limit.windows_per_false_alarm


def find_asked(card: Card | None) -> float | None:
    """Return the false alarms a month that were asked for, where no promise as rare could be given."""
    promise = card.promise if card else None
    return promise.asked if promise is not None and promise.promised > ASKED_STRETCH * promise.asked else None


def count_alarms(
    promised: Sequence[float], judged_s: float, counted: AlarmCount, asked: float | None = None
) -> FalseAlarms:
    """Return promised and realised false alarms a machine and month; `promised` machine by machine."""
    months = judged_s / MONTH_S
    mean = fmean(promised) if promised else None
    return FalseAlarms(
        promised=mean,
        promised_words="" if mean is None else say_rate(mean),
        asked=asked,
        realised=round(counted.false / months, 2) if months >= MONTHS_MIN else None,
        marked=counted.marked,
        unreviewed=counted.unreviewed,
        months=round(months, 6),
        watched_words=say_watched(judged_s),
    )


def say_watched(seconds: float) -> str:
    """Return a time under watch: `3 h`, `12 days`, from two months on in months."""
    return say_duration(seconds) if seconds < 2 * MONTH_S else f"{seconds / MONTH_S:.1f} months"


def average_leads(leads: Iterable[float]) -> Forewarning:
    """Return the mean of the times (seconds) from alerts to failures."""
    known = list(leads)
    if not known:
        return Forewarning(mean_s=None, words="", faults=0)
    return Forewarning(mean_s=fmean(known), words=say_duration(fmean(known)), faults=len(known))


def list_tags(known: Known, named: MachineCard) -> list[TagKnowledge]:
    """Return what is known of every tag, what somebody should look at first."""
    card = next((one.card for one in known.versions if one.is_current), None)
    left_out = card.left_out if card else {}
    psis = known.drift.drift.psi if known.drift else {}
    grades = {**(card.grades if card else {}), **(known.lesson.grades if known.lesson else {})}
    rows = []
    for tag in sorted({*(card.tags if card else ()), *left_out, *grades, *psis}):
        grade, why = (grades[tag].grade, grades[tag].reason) if tag in grades else ("", "")
        if tag in left_out:
            grade, why = grade or "low", f"not judged: {left_out[tag]}"
        psi = psis.get(tag)
        rows.append(
            TagKnowledge(
                tag=tag,
                title=named.tag(tag).title,
                is_watched=card is not None and tag in card.tags,
                grade=grade,
                grade_reason=why,
                psi=psi,
                drift=say_drift(psi),
            )
        )
    return sorted(rows, key=lambda row: (min(DRIFTS.index(row.drift), GRADES.index(row.grade)), row.title))


def say_drift(psi: float | None) -> str:
    """Return what a population stability index asks for."""
    if psi is None:
        return ""
    return "stable" if psi < PSI_STABLE_MAX else "drifting" if psi < PSI_DRIFTING_MAX else "refit advised"


def describe_refit(kept: KeptRefit | None) -> LastRefit | None:
    """Return the outcome of the last refit."""
    if kept is None:
        return None
    won = kept.refit.is_promoted
    words = kept.refit.words if won else f"challenger lost: {kept.refit.words}"
    return LastRefit(at_ms=kept.at_ns // NS_PER_MS, is_promoted=won, words=words)


def list_episodes(digests: Iterable[HistoryDigest], named: MachineCard, count_max: int) -> list[PastEpisodes]:
    """Return what digests say of one machine, the newest first; of calm spans only the newest one."""
    rows: list[PastEpisodes] = []
    for digest in digests:
        row = _find_in(digest, named)
        if row is not None and (row.episodes or all(one.episodes for one in rows)):
            rows.append(row)
        if len(rows) == count_max:
            break
    return rows


def _find_in(digest: HistoryDigest, named: MachineCard) -> PastEpisodes | None:
    path = str(named.path)
    span = next((one for one in digest.judged if one.machine == path), None)
    found = next((one for one in digest.strange if one.machine == path), None)
    if found is None and span is None:
        return None
    first_ns, last_ns = (span.first_ns, span.last_ns) if span else (0, 0)
    if found is not None and span is None:
        first_ns, last_ns = found.first_ns, found.last_ns
    titles = [named.tag(tag).title for tag in found.tags] if found else []
    words = "nothing strange"
    if found is not None:
        episodes = f"{found.episodes} episode{'' if found.episodes == 1 else 's'}"
        words = f"{episodes}, at most {say_number(found.peak)} × limit"
    return PastEpisodes(
        told_ms=digest.told_ns // NS_PER_MS,
        first_ms=first_ns // NS_PER_MS,
        last_ms=last_ns // NS_PER_MS,
        rows=span.rows if span else found.rows_above if found else 0,
        episodes=found.episodes if found else 0,
        peak=found.peak if found else None,
        peak_ms=found.peak_ns // NS_PER_MS if found and found.peak_ns else None,
        strange_first_ms=found.first_ns // NS_PER_MS if found else None,
        strange_last_ms=found.last_ns // NS_PER_MS if found else None,
        tags=titles,
        words=words,
    )


def find_charge_ms(pointer: Path) -> int | None:
    """Return since when the current model is in charge: when its pointer was written; None without one."""
    try:
        return pointer.stat().st_mtime_ns // NS_PER_MS
    except OSError:
        return None
