"""Turns what OPC UA servers send into rows, and rows into frames of columns."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import msgspec

from edge.drivers.modbus.register_types import shorten_float32
from models.telemetry import Frame, Value, quality

FUTURE_NS_MAX = 86_400_000_000_000
"""A source timestamp further than this ahead of the server's clock and of ours is none of a measurement."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CODE_MASK = 0xFFFF0000
_OVERFLOW = 0x00000480
"""Bits of a status code: type DataValue (0x400) with the overflow flag (0x80); OPC 10000-4, 7.39.1."""

_NEVER = -1


class Rows(msgspec.Struct):
    """Observations in the order of their arrival, a list per property.

    Row i says that the tag at `places[i]` (of its machine's list of tags) had `values[i]` at `timestamps[i]`
    (ns since 1970 UTC). `codes` has the status codes of the rows that are not good; a None always has one.
    `overflowed` are the rows of which the server says that others before them did not fit its queue. `arrays`
    has what stood in rows that held several numbers, with the status code they came with; as values they have
    a wrong type.
    """

    places: list[int] = []
    timestamps: list[int] = []
    values: list[Value] = []
    codes: dict[int, int] = {}
    overflowed: list[int] = []
    arrays: dict[int, tuple[list[Any], int]] = {}

    def keep_array(self, row: int, value: Any, code: int) -> None:
        """Keep several numbers that came together; what is not that is none."""
        if isinstance(value, list) and not quality.is_bad(code):
            self.arrays[row] = (value, code & _CODE_MASK)

    def add(self, place: int, timestamp_ns: int, value: Value, code: int = quality.GOOD) -> None:
        """Append one observation."""
        if code:
            self.codes[len(self.places)] = code
        self.places.append(place)
        self.timestamps.append(timestamp_ns)
        self.values.append(value)


class Overflow(msgspec.Struct, frozen=True):
    """The server's queue of one tag was too small: something is missing between two timestamps."""

    place: int
    first_ns: int
    last_ns: int


