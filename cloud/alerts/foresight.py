"""What lies ahead of an open alert, from its score in the store: when, or why that cannot be told."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.alerts import Alert, Forecast, ForecastBasis, Severity
from cloud.alerts.failures import Failure, FailureBook
from cloud.alerts.severity import grade_severity
from cloud.alerts.words import name_tag
from cloud.machines import CardBox, MachineCard
from cloud.stores import StoreReader, Table
from models.anomaly.features import Vector
from models.anomaly.forecasting.experience import recall
from models.anomaly.forecasting.outlook import REACHED, Outlook, foresee
from models.anomaly.forecasting.remaining_life import FAILURES_MIN
from models.telemetry import MachinePath

NS_PER_S = 1_000_000_000
LOOK_BACK_S = 6 * 3_600
"""How long before the alert the rise may have begun."""
SPAN_S_MAX = 30 * 86_400
ROWS_MAX = 20_000
"""More scores than this say nothing more about a trend; they are taken evenly."""


class Rise(msgspec.Struct, frozen=True):
    """Scores in limits since an alert's rise began: `times` (n,) in nanoseconds, `ratios` (n,)."""

    times: NDArray[np.int64]
    ratios: Vector

    @property
    def seconds(self) -> Vector:
        """The times in seconds since the first."""
        return np.asarray((self.times - self.times[0]) / NS_PER_S, dtype=np.float64)


class Foresight:
    """Looks at alerts; machines fail when the score is `failure_ratio` times its limit."""

    def __init__(
        self, reader: StoreReader, cards: CardBox, failures: FailureBook, failure_ratio: float
    ) -> None:
        self._reader = reader
        self._cards = cards
        self._failures = failures
        self._failure_ratio = failure_ratio
        self._runs: dict[Failure, Rise] = {}

    def look(self, alert: Alert, now_ns: int) -> tuple[Forecast, Severity] | None:
        """Return what there is to say of a machine's alert at `now_ns`; None where nothing is stored of it.

        Raises `StoreUnavailable` and `RecordsUnavailable`.
        """
        rise = read_rise(self._reader, alert.machine, alert.raised_ns, now_ns + 1)
        if rise is None:
            return None
        severity = self._grade(alert, rise)
        past = self._recall_failures(alert.machine)
        if len(past) >= FAILURES_MIN:
            outlook = recall([(one.seconds, one.ratios) for one in past], rise.seconds, rise.ratios)
            words = f"going by {len(past)} failures of the past, it fails"
            return self._say(rise, "failures", words, outlook), severity
        return self._foresee(alert, rise), severity

    def _grade(self, alert: Alert, rise: Rise) -> Severity:
        lasted_s = max(0.0, float(rise.times[-1] - alert.raised_ns) / NS_PER_S)
        return grade_severity(rise.seconds, rise.ratios, lasted_s)

    def _foresee(self, alert: Alert, rise: Rise) -> Forecast:
        """Return when a blamed tag is at its fixed limit, or else when the score is where machines fail."""
        card = self._cards.of(alert.machine)
        by_tag = self._foresee_tag(alert, rise, card)
        if by_tag is not None:
            return by_tag
        level = self._failure_ratio
        outlook = foresee(rise.seconds, rise.ratios, level)
        if outlook.reason == REACHED:
            outlook = Outlook(reason=f"the score is at {level:g} times its limit already")
        return self._say(rise, "score", f"the score reaches {level:g} times its limit", outlook)

    def _foresee_tag(self, alert: Alert, rise: Rise, card: MachineCard) -> Forecast | None:
        """Return when the strongest tag that goes up to a fixed limit will be there, if that can be told."""
        for part in alert.contributions:
            high = card.tag(part.tag).high
            if high is None or part.sigma <= 0.0 or part.tag not in alert.tags or high <= 0.0:
                continue
            first_ns, last_ns = int(rise.times[0]), int(rise.times[-1])
            table = self._reader.read("telemetry", alert.machine, first_ns, last_ns + 1, [part.tag])
            seconds, values = _pick_column(table, part.tag, first_ns)
            if not len(values):
                continue
            outlook = foresee(seconds, values, high)
            if not outlook.reason:
                unit = card.tag(part.tag).unit
                words = f"{name_tag(card, part.tag)} reaches its fixed limit of {high:g} {unit}".rstrip()
                return self._say(rise, "fixed_limit", words, outlook)
        return None

    def _say(self, rise: Rise, basis: ForecastBasis, what: str, outlook: Outlook) -> Forecast:
        at_ns = int(rise.times[-1])
        if outlook.earliest_s is None or outlook.latest_s is None:
            return Forecast(at_ns, basis, f"no reliable forecast: {outlook.reason}")
        earliest_ns, latest_ns = (at_ns + round(s * NS_PER_S) for s in (outlook.earliest_s, outlook.latest_s))
        return Forecast(at_ns, basis, f"{what} {say_between(earliest_ns, latest_ns)}", earliest_ns, latest_ns)

    def _recall_failures(self, machine: MachinePath) -> Sequence[Rise]:
        """Return the scores of past alerts up to the failures that the crew recorded for such machines."""
        failures = self._failures.list()
        # A date that was corrected is another failure; those of other types are for other alerts.
        self._runs = {one: run for one, run in self._runs.items() if one in failures}
        kind = self._cards.of(machine).type
        alike = [one for one in failures if self._cards.of(one.machine).type == kind]
        for one in alike:
            if one not in self._runs:
                found = read_rise(self._reader, one.machine, one.raised_ns, one.failed_ns + 1)
                if found is not None:
                    self._runs[one] = found
        return [self._runs[one] for one in alike if one in self._runs]


