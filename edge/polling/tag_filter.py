"""Between driver and collector: leaves out what says nothing new, marks what cannot be true. Pure."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from edge.drivers.tags import TagSettings
from edge.polling.tag_watches import Point, TagRules, TagWatch, make_rules
from models.telemetry import Column, Frame, Value, quality


class TagNews(NamedTuple):
    """A tag that stands still although its machine runs, or that moves again."""

    tag: str
    what: Literal["stuck", "moves"]
    value: float
    since_ns: int
    now_ns: int


class TagFilter:
    """The rules of one machine's tags, and what must be remembered for them.

    A frame of tags without rules passes as it is; only tags with rules are looked at row by row. The
    timestamps of each tag ascend from call to call.
    """

    def __init__(self, rules: dict[str, TagRules]) -> None:
        self._watches = {tag: TagWatch(rule) for tag, rule in rules.items()}
        self._running: dict[str, Value] = dict.fromkeys(
            rule.running_tag for rule in rules.values() if rule.running_tag
        )
        self._news: list[TagNews] = []

    @property
    def suppressed_total(self) -> int:
        """How many values were not reported for differing too little."""
        return sum(watch.suppressed_total for watch in self._watches.values())

    @property
    def implausible_total(self) -> int:
        """How many values were outside what their tag can be."""
        return sum(watch.implausible_total for watch in self._watches.values())

    def begin_again(self) -> None:
        """After a loss of the connection: whatever comes next is reported."""
        for watch in self._watches.values():
            watch.forget_reported()

    def take_news(self) -> list[TagNews]:
        """Return which tags got stuck or moved since the last call."""
        news, self._news = self._news, []
        return news

    def apply(self, frames: list[Frame]) -> list[Frame]:
        """Return what is to be kept of the frames, marked."""
        return [kept for frame in frames for kept in self._apply(frame)]

    def _apply(self, frame: Frame) -> list[Frame]:
        watched = self._watches.keys() & frame.values.keys()
        found = {tag: self._look(tag, frame) for tag in frame.values if tag in watched}
        for tag in self._running.keys() & frame.values.keys():
            self._running[tag] = frame.values[tag][-1]
        return _compose(frame, found) if found else [frame]

    def _look(self, tag: str, frame: Frame) -> list[Point]:
        """Return the points of the tag that are to be kept."""
        watch, codes = self._watches[tag], frame.quality.get(tag, {})
        runs = self._list_running(watch.rules, frame)
        kept: list[Point] = []
        for row, (timestamp, value) in enumerate(zip(frame.timestamps, frame.values[tag], strict=True)):
            code = codes.get(row, quality.GOOD if value is not None else None)
            was_stuck, since_ns, stood_at = watch.is_stuck, watch.since_ns, watch.value
            kept += watch.look(Point(timestamp, value, code), runs=runs[row])
            if watch.is_stuck and not was_stuck:
                self._tell(tag, "stuck", watch.value, watch.since_ns, timestamp)
            elif was_stuck and not watch.is_stuck:
                self._tell(tag, "moves", stood_at, since_ns, timestamp)
        return kept

    def _tell(
        self, tag: str, what: Literal["stuck", "moves"], value: Value, since_ns: int | None, now_ns: int
    ) -> None:
        self._news.append(TagNews(tag, what, value or 0.0, since_ns or now_ns, now_ns))

    def _list_running(self, rules: TagRules, frame: Frame) -> list[bool]:
        """Return, row by row, whether the machine runs: by the same frame, else by what was last known."""
        if rules.running_tag is None:
            return [True] * len(frame.timestamps)
        column = frame.values.get(rules.running_tag)
        if column is None:
            column = [self._running[rules.running_tag]] * len(frame.timestamps)
        return [value is not None and value > rules.running_above for value in column]


def make_filter(tags: Iterable[TagSettings]) -> TagFilter | None:
    """Return the filter for tags' settings; None where no tag has a rule."""
    rules = {tag.name: rule for tag in tags if (rule := make_rules(tag)) is not None}
    return TagFilter(rules) if rules else None


def _compose(frame: Frame, found: dict[str, list[Point]]) -> list[Frame]:
    """Return the frame with the points found in place of those tags' columns; tags of equal rows together."""
    whole = tuple(frame.timestamps)
    groups: dict[tuple[int, ...], dict[str, list[Point]]] = {}
    for tag, points in found.items():
        if points:
            groups.setdefault(tuple(point.timestamp for point in points), {})[tag] = points
    rest = {tag: column for tag, column in frame.values.items() if tag not in found}
    frames = []
    if rest or whole in groups:
        beside = _make_frame(whole, groups.pop(whole, {}))
        codes = {tag: marks for tag, marks in frame.quality.items() if tag in rest}
        frames.append(Frame(frame.timestamps, rest | beside.values, codes | beside.quality, beside.repeats))
    return frames + [_make_frame(timestamps, columns) for timestamps, columns in groups.items()]


def _make_frame(timestamps: tuple[int, ...], columns: dict[str, list[Point]]) -> Frame:
    values: dict[str, Column] = {tag: [point.value for point in points] for tag, points in columns.items()}
    codes, repeats = {}, {}
    for tag, points in columns.items():
        marks = {row: point.code for row, point in enumerate(points) if point.code}
        if marks:
            codes[tag] = marks
        if again := [row for row, point in enumerate(points) if point.repeated]:
            repeats[tag] = again
    return Frame(list(timestamps), values, codes, repeats)