def convert_time(moment: datetime | None) -> int:
    """Return ns since 1970 UTC, exact to the microsecond; 0 for none, and for any before 1970."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, (aware - _EPOCH) // _MICROSECOND) * 1_000


def choose_time(source_ns: int, server_ns: int, received_ns: int) -> int:
    """Return the source timestamp where it is plausible, else the server's, else when it was received.

    0 is none at all (OPC UA's zero is 1601). Old is plausible: a value that rests keeps its timestamp.
    """
    latest_ns = max(server_ns, received_ns) + FUTURE_NS_MAX
    if 0 < source_ns <= latest_ns:
        return source_ns
    return server_ns if 0 < server_ns <= received_ns + FUTURE_NS_MAX else received_ns


def convert_value(value: Any, code: int, *, is_float32: bool) -> tuple[Value, int]:
    """Return the number and the quality of what a server sent.

    Booleans become 1.0 and 0.0, whole numbers floats; text, arrays and structures `BAD_TYPE_MISMATCH`;
    NaN and infinities None. A float32 becomes the shortest double that gives the same float32.
    """
    code &= _CODE_MASK
    if quality.is_bad(code):
        return None, code
    if not isinstance(value, bool | int | float):
        return None, quality.BAD_WAITING_FOR_INITIAL_DATA if value is None else quality.BAD_TYPE_MISMATCH
    number = float(value)
    if not isfinite(number):
        return None, quality.BAD_SENSOR_FAILURE
    return (shorten_float32([number])[0] if is_float32 else number), code


def has_overflowed(code: int) -> bool:
    """Return whether the server says that values before this one did not fit its queue and are lost."""
    return code & _OVERFLOW == _OVERFLOW


class _Column:
    """What one tag has said since the last frames."""

    __slots__ = ("codes", "timestamps", "values")

    def __init__(self, timestamp_ns: int, value: Value) -> None:
        self.timestamps = [timestamp_ns]
        self.values = [value]
        self.codes: dict[int, int] | None = None


class Gatherer:
    """Makes frames of rows, and leaves out what says nothing new.

    A server that is polled says the same timestamp until the value changes. Bad stays bad until it changes.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = tags
        self._times = [0] * len(tags)
        self._values: list[Value] = [None] * len(tags)
        self._codes = [_NEVER] * len(tags)
        self._columns: dict[int, _Column] = {}
        self._unordered: set[int] = set()
        self._overflows: list[Overflow] = []

    def gather(self, blocks: Iterable[Rows]) -> list[Frame]:
        """Return what is new as frames: tags with the same timestamps share one.

        Of two observations of one tag with one timestamp the later counts. Timestamps ascend in every frame.
        """
        for rows in blocks:
            if rows.codes or rows.overflowed:
                self._add_marked(rows)
            else:
                self._add_good(rows)
        for place in self._unordered:
            _sort(self._columns[place])
        frames = _share_timestamps(self._tags, self._columns)
        self._columns, self._unordered = {}, set()
        return frames

    def keep_newer(self, rows: Rows) -> Rows:
        """Return the rows of tags that have said nothing as new or newer before."""
        kept = Rows()
        for row, (place, time) in enumerate(zip(rows.places, rows.timestamps, strict=True)):
            if time > self._times[place]:
                kept.add(place, time, rows.values[row], rows.codes.get(row, quality.GOOD))
        return kept

    def take_overflows(self) -> list[Overflow]:
        """Return where values did not fit the server's queues, since the last call."""
        overflows, self._overflows = self._overflows, []
        return overflows

    def _add_good(self, rows: Rows) -> None:
        times, values, codes, columns = self._times, self._values, self._codes, self._columns
        for place, time, value in zip(rows.places, rows.timestamps, rows.values, strict=True):
            if time <= times[place]:
                if time == times[place] and value == values[place] and codes[place] == 0:
                    continue
                self._unordered.add(place)
            times[place] = time
            values[place] = value
            codes[place] = 0
            column = columns.get(place)
            if column is None:
                columns[place] = _Column(time, value)
            else:
                column.timestamps.append(time)
                column.values.append(value)

    def _add_marked(self, rows: Rows) -> None:
        overflowed = set(rows.overflowed)
        for row, (place, time, value) in enumerate(
            zip(rows.places, rows.timestamps, rows.values, strict=True)
        ):
            if row in overflowed:
                self._overflows.append(Overflow(place, self._times[place], time))
            self._add_one(place, time, value, rows.codes.get(row, 0))

    def _add_one(self, place: int, time: int, value: Value, code: int) -> None:
        last, is_same = self._times[place], self._values[place] == value and self._codes[place] == code
        if is_same and (time == last or value is None):
            return
        self._times[place], self._values[place], self._codes[place] = time, value, code
        if value is None and time == last:
            # Some servers go bad with the timestamp of the last good value: this must not overwrite it.
            time += 1
            self._unordered.add(place)
        elif time <= last:
            self._unordered.add(place)
        column = self._columns.get(place)
        if column is None:
            column = self._columns[place] = _Column(time, value)
        else:
            column.timestamps.append(time)
            column.values.append(value)
        if code:
            if column.codes is None:
                column.codes = {}
            column.codes[len(column.values) - 1] = code


def _sort(column: _Column) -> None:
    """Put the column's rows into the order of their timestamps; of equal ones the last stays."""
    order = {time: row for row, time in enumerate(column.timestamps)}
    times = sorted(order)
    values, codes = column.values, column.codes or {}
    column.timestamps = times
    column.values = [values[order[time]] for time in times]
    column.codes = {row: codes[order[time]] for row, time in enumerate(times) if order[time] in codes} or None


def _share_timestamps(tags: Sequence[str], columns: dict[int, _Column]) -> list[Frame]:
    frames: dict[int | tuple[int, ...], Frame] = {}
    for place, column in columns.items():
        times = column.timestamps
        key = times[0] if len(times) == 1 else tuple(times)
        frame = frames.get(key)
        if frame is None:
            frame = frames[key] = Frame(times, {}, {})
        frame.values[tags[place]] = column.values
        if column.codes is not None:
            frame.quality[tags[place]] = column.codes
    return list(frames.values())
