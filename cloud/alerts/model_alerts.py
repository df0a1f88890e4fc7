"""Alerts about models: one that cannot take charge is told once, and cleared when a good one does."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection, insert, select, update

from cloud.alerts import Alert, AlertChange
from cloud.alerts.tables import IS_OPEN_MODEL, alert_event_table, alert_table, read_alert, write_alert
from cloud.machines import CardBox, MachineCard
from models.telemetry import MachinePath

Tell = Callable[[Connection, str, Literal["raised", "cleared"]], None]
"""Puts the notifications of a change of an alert, by its id, into the same transaction."""


def note_models(
    connection: Connection, troubles: Mapping[MachinePath, str], cards: CardBox, now_ns: int, tell: Tell
) -> None:
    """Raise an alert for each machine whose model is in trouble, clear it where the words are empty.

    A repeat changes nothing; other words replace those of the open alert, of which nobody is told again.
    """
    ours = [str(machine) for machine in troubles]
    query = select(alert_table).where(alert_table.c.machine.in_(ours), IS_OPEN_MODEL)
    open_alerts = {alert.machine: alert for alert in map(read_alert, connection.execute(query).all())}
    for machine, trouble in troubles.items():
        known = open_alerts.get(machine)
        if known is None and trouble:
            alert = describe_trouble(machine, trouble, cards.of(machine), now_ns)
            connection.execute(insert(alert_table).values(**write_alert(alert)))
            _write_event(connection, alert, "raised", now_ns, alert.summary)
            tell(connection, alert.id, "raised")
        elif known is not None and not trouble:
            _change(connection, msgspec.structs.replace(known, cleared_ns=now_ns))
            _write_event(connection, known, "cleared", now_ns, "a good model took charge")
            tell(connection, known.id, "cleared")
        elif known is not None:
            fresh = describe_trouble(machine, trouble, cards.of(machine), now_ns)
            if fresh.summary != known.summary:
                _change(connection, msgspec.structs.replace(known, summary=fresh.summary))
                _write_event(connection, known, "widened", now_ns, fresh.summary)


def describe_trouble(machine: MachinePath, trouble: str, card: MachineCard, now_ns: int) -> Alert:
    """Return the alert; it says nothing of the machine itself, so it has no score and blames no tag."""
    raised = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return Alert(
        id=f"{raised:%Y%m%d-%H%M%S}-{machine.machine}-model-{secrets.token_hex(3)}",
        machine=machine,
        kind="model",
        state="raised",
        raised_ns=now_ns,
        score=0.0,
        limit=0.0,
        score_peak=0.0,
        contributions=[],
        faulty_tags={},
        tags=[],
        summary=f"The newest model of {card.title} cannot take charge: {trouble}",
        cause="",
        advice=[
            "The machine is watched on by the model before it, if there is one: its own state shows whether.",
            f"Look at its models: forewarn models list --machine {machine}",
            "Put an older one in charge with `forewarn models rollback`, or learn anew with "
            f"`forewarn cloud train --machine {machine}`; this alert then clears by itself.",
        ],
    )


def _change(connection: Connection, alert: Alert) -> None:
    connection.execute(update(alert_table).where(alert_table.c.id == alert.id).values(**write_alert(alert)))


def _write_event(connection: Connection, alert: Alert, change: AlertChange, at_ns: int, words: str) -> None:
    row = {"alert_id": alert.id, "change": change, "at_ns": at_ns, "by": "forewarn", "words": words}
    connection.execute(insert(alert_event_table).values(**row))
