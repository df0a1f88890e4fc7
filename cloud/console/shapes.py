"""What the console shows, as frozen shapes: the pages draw them, the JSON API returns them."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cloud.console.outlook_shapes import AlertForecast, AlertSeverity

Column = list[float | None]


class Shape(BaseModel):
    """Base of everything that leaves the console. Times end in `_ms`: milliseconds since 1970 UTC."""

    model_config = ConfigDict(frozen=True)


class Attention(StrEnum):
    """How much a machine needs somebody, the most urgent first; the order is the order of the pages."""

    ALERT = "alert"
    ACKNOWLEDGED = "acknowledged"
    TAG_FAULT = "tag_fault"
    CANNOT_JUDGE = "cannot_judge"
    UNKNOWN_RUNNING = "unknown_running"
    LEARNING = "learning"
    HEALTHY = "healthy"

    @property
    def rank(self) -> int:
        """Place in the order of attention: 0 is the most urgent."""
        return list(Attention).index(self)

    @property
    def needs_somebody(self) -> bool:
        """Whether a person has something to look at."""
        return self in (Attention.ALERT, Attention.ACKNOWLEDGED, Attention.TAG_FAULT, Attention.CANNOT_JUDGE)


class MachineRow(Shape):
    """One machine on the overview. `load` is score / limit (1 is the limit); None when it is not judged.

    `learned` is how far learning has come, 1 at most, and None where nothing is learned now. `model_alert_id`
    is of the alert that says why the newest model could not take charge.
    """

    path: str
    title: str
    attention: Attention
    words: str
    reason: str
    score: float | None
    limit: float | None
    load: float | None
    newest_ms: int | None
    since_ms: int | None
    alert_id: str | None
    spark: str
    learned: float | None = None
    learned_words: str = ""
    model_alert_id: str | None = None


class PlantLine(Shape):
    """The one line above all machines. `batches_missing` is None until a gateway has reported.

    `forewarning_s` is the average time from an alert to the failure. False alarms are those of a machine and
    month. Both are there as words, under terms that say what they rest on.
    """

    machines: int
    needing_attention: int
    gateways_online: int
    gateways_offline: int
    values_stored: int
    batches_missing: int | None
    forewarning_s: float | None = None
    forewarning_words: str = "–"
    forewarning_terms: str = "Forewarning"
    false_promised: float | None = None
    false_realised: float | None = None
    false_words: str = "–"
    false_terms: str = "False alarms"


class Overview(Shape):
    """The plant at an instant: machines in the order of attention. `trouble` says why it may be old."""

    at_ms: int
    plant: PlantLine
    machines: list[MachineRow]
    trouble: str = ""


class Series(Shape):
    """Columns over time, thinned to the points asked for; None where there is no value (a gap)."""

    machine: str
    measurement: str
    columns: dict[str, "Line"]


class Line(Shape):
    """One curve: `values[i]` at `times_ms[i]`."""

    times_ms: list[float]
    values: Column


class Band(Shape):
    """What the model expects, and three sigmas to either side."""

    times_ms: list[float]
    low: Column
    high: Column
    expected: Column


class TagChart(Shape):
    """One tag of one machine: its curve, its normal band, its fixed limit of old, its newest judgement."""

    tag: str
    title: str
    unit: str
    line: Line
    band: Band | None
    high: float | None
    value: float | None
    expected: float | None
    sigma: float | None
    fault: str = ""


class AlertMark(Shape):
    """An alert as two vertical lines in the charts."""

    id: str
    kind: str
    words: str
    raised_ms: int
    cleared_ms: int | None


class GapRow(Shape):
    """A span of which a gateway acquired nothing, or not everything, of `tags` (empty: of the machine).

    `values_missing` is None where nobody can know; `values_filled` came back from the machine's history.
    """

    first_ms: float
    last_ms: float
    reason: str
    words: str
    span: str
    detail: str
    tags: list[str]
    values_missing: int | None
    values_filled: int
    gateway: str


class MachineCharts(Shape):
    """Everything that the charts of one machine draw between two instants."""

    machine: str
    from_ms: int
    to_ms: int
    score: Line
    limit: Line
    tags: list[TagChart]
    marks: list[AlertMark]
    gaps: list[GapRow] = []


class AlertTag(Shape):
    """One tag of an alert, in words. `pair` is value and expected as they are to be read."""

    tag: str
    title: str
    unit: str
    words: str
    pair: tuple[str, str] | None
    value: float | None
    expected: float | None
    sigma: float | None


class AlertEvent(Shape):
    """Something that happened to an alert."""

    at_ms: int
    what: str
    by: str
    words: str


class AlertNotice(Shape):
    """Who was told of an alert, or is to be: `state` is waiting, sent or failed, and `words` say why."""

    recipient: str
    channel: str
    occasion: str
    state: str
    attempts: int
    sent_ms: int | None
    words: str


class AlertRow(Shape):
    """An alert in the list. `state` is raised, acknowledged or cleared; `kind` machine, tag or model.

    `verdict` is what the crew found: real_fault, false_alarm, maintenance or nothing yet.
    """

    id: str
    machine: str
    machine_title: str
    kind: str
    state: str
    headline: str
    raised_ms: int
    cleared_ms: int | None
    acknowledged_by: str
    verdict: str = ""
    note: str = ""
    failed_ms: int | None = None


class AlertSheet(AlertRow):
    """Everything about one alert. `forecast` and `severity` are those of a machine's alert."""

    forecast: AlertForecast | None = None
    severity: AlertSeverity | None = None

    score: float | None
    limit: float | None
    cause: str
    tags: list[AlertTag]
    advice: list[str]
    history: list[AlertEvent]
    notices: list[AlertNotice]


class GatewayMachine(Shape):
    """How the connection of one gateway to one machine fares. `bad_tags`: each with why it has no value."""

    machine: str
    state: str
    since_ms: int
    reason: str
    bad_tags: list[str]


class GatewayRow(Shape):
    """One gateway's account. `batches_missing`: the gateway let go of them and nobody has them; it must be 0.

    It is None until the gateway has reported what it produced. `gaps_day` reach into the last 24 hours and
    cover `gap_s_day` seconds of them, machine by machine in sum. `warnings`: what is to be mended there soon.
    """

    gateway: str
    state: str
    heard_ms: int | None
    clock_synchronised: bool | None
    version: str
    values_produced: int
    values_stored: int
    values_waiting: int
    values_dropped: int
    values_dead_lettered: int
    batches_missing: int | None
    machines: list[GatewayMachine]
    gaps_day: int = 0
    gap_s_day: float = 0.0
    warnings: list[str] = []


class PartHealth(Shape):
    """One part of the service. `ok` False makes `/healthz` answer 503.

    `degraded`: it works, and something is wrong that beginning anew would not mend: 200, and an alarm.
    """

    part: str
    ok: bool
    state: str
    degraded: bool = False


class Health(Shape):
    """The answer of `/healthz`. `degraded`: somebody is to look, but to restart would be for nothing."""

    ok: bool
    degraded: bool
    parts: list[PartHealth]
