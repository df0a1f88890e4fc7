"""One machine as a Sparkplug device: its metrics, their aliases, and what each was last."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import msgspec

from edge.sparkplug.columns import NS_PER_MS, describe_quality, make_value
from edge.sparkplug.keys import MetricKey, TagKeys
from edge.sparkplug.payload import (
    BOOLEAN,
    DOUBLE,
    ENGINEERING_UNIT,
    STRING,
    Metric,
    Property,
)
from models.telemetry import Frame, MachinePath, Value, quality

SHAPES_MAX = 64
"""Frames of so many different sets of tags are kept whole."""


class DeviceTag(msgspec.Struct, frozen=True):
    """What a DBIRTH says of a tag. A tag whose value is 1 or 0 for true or false `is_boolean`."""

    name: str
    unit: str = ""
    is_boolean: bool = False


class Latest(msgspec.Struct, frozen=True):
    """What a tag was last: when (ms since 1970), its value, its OPC UA status code."""

    timestamp: int
    value: Value
    code: int


class Device:
    """The metrics of one machine. Born while a DBIRTH of this session stands for it.

    `aliases`: numbers that no other metric of the node has; None where every value says its name.
    """

    def __init__(
        self, machine: MachinePath, tags: Iterable[DeviceTag], aliases: Iterator[int] | None
    ) -> None:
        self.machine = machine
        self.is_born = False
        self.keys = TagKeys()
        """How the values of each tag are named."""
        self._aliases = aliases
        self._tags: dict[str, DeviceTag] = {}
        self._latest: dict[str, Latest] = {}
        self._recent: dict[tuple[str, ...], Frame] = {}
        self._newest_ns = 0
        for tag in tags:
            self._add(tag)

    def learn(self, frames: Iterable[Frame]) -> None:
        """Take on tags that no DBIRTH named: a machine that was taken out of the settings, a tag renamed."""
        for frame in frames:
            for name in frame.values:
                if name not in self._tags:
                    self._add(DeviceTag(name))
                    self.is_born = False  # a DBIRTH that names it must come first

    def observe(self, frames: Iterable[Frame]) -> None:
        """Remember the last row of every tag."""
        for frame in frames:
            shape = tuple(frame.values)
            recent = self._recent.get(shape)
            if recent is None or frame.timestamps[-1] >= recent.timestamps[-1]:
                self._recent[shape] = frame
                self._newest_ns = max(self._newest_ns, frame.timestamps[-1])
        if len(self._recent) > SHAPES_MAX:
            self._fold()

    def observe_first(self, frames: Iterable[Frame]) -> list[Frame]:
        """Remember the first row of every tag, for a DBIRTH; return the rows that come after it."""
        seen: set[str] = set()
        rest: list[Frame] = []
        for frame in frames:
            fresh = [name for name in frame.values if name not in seen]
            stamp = frame.timestamps[0] // NS_PER_MS
            for name in fresh:
                self.latest[name] = Latest(stamp, frame.values[name][0], _find_code(frame, name, 0))
            seen.update(fresh)
            rest += _cut_frame(frame, fresh, from_row=1)
            rest += _cut_frame(frame, [name for name in frame.values if name not in fresh], from_row=0)
        return rest

    def split_late(self, frames: Iterable[Frame]) -> tuple[list[Frame], list[Frame]]:
        """Part rows that are older than what is known of one of their tags (history read from a machine,
        values that waited for the clock) from current ones; return (late, current), each oldest first.
        """
        late: list[Frame] = []
        current: list[Frame] = []
        for frame in sorted(frames, key=lambda frame: frame.timestamps[0]):
            row = 0
            if frame.timestamps[0] <= self._newest_ns:
                known = [self.latest[name].timestamp for name in frame.values if name in self.latest]
                row = bisect_left(frame.timestamps, max(known, default=0) * NS_PER_MS)
            if row:
                late += _cut_frame(frame, list(frame.values), from_row=0, to_row=row)
            current += _cut_frame(frame, list(frame.values), from_row=row)
        return late, current

    @property
    def latest(self) -> dict[str, Latest]:
        """What each tag was last, of those that have been seen."""
        self._fold()
        return self._latest

    def _fold(self) -> None:
        """Look each tag up in the frames that were kept whole: when somebody asks, not for every value."""
        for frame in self._recent.values():
            stamp, row = frame.timestamps[-1] // NS_PER_MS, len(frame.timestamps) - 1
            for name, column in frame.values.items():
                known = self._latest.get(name)
                if known is None or stamp >= known.timestamp:
                    self._latest[name] = Latest(stamp, column[-1], _find_code(frame, name, row))
        self._recent.clear()

    def forget(self) -> None:
        """The machine is not there: what it said is no current value any more."""
        self._latest.clear()
        self._recent.clear()
        self.is_born = False

    def keep_latest(self, other: "Device") -> None:
        """Take over what `other`, the same machine before a reload, was last."""
        self._latest = {name: latest for name, latest in other.latest.items() if name in self._tags}

    def list_metrics(self, now_ms: int) -> list[Metric]:
        """Return the metrics of a DBIRTH: every tag, in the order of their timestamps."""
        latest = self.latest
        metrics = [self._make_metric(tag, latest.get(name), now_ms) for name, tag in self._tags.items()]
        return sorted(metrics, key=lambda metric: metric.timestamp or 0)

    def _make_metric(self, tag: DeviceTag, latest: Latest | None, now_ms: int) -> Metric:
        key = self.keys[tag.name]
        value = None if latest is None else make_value(latest.value, key.datatype)
        unit = {ENGINEERING_UNIT: Property(STRING, tag.unit)} if tag.unit else {}
        return Metric(
            name=tag.name,
            alias=key.alias,
            timestamp=now_ms if latest is None else latest.timestamp,
            datatype=key.datatype,
            value=value,
            is_null=value is None,
            properties=unit | describe_quality(latest.code if latest else 0, is_known=latest is not None),
        )

    def _add(self, tag: DeviceTag) -> None:
        self._tags[tag.name] = tag
        datatype = BOOLEAN if tag.is_boolean else DOUBLE
        if self._aliases is None:
            self.keys.add(tag.name, MetricKey(datatype, name=tag.name))
        else:
            self.keys.add(tag.name, MetricKey(datatype, alias=next(self._aliases)))


def _find_code(frame: Frame, name: str, row: int) -> int:
    default = quality.BAD if frame.values[name][row] is None else quality.GOOD
    return frame.quality.get(name, {}).get(row, default)


def _cut_frame(frame: Frame, names: list[str], from_row: int, to_row: int | None = None) -> list[Frame]:
    """Return the columns of these tags in those rows, as one frame; none where nothing is left."""
    end = len(frame.timestamps) if to_row is None else to_row
    if not names or from_row >= end:
        return []
    if from_row == 0 and end == len(frame.timestamps) and len(names) == len(frame.values):
        return [frame]
    codes = {
        name: {row - from_row: code for row, code in frame.quality[name].items() if from_row <= row < end}
        for name in names
        if name in frame.quality
    }
    columns = {name: frame.values[name][from_row:end] for name in names}
    return [Frame(frame.timestamps[from_row:end], columns, codes)]
