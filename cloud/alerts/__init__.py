"""Alerts: what is told to people about a machine, and its history."""

from typing import Literal

import msgspec

from cloud.watch.observations import Contribution
from models.errors import ForewarnError
from models.telemetry import MachinePath

AlertKind = Literal["machine", "tag", "model"]
"""`machine`: the machine does not behave as it used to. `tag`: a sensor of it cannot be believed.
`model`: its newest model cannot take charge, which says nothing of the machine: score and limit are 0."""

AlertState = Literal["raised", "acknowledged", "cleared"]
"""ISA-18.2: `raised` is active and unacknowledged; a cleared alert may still be unacknowledged."""

AlertChange = Literal["raised", "escalated", "widened", "acknowledged", "reviewed", "cleared"]
"""`escalated`: a tag alert became a machine alert. `widened`: one more tag of it is faulty, or its
model is in trouble for another reason. `reviewed`: somebody said what was found."""


class UnknownAlert(ForewarnError):
    """There is no alert of that id: say so to whoever asked."""


ForecastBasis = Literal["fixed_limit", "score", "failures"]
"""`fixed_limit`: of the blamed tag's value to its fixed limit; `score`: of the score to where machines fail;
`failures`: by how long machines that failed had left when they looked like this."""

SeverityGrade = Literal["slight", "distinct", "severe", "critical"]


class Forecast(msgspec.Struct, frozen=True):
    """What lies ahead of an open alert, as far as it can be told at `at_ns`. All times are event time.

    Between `earliest_ns` and `latest_ns` is an 80 % band; both are None where there is no reliable forecast,
    and `words` say why.
    """

    at_ns: int
    basis: ForecastBasis
    words: str
    earliest_ns: int | None = None
    latest_ns: int | None = None


class Severity(msgspec.Struct, frozen=True):
    """How bad it is: from how far the score is above its limit, for how long, and how fast it rises."""

    grade: SeverityGrade
    words: str


class Alert(msgspec.Struct, frozen=True):
    """What is wrong with one machine, since when, how sure, and what to look at.

    Times ending in `_ns` are event time for raised, escalated and cleared, the clock's for acknowledged.
    `score`, `limit` and `contributions` are as they were when it was raised (or escalated; a tag alert has
    no contributions); `score_peak` is the highest since. `tags` are the blamed ones, strongest first.
    `faulty_tags` are the tags not to be believed, each with its reason. `cause` may be empty. `forecast` and
    `severity` are the newest of a machine's alert, None before anybody looked.
    """

    id: str
    machine: MachinePath
    kind: AlertKind
    state: AlertState
    raised_ns: int
    score: float
    limit: float
    score_peak: float
    contributions: list[Contribution]
    faulty_tags: dict[str, str]
    tags: list[str]
    summary: str
    cause: str
    advice: list[str]
    escalated_ns: int | None = None
    acknowledged_ns: int | None = None
    acknowledged_by: str | None = None
    cleared_ns: int | None = None
    forecast: Forecast | None = None
    severity: Severity | None = None

    @property
    def is_open(self) -> bool:
        """Whether the machine has not come back to normal."""
        return self.cleared_ns is None


class AlertEvent(msgspec.Struct, frozen=True):
    """One line of an alert's history: what changed, when (nanoseconds), by whom and in which words."""

    alert_id: str
    change: AlertChange
    at_ns: int
    by: str
    words: str
