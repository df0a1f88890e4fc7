"""One tag's rules, value by value: deadband with heartbeat, plausible range, stuck value. Pure."""

from typing import NamedTuple

import msgspec

from edge.drivers.tags import TagSettings
from models.telemetry import Value, quality

NS_PER_S = 1_000_000_000


class Point(NamedTuple):
    """A value when it was observed; a None without a code is bad for an unknown reason.

    `repeated`: nothing but the heartbeat brought it.
    """

    timestamp: int
    value: Value
    code: int | None
    repeated: bool = False


class TagRules(msgspec.Struct, frozen=True):
    """What a tag's settings ask for, in the units of the filter. `deadband_share` is a part of 1."""

    deadband: float | None = None
    deadband_share: float | None = None
    heartbeat_ns: int = 60 * NS_PER_S
    low: float = float("-inf")
    high: float = float("inf")
    stuck_ns: int | None = None
    running_tag: str | None = None
    running_above: float = 0.0


def make_rules(tag: TagSettings) -> TagRules | None:
    """Return the rules of a tag; None where it has none."""
    settings = (tag.deadband, tag.deadband_percent, tag.plausible, tag.stuck_after_s)
    if all(setting is None for setting in settings):
        return None
    percent, plausible, running = tag.deadband_percent, tag.plausible, tag.while_running
    return TagRules(
        deadband=tag.deadband,
        deadband_share=None if percent is None else percent / 100,
        heartbeat_ns=round(tag.heartbeat_s * NS_PER_S),
        low=plausible.low if plausible else float("-inf"),
        high=plausible.high if plausible else float("inf"),
        stuck_ns=None if tag.stuck_after_s is None else round(tag.stuck_after_s * NS_PER_S),
        running_tag=running.tag if running else None,
        running_above=running.above if running else 0.0,
    )


class TagWatch:
    """What one tag's rules remember. `value` has been the same since `since_ns` (None: not while running)."""

    def __init__(self, rules: TagRules) -> None:
        self.rules = rules
        self.suppressed_total = 0
        self.implausible_total = 0
        self.is_stuck = False
        self.value: Value = None
        self.since_ns: int | None = None
        self._reports_all = rules.deadband is None and rules.deadband_share is None
        self._seen_ns: int | None = None
        self._reported: Point | None = None
        self._held: Point | None = None

    def forget_reported(self) -> None:
        """Report whatever comes next."""
        self.suppressed_total += self._held is not None
        self._reported = self._held = None

    def look(self, point: Point, *, runs: bool) -> list[Point]:
        """Return what is to be reported now that `point` was observed: nothing, it, or one before it too."""
        point = self._mark_stuck(self._mark_implausible(point), runs=runs)
        return [point] if self._reports_all else self._report(point)

    def _mark_implausible(self, point: Point) -> Point:
        if point.value is None or self.rules.low <= point.value <= self.rules.high:
            return point
        self.implausible_total += 1
        return _mark(point, quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED)

    def _mark_stuck(self, point: Point, *, runs: bool) -> Point:
        if self.rules.stuck_ns is None:
            return point
        seen_ns, self._seen_ns = self._seen_ns, point.timestamp
        if seen_ns is not None and point.timestamp - seen_ns >= self.rules.stuck_ns:
            self.since_ns = None  # nobody looked meanwhile, or the clock jumped: that is no standing still
        if point.value is None:  # a sensor that says nothing is not stuck: nothing is known of it
            self.since_ns = None
            return point
        if point.value != self.value:
            self.value, self.since_ns, self.is_stuck = point.value, None, False
        if not runs:
            self.since_ns = None
            return point
        if self.since_ns is None:
            self.since_ns = point.timestamp
        if point.timestamp - self.since_ns < self.rules.stuck_ns:
            return point
        self.is_stuck = True
        return _mark(point, quality.UNCERTAIN_LAST_USABLE_VALUE)

    def _report(self, point: Point) -> list[Point]:
        last, held = self._reported, self._held
        is_news = last is None or self._is_news(point, last)
        self._held = None
        if last is not None and not is_news and point.timestamp - last.timestamp < self.rules.heartbeat_ns:
            self.suppressed_total += held is not None
            self._held = point
            return []
        self._reported = point
        # With a change goes the value just before it: a step stays a step instead of becoming a slope.
        if is_news and held is not None:
            return [held, point]
        self.suppressed_total += held is not None
        return [point if is_news else point._replace(repeated=True)]

    def _is_news(self, point: Point, last: Point) -> bool:
        if point.code != last.code or point.value is None or last.value is None:
            return point.code != last.code or point.value != last.value
        share = self.rules.deadband_share
        limit = abs(last.value) * share if share is not None else self.rules.deadband or 0.0
        return not abs(point.value - last.value) <= limit  # so that a NaN is news


def _mark(point: Point, code: int) -> Point:
    """Return the point with the code, unless its own says more already."""
    return Point(point.timestamp, point.value, code) if point.code == quality.GOOD else point
