"""Tells the demo's story while it happens: health, wear, the warning, the outage, the failure."""

import time
from collections.abc import Callable
from pathlib import Path

from forewarn.demo.memory import MemoryWatch
from forewarn.demo.plan import CLOSING_S, Plan
from forewarn.demo.stage import Stage
from forewarn.demo.summary import Account, AlertSeen, Summary, find_forewarning_s

TICK_S = 0.25
AFTERMATH_S = 6.0


class Story:
    """Runs one demo on a `stage` and remembers what a summary needs. `tell` prints one timed line."""

    def __init__(self, stage: Stage, plan: Plan, tell: Callable[[float, str], None]) -> None:
        self._stage = stage
        self._plan = plan
        self._tell_at = tell
        self._ready_s = 0.0
        self._memory = MemoryWatch()
        self._alerts: dict[str, AlertSeen] = {}
        self._foretold: set[str] = set()
        self._mails: list[Path] = []
        self._account = Account(0, 0, 0)
        self._outage: tuple[float, float] | None = None
        self._threshold_s: float | None = None
        self._told_s = 0.0

    def play(self, when_ready: Callable[[], None]) -> None:
        """Play from the start to the end of the plan."""
        self._memory.start()
        self._stage.open(self._tell)
        self._ready_s = self._stage.seconds()
        self._tell(f"ready: values flow, the console is at {self._stage.console.url}")
        when_ready()
        plan, fault = self._plan, self._plan.fault
        if fault is not None and plan.onset_s is not None:
            self._watch_until(plan.onset_s)
            self._tell(f"(only the plant knows) {fault.machine}: {fault.words}")
        self._watch_until(plan.outage_begins_s)
        self._break_the_broker()
        if fault is not None and plan.failure_s is not None:
            self._watch_until(plan.failure_s)
            self._tell(f"simulated failure: {fault.machine} trips")
        self._watch_until(plan.end_s - CLOSING_S + AFTERMATH_S)
        self._find_threshold()
        self._account = self._stage.close_books()

    def summarise(self) -> Summary:
        """Return what happened, in numbers; nothing is watched any more after that."""
        self._memory.stop()
        alerts = list(self._alerts.values())
        failure = self._reached(self._plan.failure_s)
        return Summary(
            values_produced=self._account.produced,
            values_stored=self._account.stored,
            values_missing=self._account.missing,
            alerts=alerts,
            mails=len(self._stage.mail.list_mails()),
            wear_begins_s=self._reached(self._plan.onset_s if self._plan.failure_s is not None else None),
            failure_s=failure,
            forewarning_s=find_forewarning_s(alerts, failure),
            threshold_would_fire_s=self._threshold_s,
            outage_s=self._outage,
            ready_s=round(self._ready_s, 3),
            memory_mb_peak=round(self._memory.mb_peak, 1),
            broker=self._stage.broker_name,
        )

    def _tell(self, words: str) -> None:
        self._tell_at(self._stage.seconds(), words)

    def _reached(self, planned_s: float | None) -> float | None:
        """Return the planned instant when the story has got that far."""
        return planned_s if planned_s is not None and planned_s <= self._told_s else None

    def _watch_until(self, until_s: float) -> None:
        """Look at alerts and mail every tick until `until_s` after the start."""
        while (now := self._stage.seconds()) < until_s:
            self._told_s = now
            self._stage.check()
            self._look_at_alerts()
            self._look_at_mail()
            time.sleep(min(TICK_S, max(0.0, until_s - self._stage.seconds())))
        self._told_s = until_s

    def _look_at_alerts(self) -> None:
        for row in self._stage.console.ask("alerts") or []:
            if row["id"] in self._foretold:
                continue
            sheet = self._stage.console.ask(f"alerts/{row['id']}")
            if sheet is None:
                continue
            if row["id"] not in self._alerts:
                self._meet_alert(row["id"], sheet)
            if sheet["forecast"] is not None and sheet["forecast"]["earliest_ms"] is not None:
                self._foretold.add(row["id"])
                self._tell(f"forecast: {sheet['forecast']['words']}")

    def _meet_alert(self, alert_id: str, sheet: dict[str, object]) -> None:
        tags = sheet["tags"]
        assert isinstance(tags, list)
        raised_s = self._stage.seconds(float(str(sheet["raised_ms"])) * 1e6)
        names = [str(tag["tag"]) for tag in tags]
        self._alerts[alert_id] = AlertSeen(
            str(sheet["machine"]), round(raised_s, 3), names, str(sheet["kind"])
        )
        what = "WARNING" if sheet["kind"] == "machine" else "TAG FAULT"
        self._tell(f"{what}  {sheet['machine_title']}: {sheet['headline']}")
        self._tell(f"         {self._stage.console.url}/alerts/{alert_id}")

    def _look_at_mail(self) -> None:
        for mail in self._stage.mail.list_mails():
            if mail not in self._mails:
                self._mails.append(mail)
                self._tell(f"mail to the crew: {mail}")

    def _break_the_broker(self) -> None:
        begins = self._stage.seconds()
        self._stage.broker.kill()
        self._tell("the broker is killed (-9); values wait in the outbox")
        self._watch_until(self._plan.outage_ends_s)
        self._stage.broker.start()
        ends = self._stage.seconds()
        self._outage = (round(begins, 3), round(ends, 3))
        self._tell(
            f"the broker is back after {ends - begins:.0f} s; the outbox drains behind the live values"
        )

    def _find_threshold(self) -> None:
        if self._plan.fault is None or self._plan.failure_s is None or self._plan.onset_s is None:
            return
        start_ms = self._stage.start_ns // 1_000_000
        crossing = self._stage.console.find_threshold_crossing_ms(
            self._plan.fault.machine,
            start_ms + round(self._plan.onset_s * 1000),
            start_ms + round(self._plan.end_s * 1000),
        )
        if crossing is not None:
            at_ms, title = crossing
            self._threshold_s = round(self._stage.seconds(at_ms * 1e6), 3)
            self._tell(f"(looking back) the fixed limit of {title} was reached at {self._threshold_s:.1f} s")
