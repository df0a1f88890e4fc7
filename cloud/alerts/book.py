"""The alert book: turns observations into alerts, their history and their notifications, all in SQL."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection, Engine, func, insert, select, update

from cloud.alerts import Alert, AlertChange, AlertEvent, AlertKind, Forecast, Severity, UnknownAlert
from cloud.alerts.advice import Adviser
from cloud.alerts.model_alerts import note_models
from cloud.alerts.settings import AlertSettings
from cloud.alerts.states import Change, Progress, advance
from cloud.alerts.tables import (
    BY_CHARS_MAX,
    IS_OPEN,
    alert_event_table,
    alert_table,
    progress_table,
    read_alert,
    read_event,
    read_progress,
    write_alert,
    write_progress,
)
from cloud.alerts.words import choose_blamed, summarise_machine, summarise_tags
from cloud.machines import CardBox
from cloud.notifiers.outbox import Address, put_notifications
from cloud.transactions import begin_read, begin_write
from cloud.watch.observations import Observation
from models.telemetry import MachinePath

EVENTS_MAX = 1000


class AlertBook:
    """All alerts: written by the watcher's thread, read and acknowledged from others.

    Each call is one transaction. `RecordsUnavailable` means that nothing happened: repeat the same call.
    """

    def __init__(
        self,
        engine: Engine,
        rules: AlertSettings,
        cards: CardBox,
        *,
        adviser: Adviser,
        addresses: Sequence[Address] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._cards = cards
        self._adviser = adviser
        self._addresses = list(addresses)
        self._clock_ns = clock_ns
        self._progress: dict[MachinePath, Progress] = {}

    def observe(self, observations: Sequence[Observation]) -> None:
        """Take in what the watcher says; a repeat of an observation changes nothing."""
        with begin_write(self._engine) as connection:
            found = self._take_in(connection, observations)
        self._progress.update(found)  # only what is committed is remembered

    def note_models(self, troubles: Mapping[MachinePath, str]) -> None:
        """Take why machines' newest models cannot take charge; "" clears the alert of one that can."""
        now_ns = self._clock_ns()

        def tell(connection: Connection, alert_id: str, change: Literal["raised", "cleared"]) -> None:
            if change in self._rules.tell:
                put_notifications(connection, self._addresses, alert_id, change, now_ns)

        with begin_write(self._engine) as connection:
            note_models(connection, troubles, self._cards, now_ns, tell)

    def list_alerts(
        self,
        *,
        open_only: bool = False,
        machine: MachinePath | None = None,
        kind: AlertKind | None = None,
        limit: int = 100,
    ) -> list[Alert]:
        """Return alerts, the newest first; of one machine or kind where that is said."""
        query = select(alert_table).order_by(alert_table.c.raised_ns.desc(), alert_table.c.id).limit(limit)
        if open_only:
            query = query.where(alert_table.c.cleared_ns.is_(None))
        if machine is not None:
            query = query.where(alert_table.c.machine == str(machine))
        if kind is not None:
            query = query.where(alert_table.c.kind == kind)
        with begin_read(self._engine) as connection:
            return [read_alert(row) for row in connection.execute(query)]

    def get(self, alert_id: str) -> Alert:
        """Return one alert; raise `UnknownAlert`."""
        with begin_read(self._engine) as connection:
            return _get(connection, alert_id)

    def list_events(self, alert_id: str) -> list[AlertEvent]:
        """Return the history of an alert, the oldest first; raise `UnknownAlert`."""
        query = (
            select(alert_event_table)
            .where(alert_event_table.c.alert_id == alert_id)
            .order_by(alert_event_table.c.id)
            .limit(EVENTS_MAX)
        )
        with begin_read(self._engine) as connection:
            _get(connection, alert_id)
            return [read_event(row) for row in connection.execute(query)]

    def count(self, *, open_only: bool = False) -> int:
        """Return how many alerts there are."""
        query = select(func.count()).select_from(alert_table)
        if open_only:
            query = query.where(alert_table.c.cleared_ns.is_(None))
        with begin_read(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Write down that `by` has seen the alert; the first one counts. Raise `UnknownAlert`."""
        now_ns, by = self._clock_ns(), by.strip()[:BY_CHARS_MAX]
        with begin_write(self._engine) as connection:
            changed = connection.execute(
                update(alert_table)
                .where(alert_table.c.id == alert_id, alert_table.c.acknowledged_ns.is_(None))
                .values(acknowledged_ns=now_ns, acknowledged_by=by)
            )
            if changed.rowcount:
                _write_event(connection, alert_id, "acknowledged", now_ns, by=by)
            return _get(connection, alert_id)

    def foretell(self, alert_id: str, forecast: Forecast, severity: Severity) -> None:
        """Write down what lies ahead of an alert and how bad it is; one that was cleared meanwhile stays."""
        with begin_write(self._engine) as connection:
            alert = _get(connection, alert_id)
            if alert.is_open:
                told = msgspec.structs.replace(alert, forecast=forecast, severity=severity)
                connection.execute(
                    update(alert_table).where(alert_table.c.id == alert_id).values(**write_alert(told))
                )

    def _take_in(
        self, connection: Connection, observations: Sequence[Observation]
    ) -> dict[MachinePath, Progress]:
        found: dict[MachinePath, Progress] = {}
        was_idle: dict[MachinePath, bool] = {}
        peaks: dict[MachinePath, float] = {}
        for seen in observations:
            before = found.get(seen.machine) or self._recall(connection, seen.machine)
            was_idle.setdefault(seen.machine, before.is_idle)
            found[seen.machine], change = advance(before, seen, self._rules)
            if change is not None:
                self._apply(connection, seen, change)
            if found[seen.machine].alert is not None and seen.score is not None and not seen.historical:
                peaks[seen.machine] = max(seen.score, peaks.get(seen.machine, seen.score))
        for machine, score in peaks.items():
            _raise_peak(connection, machine, score)
        # Of a machine with nothing wrong there is nothing to keep: a healthy plant writes nothing here.
        kept = {m: p for m, p in found.items() if not (p.is_idle and was_idle[m])}
        write_progress(connection, kept)
        return found

    def _recall(self, connection: Connection, machine: MachinePath) -> Progress:
        known = self._progress.get(machine)
        if known is not None:
            return known
        query = select(progress_table.c.progress).where(progress_table.c.machine == str(machine))
        return read_progress(connection.execute(query).scalar_one_or_none())

    def _apply(self, connection: Connection, seen: Observation, change: Change) -> None:
        now_ns = self._clock_ns()
        if change.step == "raised":
            alert = self._describe(seen, change, _make_id(seen))
            connection.execute(insert(alert_table).values(**write_alert(alert)))
        else:
            alert = self._change_open(connection, seen, change)
        words = "back to normal" if change.step == "cleared" else alert.summary
        _write_event(connection, alert.id, change.step, seen.timestamp, by="forewarn", words=words)
        if change.step != "widened" and change.step in self._rules.tell:
            put_notifications(connection, self._addresses, alert.id, change.step, now_ns)

    def _change_open(self, connection: Connection, seen: Observation, change: Change) -> Alert:
        """Return the machine's open alert after an escalation, one more faulty tag, or its end."""
        is_ours = (alert_table.c.machine == str(seen.machine)) & IS_OPEN
        alert = read_alert(connection.execute(select(alert_table).where(is_ours)).one())
        if change.step == "cleared":
            alert = msgspec.structs.replace(alert, cleared_ns=seen.timestamp)
        elif change.step == "escalated" or alert.kind == "tag":
            told = self._describe(seen, change, alert.id, alert.faulty_tags)
            alert = msgspec.structs.replace(
                told,
                raised_ns=alert.raised_ns,
                escalated_ns=seen.timestamp if change.step == "escalated" else None,
                # What was acknowledged was a sensor's fault; a machine's is news to be acknowledged again.
                acknowledged_ns=None if change.step == "escalated" else alert.acknowledged_ns,
                acknowledged_by=None if change.step == "escalated" else alert.acknowledged_by,
            )
        else:
            faulty = _name_faults(seen, change, alert.faulty_tags)
            alert = msgspec.structs.replace(alert, faulty_tags=faulty)
        connection.execute(
            update(alert_table).where(alert_table.c.id == alert.id).values(**write_alert(alert))
        )
        return alert

    def _describe(
        self, seen: Observation, change: Change, alert_id: str, known: dict[str, str] | None = None
    ) -> Alert:
        """Return the alert that the evidence makes, in words for a person."""
        assert seen.score is not None  # only a judged window changes anything
        assert seen.limit is not None
        card = self._cards.of(seen.machine)
        faulty = _name_faults(seen, change, known or {})
        if change.kind == "machine":
            blamed = choose_blamed(change.contributions)
            tags = [part.tag for part in blamed]
            summary = summarise_machine(card, blamed)
            advice = self._adviser.advise(card.type, blamed)
        else:
            tags = list(faulty)
            summary = summarise_tags(card, faulty)
            advice = self._adviser.advise_on_tags(card.type)
        return Alert(
            id=alert_id,
            machine=seen.machine,
            kind=change.kind,
            state="raised",
            raised_ns=seen.timestamp,
            score=seen.score,
            limit=seen.limit,
            score_peak=seen.score,
            contributions=change.contributions,
            faulty_tags=faulty,
            tags=tags,
            summary=summary,
            cause=advice.cause,
            advice=advice.check,
        )


def _name_faults(seen: Observation, change: Change, known: dict[str, str]) -> dict[str, str]:
    """Return the reason of every faulty tag, also of those that are well again but were told."""
    fresh = {tag: seen.faulty_tags[tag] for tag in change.faulty if tag in seen.faulty_tags}
    return {**known, **fresh}


def _make_id(seen: Observation) -> str:
    """Return an id that sorts by time and that a person can read out: 20261123-031502-pump-7-3f9a2c."""
    raised = datetime.fromtimestamp(seen.timestamp // 1_000_000_000, UTC)
    return f"{raised:%Y%m%d-%H%M%S}-{seen.machine.machine}-{secrets.token_hex(3)}"


def _get(connection: Connection, alert_id: str) -> Alert:
    row = connection.execute(select(alert_table).where(alert_table.c.id == alert_id)).one_or_none()
    if row is None:
        raise UnknownAlert(f"there is no alert {alert_id[:128]!r}: the list of alerts shows those there are")
    return read_alert(row)


def _raise_peak(connection: Connection, machine: MachinePath, score: float) -> None:
    connection.execute(
        update(alert_table)
        .where(
            alert_table.c.machine == str(machine),
            IS_OPEN,
            (alert_table.c.score_peak < score) | alert_table.c.score_peak.is_(None),
        )
        .values(score_peak=score)
    )


def _write_event(
    connection: Connection, alert_id: str, change: AlertChange, at_ns: int, *, by: str, words: str = ""
) -> None:
    row = {"alert_id": alert_id, "change": change, "at_ns": at_ns, "by": by, "words": words}
    connection.execute(insert(alert_event_table).values(**row))
