"""Takes batches from the broker to the store: store first, then ledger, then receipt and acknowledgement."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog

from cloud.gateways import Gateways
from cloud.ingest.day_counts import DayCount, DayCounter, record_days
from cloud.ingest.day_counts import Key as DayKey
from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.ingest.gaps import record_gaps
from cloud.ingest.inbox import Delivery
from cloud.ingest.insisting import Insistence, Stopped
from cloud.ingest.intake import KEPT, Intake, Verdict
from cloud.ingest.ledger import EpochChange, Key, Ledger
from cloud.ingest.series_guard import Admission, SeriesGuard
from cloud.ingest.sorting import Accepted, Duplicate, Poison, sort_deliveries
from cloud.ingest.stowing import Excerpt, Stowed, deliver_excerpt, stow_batches
from cloud.metrics import CloudMetrics
from cloud.stores import Block, StoredMachine, StoreUnavailable, StoreWriter
from cloud.transactions import RecordsUnavailable
from models.telemetry import Status
from models.words import say_duration

log = structlog.get_logger()

STATUS_INTERVAL_S = 0.5
STORE_AWAY = (
    "the store does not say yet which series it has: the event store_lost or store_needs_mending says why"
)
LEARN_INTERVAL_S = 60.0
LEAVE_S_MAX = 5.0

Sink = Callable[[Sequence[Block]], None]


class Ingester:
    """Settles what the intake takes in, one write after the other, in the thread that calls `run`.

    A message is acknowledged only after its batch is stored, in the ledger and receipted, so ending at any
    instant loses nothing: what was not receipted is sent again by the broker or by its gateway.
    `sinks` are called with the stored blocks after the commit and must return at once; `list_known` is asked
    once for what the store has, so that only what is new to it counts as new.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        writer: StoreWriter,
        ledger: Ledger,
        dead_letters: DeadLetters,
        gateways: Gateways,
        metrics: CloudMetrics,
        sinks: Iterable[Sink] = (),
        list_known: Callable[[], Iterable[StoredMachine]] = tuple,
        new_series_per_hour_max: int = 10_000,
    ) -> None:
        self._intake = intake
        self._writer = writer
        self._ledger = ledger
        self._dead_letters = dead_letters
        self._gateways = gateways
        self._metrics = metrics
        self._sinks = list(sinks)
        self._store = Insistence(metrics, self._note_statuses)
        self._days = DayCounter()
        self._guard = SeriesGuard(new_series_per_hour_max)
        self._list_known = list_known
        self._knows_series = False
        self._learn_due_s = 0.0
        self._status_due_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Settle batches until `stop`; raise `LinkDied`."""
        try:
            self._store.insist(self._ledger.load, stop, 0)
            self._store.insist(lambda: self._days.load(self._ledger.engine), stop, 0)
            self._intake.start()
            while not stop.is_set():
                self._intake.check()
                deliveries = self._intake.take()
                if deliveries:
                    self._settle(deliveries, stop)
                self._note_statuses()
            self._leave(stop)
            self._note_statuses(now=True)
        except Stopped:
            log.warning("stopped_while_store_away", kept=KEPT)
        finally:
            self._intake.stop()

    def _leave(self, stop: threading.Event) -> None:
        """Settle what is under way to us: nobody else would get it before its gateway sends it again."""
        self._intake.decline()
        until_s = time.monotonic() + LEAVE_S_MAX
        while time.monotonic() < until_s and (deliveries := self._intake.take()):
            self._settle(deliveries, stop)

    def _settle(self, deliveries: list[Delivery], stop: threading.Event) -> None:
        found = sort_deliveries(deliveries, self._intake.read_topic, self._ledger.look_up)
        admitted = self._admit(found.accepted)
        stowed = stow_batches(
            admitted.accepted,
            lambda blocks: self._store.insist(lambda: self._writer.write(blocks), stop, len(deliveries)),
        )
        poison = found.poison + admitted.poison + stowed.poison
        excerpts = admitted.excerpts + stowed.excerpts
        changes = make_changes(stowed.stored, poison, found.duplicates, excerpts)
        buried = poison + [deliver_excerpt(one) for one in excerpts]
        days = self._days.count(stowed.blocks)
        self._store.insist(lambda: self._commit(changes, buried, days, stowed.stored), stop, len(deliveries))
        self._intake.send_receipts(make_verdicts(stowed.stored, poison, found.duplicates))
        self._intake.acknowledge(deliveries)
        self._count(stowed, buried, found.duplicates, deliveries)
        if stowed.blocks:
            for sink in self._sinks:
                sink(stowed.blocks)

    def _admit(self, accepted: Sequence[Accepted]) -> Admission:
        """Return what of the batches is within their gateways' budgets of new series."""
        if not self._knows_series and not self._learn_series():
            return Admission(list(accepted))
        admitted = self._guard.admit(accepted, time.monotonic())
        self._metrics.series_refused.inc(admitted.series_refused)
        for gateway in admitted.spent:
            log.warning("new_series_refused", gateway=gateway, kept="in the dead letters, with the reason")
        return admitted

    def _learn_series(self) -> bool:
        """Ask the store once for what it has; until it answers, everything is let through."""
        if time.monotonic() < self._learn_due_s:
            return False
        try:
            self._guard.learn(self._list_known())
        except StoreUnavailable:
            self._learn_due_s = time.monotonic() + LEARN_INTERVAL_S
            log.warning("new_series_not_bounded", reason=STORE_AWAY, again=say_duration(LEARN_INTERVAL_S))
            return False
        self._knows_series = True
        return True

    def _commit(
        self,
        changes: dict[Key, EpochChange],
        poison: Sequence[Poison],
        days: dict[DayKey, DayCount],
        stored: Sequence[Accepted],
    ) -> None:
        now_ns = time.time_ns()
        letters = [make_letter(one, now_ns) for one in poison]
        with self._ledger.begin() as connection:
            dropped = self._dead_letters.put(connection, letters)
            forgotten = record_gaps(connection, stored)
            repeats = self._ledger.record(connection, changes)
            record_days(connection, days, now_ns, repeats=repeats > 0)
        if letters:
            log.warning(
                "dead_lettered", count=len(letters), reason=letters[0].reason, topic=letters[0].topic[:200]
            )
        if forgotten:
            log.warning("gaps_forgotten", count=forgotten, reason="the records keep the newest only")
        if dropped:
            self._metrics.dead_letters_dropped.inc(dropped)
            log.warning("dead_letters_dropped", count=dropped, reason="dead_letters has reached its limit")

    def _note_statuses(self, *, now: bool = False) -> None:
        """Write down what gateways said of themselves; keep it for the next time when that cannot be."""
        if not now and time.monotonic() < self._status_due_s:
            return
        self._status_due_s = time.monotonic() + STATUS_INTERVAL_S
        statuses = self._intake.take_statuses()
        if not statuses:
            return
        try:
            with self._ledger.begin() as connection:
                self._gateways.put(connection, statuses, time.time_ns())
                self._ledger.record(connection, make_status_changes(statuses))
        except RecordsUnavailable:
            self._metrics.store_failures.inc()
            self._intake.give_back(statuses)

    def _count(
        self,
        stowed: Stowed,
        poison: Sequence[Poison],
        duplicates: Sequence[Duplicate],
        deliveries: Sequence[Delivery],
    ) -> None:
        self._metrics.batches_stored.inc(len(stowed.stored))
        self._metrics.values_stored.inc(sum(one.values for one in stowed.stored))
        self._metrics.batches_dead_lettered.inc(len(poison))
        self._metrics.batches_duplicate.inc(len(duplicates))
        self._metrics.settle_s.observe(time.monotonic() - deliveries[0].arrived_s)


