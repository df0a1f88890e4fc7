"""Reads some tags of a machine more often than others: a driver made of one driver per interval."""

from collections.abc import Callable, Sequence
from itertools import groupby
from time import monotonic
from typing import Protocol, TypeVar

from edge.drivers import Driver, ExplainsTags
from models.telemetry import Frame


class PolledTag(Protocol):
    """A tag that may have an interval of its own."""

    @property
    def interval_s(self) -> float | None:
        """How often to read it; None: as often as its machine says."""


AnyTag = TypeVar("AnyTag", bound=PolledTag)


def group_tags(tags: Sequence[AnyTag], interval_s: float) -> list[tuple[float, tuple[AnyTag, ...]]]:
    """Return the tags by interval, the shortest first; those without one have the machine's."""

    def choose(tag: AnyTag) -> float:
        return interval_s if tag.interval_s is None else tag.interval_s

    ordered = sorted(tags, key=choose)
    return [(interval, tuple(group)) for interval, group in groupby(ordered, choose)]


class DueTimes:
    """When which of some intervals, the shortest first, is over.

    The shortest is the beat: the others are due at the beat nearest to their time, on an absolute schedule of
    their own, so that they keep their pace whatever the beat is.
    """

    def __init__(self, intervals: Sequence[float], read_clock: Callable[[], float] = monotonic) -> None:
        self._intervals = intervals
        self._read_clock = read_clock
        self._due = [0.0] * len(intervals)

    def begin(self) -> None:
        """All are due now."""
        self._due = [self._read_clock()] * len(self._intervals)

    def take(self) -> list[int]:
        """Return the places of the intervals that are due at this beat, and count them as served."""
        now_s, taken = self._read_clock(), []
        for place, interval_s in enumerate(self._intervals):
            if place and now_s < self._due[place] - self._intervals[0] / 2:
                continue
            late = max(0, int((now_s - self._due[place]) / interval_s))
            self._due[place] += interval_s * (1 + late)  # what is over is not made up for
            taken.append(place)
        return taken


class IntervalGroups:
    """Polled drivers of one machine that share its connection; each is read when its own interval is over."""

    def __init__(
        self, drivers: Sequence[tuple[float, Driver]], read_clock: Callable[[], float] = monotonic
    ) -> None:
        ordered = sorted(drivers, key=lambda group: group[0])
        self.interval_s: float | None = ordered[0][0]
        self._drivers = [driver for _, driver in ordered]
        self._due = DueTimes([interval_s for interval_s, _ in ordered], read_clock)

    async def connect(self) -> None:
        """Connect every group; raise `NotConnected`."""
        for driver in self._drivers:
            await driver.connect()
        self._due.begin()

    async def read(self) -> list[Frame]:
        """Return what the groups that are due have observed; raise `NotConnected`."""
        frames = []
        for place in self._due.take():
            frames += await self._drivers[place].read()
        return frames

    def explain_tags(self) -> dict[str, str]:
        """Return the machine's own word on tags that have no value now."""
        explaining = [driver for driver in self._drivers if isinstance(driver, ExplainsTags)]
        return {tag: words for driver in explaining for tag, words in driver.explain_tags().items()}

    async def close(self) -> None:
        """Close every group."""
        for driver in self._drivers:
            await driver.close()
