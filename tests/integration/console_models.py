"""Models for the plant of the console: one in charge, one that learns, drift, refits, history, verdicts."""

import time

import numpy as np

from cloud.alerts.verdicts import Verdict, VerdictBook
from cloud.watch.drift import Drift
from cloud.watch.drift_book import DriftBook
from cloud.watch.history_book import HistoryDigest, JudgedSpan, StrangePast, put_digest
from cloud.watch.learning_book import LearningBook
from cloud.watch.lessons import Lesson
from cloud.watch.refit import Refit
from cloud.watch.refit_book import RefitBook
from models.anomaly.bundle import Bundle, save_bundle
from models.anomaly.provenance import TagGrade
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath
from tests.integration.console_rig import FAN, HEALTHY, MOTOR, PUMP, PlantRig

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
ROWS = 3_000


def train_pump(trained_ns: int) -> Bundle:
    """Return what the pump's model learns from `ROWS` seconds before `trained_ns`; one tag never moves."""
    random = np.random.default_rng(3)
    load = 0.62 + 0.22 * np.sin(np.arange(ROWS) / 130)
    times = trained_ns - np.arange(ROWS, dtype=np.int64)[::-1] * SECOND
    values = {
        tag: base + gain * load + random.normal(0, noise, ROWS)
        for tag, (base, gain, noise) in HEALTHY.items()
    }
    values["ambient"] = np.full(ROWS, 21.0)
    return train_bundle(
        str(PUMP), times, values, {}, grid_s=1.0, trained_ns=trained_ns, detector="conditional"
    )


def seed_models(rig: PlantRig, now_ns: int | None = None) -> Bundle:
    """Give the pump a model with a past, and let the fan learn; return the pump's model."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    save_bundle(rig.bundles, train_pump(now_ns - 9 * DAY))
    bundle = train_pump(now_ns - 2 * DAY)
    save_bundle(rig.bundles, bundle)
    grades = {tag: TagGrade("high", "a value in 100% of the rows") for tag in HEALTHY}
    grades["flow"] = TagGrade("medium", "a value in 81% of the rows, 6% marked bad")
    grades["ambient"] = TagGrade("low", "always 21: nothing can be learned from it")
    left_out = {"not acquired (recorded gaps)": 2_400.0, "without any value": 300.0}
    lessons = [
        Lesson(str(PUMP), 86_400.0, 86_400.0, grades=grades),
        Lesson(
            str(FAN), 39_900.0, 86_400.0, left_out, {"speed": TagGrade("high", "a value in 98% of the rows")}
        ),
    ]
    LearningBook(rig.engine).put(lessons, now_ns)
    psi = dict.fromkeys(HEALTHY, 0.02) | {"flow": 0.14, "bearing_temperature": 0.31}
    DriftBook(rig.engine).put({str(PUMP): Drift(psi, 0.031)}, now_ns - 3 * HOUR)
    lost = Refit(is_promoted=False, words="found 2 of 3 past events")
    RefitBook(rig.engine).put({str(PUMP): lost}, now_ns - DAY)
    return bundle


def seed_history(rig: PlantRig, now_ns: int | None = None) -> None:
    """Let a backlog of the pump and the motor have been judged: the pump was strange twice."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    first = now_ns - 9 * HOUR
    found = StrangePast(
        machine=str(PUMP),
        first_ns=first + HOUR,
        last_ns=first + 3 * HOUR,
        rows_above=700,
        peak=3.42,
        tags=["bearing_temperature", "vibration"],
        episodes=2,
        peak_ns=first + 2 * HOUR,
    )
    spans = [JudgedSpan(str(one), first, first + 4 * HOUR, 14_400) for one in (PUMP, MOTOR)]
    put_digest(rig.engine, HistoryDigest(now_ns - 4 * HOUR, 28_800, [found], spans))


def mark_alert(rig: PlantRig, machine: MachinePath, lead_s: float) -> str:
    """Say that the machine's newest alert was a real fault, and it failed `lead_s` after; return its id."""
    alert = next(one for one in rig.book.list_alerts() if one.machine == machine)
    failed_ns = alert.raised_ns + round(lead_s * SECOND)
    verdict = Verdict("real_fault", "bearing replaced", "Ada", time.time_ns(), failed_ns)
    VerdictBook(rig.engine).put(alert.id, verdict)
    return alert.id
