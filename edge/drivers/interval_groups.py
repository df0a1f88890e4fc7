"""Reads some tags of a machine more often than others: a driver made of one driver per interval."""

from collections.abc import Callable, Sequence
from itertools import groupby
from time import monotonic
from typing import Protocol, TypeVar

from edge.drivers import Driver
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


class IntervalGroups:
    """Polled drivers of one machine that share its connection; each is read when its own interval is over.

    The shortest interval is the beat: the others are read at the beat nearest to their time, on an absolute
    schedule of their own, so that they keep their pace whatever the beat is.
    """

    def __init__(
        self, drivers: Sequence[tuple[float, Driver]], read_clock: Callable[[], float] = monotonic
    ) -> None:
        self._drivers = sorted(drivers, key=lambda group: group[0])
        self.interval_s: float | None = self._drivers[0][0]
        self._beat_s = self._drivers[0][0]
        self._read_clock = read_clock
        self._due = [0.0] * len(drivers)

    async def connect(self) -> None:
        """Connect every group; raise `NotConnected`."""
        for _, driver in self._drivers:
            await driver.connect()
        self._due = [self._read_clock()] * len(self._drivers)

    async def read(self) -> list[Frame]:
        """Return what the groups that are due have observed; raise `NotConnected`."""
        now_s, frames = self._read_clock(), []
        for place, (interval_s, driver) in enumerate(self._drivers):
            if place and now_s < self._due[place] - self._beat_s / 2:
                continue
            late = max(0, int((now_s - self._due[place]) / interval_s))
            self._due[place] += interval_s * (1 + late)  # what is over is not made up for
            frames += await driver.read()
        return frames

    async def close(self) -> None:
        """Close every group."""
        for _, driver in self._drivers:
            await driver.close()