def read_rise(reader: StoreReader, machine: MachinePath, raised_ns: int, end_ns: int) -> Rise | None:
    """Return the scores from where the alert's rise began up to `end_ns`; raise `StoreUnavailable`."""
    begin_ns = max(0, raised_ns - LOOK_BACK_S * NS_PER_S, end_ns - SPAN_S_MAX * NS_PER_S)
    table = reader.read("score", machine, begin_ns, end_ns, ["score", "limit"])
    if "score" not in table.values or "limit" not in table.values:
        return None
    ratios = table.values["score"] / table.values["limit"]
    known = np.isfinite(ratios)
    times, ratios = table.timestamps[known], ratios[known]
    first = find_onset(ratios[times < raised_ns])
    times, ratios = times[first:], ratios[first:]
    if len(times) < 2:
        return None
    stride = -(-len(times) // ROWS_MAX)
    return Rise(times[::-1][::stride][::-1], ratios[::-1][::stride][::-1])


def find_onset(before: Vector) -> int:
    """Return the row of scores in limits before an alert (n,) from where on they were above what is usual."""
    if not len(before):
        return 0
    calm = np.flatnonzero(before <= min(float(np.median(before)), 1.0))
    return int(calm[-1]) + 1 if len(calm) else 0


def _pick_column(table: Table, tag: str, first_ns: int) -> tuple[Vector, Vector]:
    values = table.values.get(tag, np.empty(0))
    known = np.isfinite(values)
    if not known.any():
        return np.empty(0), np.empty(0)
    return np.asarray((table.timestamps[known] - first_ns) / NS_PER_S, dtype=np.float64), values[known]


def say_between(earliest_ns: int, latest_ns: int) -> str:
    """Return `between 14:20 and 16:10 on ...` in local time, with seconds where it is short."""
    begin, end = (datetime.fromtimestamp(at // NS_PER_S, UTC).astimezone() for at in (earliest_ns, latest_ns))
    clock = "%H:%M:%S" if latest_ns - earliest_ns < 600 * NS_PER_S else "%H:%M"
    if begin.date() == end.date():
        return f"between {begin:{clock}} and {end:{clock}} on {end:%Y-%m-%d} ({end:%Z})"
    return f"between {begin:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} ({end:%Z})"
