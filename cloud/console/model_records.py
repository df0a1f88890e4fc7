"""Reads what the records and the bundles say of machines' models, and writes down what the crew decides."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

import structlog
from sqlalchemy import Engine

from cloud.alerts.findings import AlarmCount, Verdict
from cloud.alerts.verdicts import VerdictBook
from cloud.console import knowledge
from cloud.console.knowledge import Known
from cloud.console.model_shapes import FalseAlarms, ModelSheet, PlantModels
from cloud.console.sources import StateRow
from cloud.machines import MachineCard
from cloud.watch.drift_book import DriftBook
from cloud.watch.history_book import list_digests
from cloud.watch.learning_book import LearningBook
from cloud.watch.refit_book import RefitBook, find_next_refit
from cloud.watch.versions import FreshStarts, list_versions, read_card, retire
from cloud.watch.watching import LearningSettings
from models.anomaly.bundle import CURRENT, BundleDamaged, BundleMissing, Card, find_current, locate_machine
from models.telemetry import MachinePath
from models.words import say_instant

NS_PER_MS = 1_000_000
PLANT_S = 5.0
DIGESTS_READ_MAX = 200
EPISODES_SHOWN_MAX = 8
VERSIONS_SHOWN_MAX = 12

log = structlog.get_logger()


class ModelRecords:
    """Safe from many threads; every method blocks and raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine, bundles: Path, wishes: LearningSettings) -> None:
        self._bundles = bundles
        self._wishes = wishes
        self._engine = engine
        self._verdicts = VerdictBook(engine)
        self._lessons, self._drifts = LearningBook(engine), DriftBook(engine)
        self._refits, self._fresh = RefitBook(engine), FreshStarts(engine)
        self._lock = threading.Lock()
        self._cards: dict[MachinePath, tuple[Path, Card | None]] = {}
        self._plant: PlantModels | None = None
        self._plant_at_s = 0.0

    def read(self, named: MachineCard, state: StateRow | None, refused: str) -> ModelSheet:
        """Return all that is known of a machine's model; `refused` says why a newer one is not in charge."""
        known = self._gather(named.path)
        shown = list(known.versions)[-VERSIONS_SHOWN_MAX:]
        current = next((one for one in known.versions if one.is_current), None)
        card = current.card if current else None
        name, reason = knowledge.find_state(state, card, refused)
        tags = knowledge.list_tags(known, named)
        refit_ns = find_next_refit(card, known.refit, self._wishes) if card else None
        digests = list_digests(self._engine, DIGESTS_READ_MAX)
        return ModelSheet(
            machine=str(named.path),
            state=name,
            state_words=knowledge.STATE_WORDS[name],
            reason=reason,
            refused=refused,
            learning=knowledge.find_learning(known.lesson) if card is None else None,
            version=knowledge.describe_version(current, known.in_charge_ms) if current else None,
            versions=[knowledge.describe_version(one, known.in_charge_ms) for one in reversed(shown)],
            learns_since_ms=known.fresh_ns // NS_PER_MS if known.fresh_ns else None,
            false_alarms=self._count_alarms([card] if card else [], [state] if state else []),
            forewarning=knowledge.average_leads(self._verdicts.list_leads().get(str(named.path), [])),
            tags=tags,
            grades={grade: sum(tag.grade == grade for tag in tags) for grade in ("high", "medium", "low")},
            drift=knowledge.say_drift(max((tag.psi for tag in tags if tag.psi is not None), default=None)),
            drift_ms=known.drift.at_ns // NS_PER_MS if known.drift else None,
            above_half=known.drift.drift.above_half if known.drift else None,
            refit=knowledge.describe_refit(known.refit),
            next_refit_ms=refit_ns // NS_PER_MS if refit_ns else None,
            history=knowledge.list_episodes(digests, named, EPISODES_SHOWN_MAX),
        )

    def sum_up(self, states: Sequence[StateRow]) -> PlantModels:
        """Return what the overview says of all models; looked up anew every few seconds only."""
        with self._lock:
            if self._plant is None or time.monotonic() - self._plant_at_s >= PLANT_S:
                self._plant = self._sum_up(states)
                self._plant_at_s = time.monotonic()
            return self._plant

    def start_afresh(self, machine: MachinePath, since_ns: int, by: str) -> bool:
        """Let a repaired machine learn anew from `since_ns` on; return whether a model was in charge."""
        self._fresh.put(machine, since_ns)
        had_one = retire(self._bundles, machine)
        log.info("machine_learns_anew", machine=str(machine), by=by, since=say_instant(since_ns))
        self._forget()
        return had_one

    def judge_alert(self, alert_id: str, verdict: Verdict) -> None:
        """Keep what somebody found."""
        self._verdicts.put(alert_id, verdict)
        self._forget()

    def list_verdicts(self, alert_ids: Collection[str]) -> Mapping[str, Verdict]:
        """Return the verdicts on these alerts, by their id."""
        return self._verdicts.list_of(alert_ids)

    def _forget(self) -> None:
        with self._lock:
            self._plant = None  # whoever clicked sees it at once

    def _gather(self, machine: MachinePath) -> Known:
        path = str(machine)
        return Known(
            versions=list_versions(self._bundles, machine),
            in_charge_ms=knowledge.find_charge_ms(locate_machine(self._bundles, machine) / CURRENT),
            lesson=self._lessons.find(machine),
            drift=self._drifts.list().get(path),
            refit=self._refits.list().get(path),
            fresh_ns=self._fresh.list().get(path),
        )

    def _sum_up(self, states: Sequence[StateRow]) -> PlantModels:
        learns = {str(state.machine) for state in states if state.state == "learning"}
        lessons = self._lessons.list() if learns else {}
        progress = {
            str(machine): shown
            for machine, lesson in lessons.items()
            if str(machine) in learns and (shown := knowledge.find_learning(lesson)) is not None
        }
        leads = self._verdicts.list_leads().values()
        cards = [card for state in states if (card := self._find_card(state.machine)) is not None]
        return PlantModels(
            learning=progress,
            false_alarms=self._count_alarms(cards, states),
            forewarning=knowledge.average_leads(chain.from_iterable(leads)),
        )

    def _count_alarms(self, cards: Sequence[Card], states: Sequence[StateRow]) -> FalseAlarms:
        since = {str(one.machine): one.judged_from_ns for one in states if one.judged_from_ns is not None}
        counts = self._verdicts.count_false(since) if since else {}
        counted = [counts[machine] for machine in since if machine in counts]
        return knowledge.count_alarms(
            [promised for card in cards if (promised := knowledge.find_promised(card)) is not None],
            sum(one.judged_s for one in states),
            AlarmCount(sum(one.marked for one in counted), sum(one.unreviewed for one in counted)),
            knowledge.find_asked(cards[0]) if len(cards) == 1 else None,
        )

    def _find_card(self, machine: MachinePath) -> Card | None:
        """Return the card of the machine's current model, read once per model."""
        try:
            folder = find_current(self._bundles, machine)
        except (BundleMissing, BundleDamaged):
            return None
        known = self._cards.get(machine)
        if known is None or known[0] != folder:
            known = self._cards[machine] = folder, read_card(folder)
        return known[1]
