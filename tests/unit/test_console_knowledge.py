"""What the console says of models, as pure functions: states, progress, promises, drift, history."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from cloud.alerts.verdicts import AlarmCount
from cloud.console import knowledge
from cloud.console.knowledge import Known
from cloud.console.words import name_false_alarms, name_forewarning, say_rate, say_realised, say_share
from cloud.machines import CardBox
from cloud.watch.drift import Drift
from cloud.watch.drift_book import KeptDrift
from cloud.watch.history_book import HistoryDigest, JudgedSpan, StrangePast
from cloud.watch.lessons import Lesson
from cloud.watch.machine_states import MachineStateRow
from cloud.watch.observations import MachineState
from cloud.watch.refit import Refit
from cloud.watch.refit_book import KeptRefit
from cloud.watch.versions import Version
from models.anomaly.bundle import Card
from models.anomaly.calibration.promise import MONTH_S
from models.anomaly.provenance import TagGrade
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
SECOND = 1_000_000_000
NAMED = CardBox().of(PUMP)


@pytest.fixture(scope="module")
def card() -> Card:
    """The card of a model that learned from ten minutes, of three tags of which one never moves."""
    random = np.random.default_rng(1)
    values = {
        "flow": random.normal(30, 1, 600),
        "level": random.normal(2, 0.1, 600),
        "ambient": np.full(600, 21.0),
    }
    times = np.arange(600, dtype=np.int64) * SECOND
    bundle = train_bundle(
        str(PUMP), times, values, {}, grid_s=1.0, trained_ns=700 * SECOND, detector="conditional"
    )
    return bundle.card


def make_state(state: MachineState, reason: str = "") -> MachineStateRow:
    """Return what is kept of a machine."""
    return MachineStateRow(PUMP, state, 0.2, 1.0, 1.0, SECOND, SECOND, reason, {})


def make_known(card: Card | None, **fields: Any) -> Known:
    """Return what is known of a machine with this card in charge."""
    versions = [Version("v1", Path(), is_current=True, card=card)] if card else []
    known = Known(versions, None, None, None, None, None)
    return structs.replace(known, **fields)


def test_every_state_has_words_and_a_reason_where_it_needs_one(card: Card) -> None:
    """A provisional limit says what it rests on; a machine whose only model is refused does not learn."""
    sure = structs.replace(card, limit=structs.replace(card.limit, provisional=False))
    expected: list[tuple[MachineState, Card | None, str, tuple[str, str]]] = [
        ("learning", None, "", ("learning", "")),
        ("learning", None, "bad file", ("refused", "bad file")),
        ("judged", sure, "bad file", ("judged", "")),
        ("cannot_judge", sure, "", ("cannot_judge", "why")),
        ("unknown_running", sure, "", ("unknown_running", "why")),
    ]
    for state, in_charge, refused, said in expected:
        assert knowledge.find_state(make_state(state, "why"), in_charge, refused) == said
        assert said[0] in knowledge.STATE_WORDS
    name, reason = knowledge.find_state(make_state("judged"), card, "")
    assert (name, reason.split(":")[0]) == (
        "provisional",
        f"the limit rests on {card.limit.independent_windows} independent windows",
    )
    assert knowledge.find_state(None, None, "") == ("learning", "")
    assert knowledge.find_state(None, card, "")[0] == "cannot_judge"


@pytest.mark.parametrize(
    ("good_s", "wanted_s", "words"),
    [
        (39_900.0, 86_400.0, "11 of 24 h"),
        (86_399.0, 86_400.0, "23 of 24 h"),
        (1_900.0, 86_400.0, "0.5 of 24 h"),
        (1_000_000.0, 86_400.0, "24 of 24 h"),
        (130_000.0, 604_800.0, "1.5 of 7 days"),
        (150.0, 600.0, "2.5 of 10 min"),
        (10.0, 60.0, "10 of 60 s"),
    ],
)
def test_progress_is_said_in_one_unit_and_never_rounded_up(
    good_s: float, wanted_s: float, words: str
) -> None:
    """Nobody reads 24 of 24 hours while the machine still learns."""
    assert knowledge.say_progress(good_s, wanted_s) == words


def test_progress_names_what_was_left_out() -> None:
    """The largest part first, and why training failed."""
    lesson = Lesson(str(PUMP), 30.0, 60.0, {"a": 5.0, "b": 90.0}, trouble="too constant")
    progress = knowledge.find_learning(lesson)
    assert progress is not None
    assert (progress.share, progress.left_out, progress.trouble) == (
        0.5,
        ["2 min b", "5 s a"],
        "too constant",
    )
    assert knowledge.find_learning(None) is None


def test_realised_false_alarms_wait_for_enough_time() -> None:
    """Before a tenth of a month there is no rate; then it is what counts as false over the months watched."""
    counted = AlarmCount(marked=1, unreviewed=2)
    early = knowledge.count_alarms([1.0], 3_600.0, counted)
    assert (early.realised, early.watched_words, early.promised_words) == (None, "60 min", "1")
    late = knowledge.count_alarms([1.0, 2.0], 6 * MONTH_S, counted)
    assert (late.realised, late.promised, late.months) == (0.5, 1.5, 6.0)
    assert late.watched_words == "6.0 months"
    assert knowledge.count_alarms([], 0.0, AlarmCount()).promised is None


def test_a_limit_by_windows_promises_what_follows_from_them(card: Card) -> None:
    """One of 1,000 windows of a minute is 44 a month; without a model nothing is promised."""
    windows_a_month = MONTH_S / (card.windows.longest * card.grid_s)
    assert knowledge.find_promised(card) == pytest.approx(windows_a_month / 1_000)
    assert knowledge.find_promised(None) is None


def test_tags_that_need_a_look_come_first(card: Card) -> None:
    """What was left out, what has drifted, then the rest; a lesson's grade is newer than the card's."""
    lesson = Lesson(str(PUMP), 1.0, 1.0, grades={"flow": TagGrade("medium", "81%")})
    drift = KeptDrift(SECOND, Drift({"flow": 0.05, "level": 0.3}, 0.1))
    tags = knowledge.list_tags(make_known(card, lesson=lesson, drift=drift), NAMED)
    assert [(tag.tag, tag.grade, tag.drift, tag.is_watched) for tag in tags] == [
        ("ambient", "low", "", False),
        ("level", "high", "refit advised", True),
        ("flow", "medium", "stable", True),
    ]
    assert tags[0].grade_reason.startswith("not judged: ")
    assert tags[2].grade_reason == "81%"


def test_drift_is_told_in_three_words() -> None:
    """The bounds are those of credit scoring."""
    assert [knowledge.say_drift(psi) for psi in (None, 0.0, 0.099, 0.1, 0.249, 0.25, 3.0)] == [
        *("", "stable", "stable", "drifting", "drifting", "refit advised", "refit advised"),
    ]


def test_a_refit_says_who_won() -> None:
    """The loser's reason is told after its fate."""
    lost = knowledge.describe_refit(
        KeptRefit(5 * SECOND, Refit(is_promoted=False, words="found 2 of 3 past events"))
    )
    won = knowledge.describe_refit(KeptRefit(5 * SECOND, Refit(is_promoted=True, words="v2 took charge")))
    assert lost is not None
    assert won is not None
    assert (lost.at_ms, lost.words) == (5_000, "challenger lost: found 2 of 3 past events")
    assert won.words == "v2 took charge"
    assert knowledge.describe_refit(None) is None