def make_changes(
    stored: Iterable[Accepted],
    poison: Iterable[Poison],
    duplicates: Iterable[Duplicate],
    excerpts: Iterable[Excerpt] = (),
) -> dict[Key, EpochChange]:
    """Return what one write adds to the ledger."""
    changes: dict[Key, EpochChange] = {}
    parts: Counter[tuple[Key, int]] = Counter()
    for excerpt in excerpts:
        parts[excerpt.source.key, excerpt.source.sequence] += excerpt.values
    for one in stored:
        change = changes.setdefault(one.key, EpochChange())
        change.stored.append((one.sequence, one.values))
        if parts and (one.key, one.sequence) in parts:
            change.dead_parts[one.sequence] = parts[one.key, one.sequence]
    for bad in poison:
        if bad.key is not None:
            values = bad.values + parts[bad.key, bad.sequence]
            changes.setdefault(bad.key, EpochChange()).dead_lettered.append((bad.sequence, values))
    for again in duplicates:
        changes.setdefault(again.key, EpochChange()).duplicates += 1
    return changes


def make_status_changes(statuses: dict[str, Status]) -> dict[Key, EpochChange]:
    """Return what gateways say of their outboxes; a will says nothing of them."""
    return {
        (gateway, status.epoch): EpochChange(status=status)
        for gateway, status in statuses.items()
        if status.epoch and status.state == "online"
    }


def make_verdicts(
    stored: Iterable[Accepted], poison: Iterable[Poison], duplicates: Iterable[Duplicate]
) -> dict[Key, Verdict]:
    """Return what each gateway may let go of: the new, and again what came again."""
    verdicts: dict[Key, Verdict] = {}
    for one in stored:
        verdicts.setdefault(one.key, Verdict()).stored.append(one.sequence)
    for bad in poison:
        if bad.key is not None:
            verdicts.setdefault(bad.key, Verdict()).dead_lettered.append(bad.sequence)
    for again in duplicates:
        verdict = verdicts.setdefault(again.key, Verdict())
        (verdict.stored if again.settled == "stored" else verdict.dead_lettered).append(again.sequence)
    return verdicts


def make_letter(poison: Poison, received_ns: int) -> DeadLetter:
    """Return the dead letter that keeps `poison`."""
    message = poison.delivery.message
    whose, cut = poison.gateway, poison.excerpt
    return DeadLetter(message.topic, message.payload, poison.reason, received_ns, whose, excerpt=cut)
