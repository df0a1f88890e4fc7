"""What a report says: words, figures and numbers to draw; the page is made of this alone."""

import msgspec

from cloud.console.model_shapes import PastEpisodes, TagKnowledge


class Figure(msgspec.Struct, frozen=True):
    """A headline: its name, what it is, and what it rests on. `mood` is calm, look or alarm."""

    name: str
    value: str
    words: str
    mood: str = "calm"


class Tick(msgspec.Struct, frozen=True):
    """A line of a chart's grid in its own units, and its label."""

    at: float
    label: str


class Span(msgspec.Struct, frozen=True):
    """A stretch of a chart's width, marked as an alert of a kind."""

    x: float
    width: float
    kind: str


class ScoreChart(msgspec.Struct, frozen=True):
    """The score over time in multiples of its limit; paths are SVG's, coordinates the chart's own.

    `width` and `height` are those of the plot; `limit_y` is where the score equals its limit.
    """

    width: float
    height: float
    band: str
    line: str
    limit_y: float
    levels: list[Tick]
    times: list[Tick]
    alerts: list[Span]
    words: str


class Cell(msgspec.Struct, frozen=True):
    """A stretch of a tag's strip; `level` 1 to 3, what is calm is left out."""

    x: float
    width: float
    level: int


class Strip(msgspec.Struct, frozen=True):
    """How far one tag was from what the others let expect, over time."""

    title: str
    cells: list[Cell]
    words: str


class Bar(msgspec.Struct, frozen=True):
    """How far a tag was from what is expected in an alert: `share` of the strongest, 0 to 1."""

    title: str
    reads: str
    sigma: str
    share: float


class EventRow(msgspec.Struct, frozen=True):
    """An alert as the report tells it. `kind` is machine, tag, model, or found (in a file)."""

    kind: str
    kind_words: str
    raised: str
    lasted: str
    is_open: bool
    summary: str
    peak: str
    severity: str
    forecast: str
    acknowledged: str
    verdict: str
    forewarning: str
    bars: list[Bar]


class TagRow(msgspec.Struct, frozen=True):
    """A tag with its unit and what is known of it."""

    known: TagKnowledge
    unit: str


class Fact(msgspec.Struct, frozen=True):
    """One line of the card: `details` stand below in small."""

    name: str
    value: str
    details: list[str] = []


class VersionRow(msgspec.Struct, frozen=True):
    """One model of the machine."""

    name: str
    is_current: bool
    trained: str
    learned_from: str
    limit: str
    origin: str
    trouble: str


class Report(msgspec.Struct, frozen=True):
    """Everything that the page says. `verdict` is its first sentence."""

    title: str
    path: str
    made: str
    span: str
    state: str
    mood: str
    verdict: str
    figures: list[Figure]
    chart: ScoreChart | None
    strips: list[Strip]
    events: list[EventRow]
    events_left_out: int
    alarms: list[Fact]
    tags: list[TagRow]
    card: list[Fact]
    versions: list[VersionRow]
    history: list[PastEpisodes]
    forewarn: str