def make_digest(at: int, *, is_strange: bool) -> HistoryDigest:
    """Return what a minute showed of the pump, and of a fan."""
    span = JudgedSpan(str(PUMP), at * SECOND, (at + 60) * SECOND, 60)
    found = StrangePast(
        str(PUMP), (at + 5) * SECOND, (at + 50) * SECOND, 30, 2.5, ["motor_current"], 2, (at + 40) * SECOND
    )
    other = JudgedSpan("a/b/c/fan-1", 0, SECOND, 1)
    return HistoryDigest(at * SECOND, 61, [found] if is_strange else [], [span, other])


def test_history_tells_strange_spans_and_the_newest_calm_one() -> None:
    """A machine that often sends late, and well, has one line for it."""
    digests = [make_digest(at, is_strange=at % 200 == 0) for at in (500, 400, 300, 200, 100)]
    rows = knowledge.list_episodes(digests, NAMED, 8)
    assert [(row.first_ms, row.episodes) for row in rows] == [(500_000, 0), (400_000, 2), (200_000, 2)]
    assert rows[0].words == "nothing strange"
    assert (rows[1].words, rows[1].tags) == ("2 episodes, at most 2.5 × limit", ["Motor current"])
    assert (rows[1].peak_ms, rows[1].last_ms) == (440_000, 460_000)
    assert knowledge.list_episodes(digests, CardBox().of(MachinePath("a", "b", "c", "d")), 8) == []


def test_figures_of_the_plant_say_what_they_rest_on() -> None:
    """Without a dated fault, and before there is a rate, too."""
    assert name_forewarning(0) == "Average forewarning (no fault dated)"
    assert name_forewarning(1) == "Average forewarning, 1 real fault"
    assert name_false_alarms(None) == "False alarms per machine-month"
    assert name_false_alarms(1.0) == "False alarms per machine-month (promised 1)"
    assert [say_realised(*one) for one in ((0.44, 3, 6.0), (None, 2, 0.01), (None, 0, 0.0))] == [
        *("0.4", "2 so far", "–"),
    ]
    assert [say_rate(rate) for rate in (0.0, 0.44, 1.0, 43.8)] == ["0", "0.4", "1", "44"]
    assert [say_share(share) for share in (0.0, 0.031, 0.12, 1.0)] == ["0 %", "3.1 %", "12 %", "100 %"]
