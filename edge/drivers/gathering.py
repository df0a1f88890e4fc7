"""Makes frames of rows, and leaves out what says nothing new. Pure."""

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import gt, not_

from edge.drivers.columns import Overflow, Rows, join_rows
from models.telemetry import Column, Frame, Value, quality

_NEVER = -1


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
        self._all = list(range(len(tags)))
        self._asked = self._all
        """The places of the last answer in which every tag stood once: most are asked for again."""
        self._asked_names: dict[str, Column] = dict.fromkeys(tags, ())
        self._times = [0] * len(tags)
        self._values: list[Value] = [None] * len(tags)
        self._codes = [_NEVER] * len(tags)
        self._newest_ns = 0
        """No tag has said anything later."""
        self._columns: dict[int, _Column] = {}
        self._unordered: set[int] = set()
        self._overflows: list[Overflow] = []

    def gather(self, blocks: Iterable[Rows]) -> list[Frame]:
        """Return what is new as frames: tags with the same timestamps share one.

        Of two observations of one tag with one timestamp the later counts. Timestamps ascend in every frame.
        """
        told = [rows for rows in blocks if rows.places]
        if not told:
            return []
        news = self._find_plain_news(told[0] if len(told) == 1 else join_rows(told))
        if news is not None:
            return self._make_frames(*news)
        self._newest_ns = max(self._newest_ns, *[max(rows.timestamps) for rows in told])
        for rows in told:
            if rows.codes or rows.overflowed:
                self._add_marked(rows)
            else:
                self._add_good(rows)
        for place in self._unordered:
            _sort(self._columns[place])
        frames = _share_timestamps(self._tags, self._columns)
        self._columns, self._unordered = {}, set()
        return frames

    def _find_plain_news(self, rows: Rows) -> tuple[list[int], list[int], list[Value]] | None:
        """Return places, times and values of what is new, where that is plain to see; else None.

        It is where every tag stands once, as in the answer to a Read, and what is not newer than its last
        observation is the same.
        """
        places, times, values = rows.places, rows.timestamps, rows.values
        if rows.overflowed or not self._is_each_once(places):
            return None
        if not rows.codes and _find_span(times)[0] > self._newest_ns:
            return places, times, values
        are_newer = list(map(gt, times, map(self._times.__getitem__, places)))
        for row, code in rows.codes.items():
            place = places[row]
            if values[row] is not None or self._values[place] is not None or self._codes[place] != code:
                return None
            are_newer[row] = False
        if all(are_newer):
            return places, times, values
        for row in compress(range(len(places)), map(not_, are_newer)):
            before = self._times[places[row]], self._values[places[row]], self._codes[places[row]]
            if row not in rows.codes and (times[row], values[row], quality.GOOD) != before:
                return None
        return (
            list(compress(places, are_newer)),
            list(compress(times, are_newer)),
            list(compress(values, are_newer)),
        )

    def _is_each_once(self, places: list[int]) -> bool:
        if places != self._asked:
            if len(set(places)) < len(places):
                return False
            self._asked = places
            self._asked_names = dict.fromkeys([self._tags[place] for place in places], ())
        return True

    def _make_frames(self, places: list[int], times: list[int], values: list[Value]) -> list[Frame]:
        """Remember good news, each of another tag, and return the frames."""
        if len(places) == len(self._tags) and places == self._all:
            self._times[:], self._values[:], self._codes = times, values, [quality.GOOD] * len(places)
        else:
            for place, time, value in zip(places, times, values, strict=True):
                self._times[place], self._values[place], self._codes[place] = time, value, quality.GOOD
        if not times:
            return []
        first_ns, last_ns = _find_span(times)
        self._newest_ns = max(self._newest_ns, last_ns)
        if len(places) == len(self._asked):
            names = self._asked_names
        else:  # what has nothing new was left out of the places
            names = dict.fromkeys([self._tags[place] for place in places], ())
        if first_ns == last_ns:
            columns = names.copy()  # which is of the right size at once
            columns.update(zip(names, zip(values), strict=True))
            return [Frame([first_ns], columns)]
        told = zip(times, names, zip(values), strict=True)
        if len(set(times)) == len(times):
            return [Frame([time], {name: column}) for time, name, column in told]
        shared: dict[int, dict[str, Column]] = {}
        for time, name, column in told:
            frame = shared.get(time)
            if frame is None:
                shared[time] = {name: column}
            else:
                frame[name] = column
        return [Frame([time], frame) for time, frame in shared.items()]

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


def _find_span(times: list[int]) -> tuple[int, int]:
    """Return the first and the last of some times; mostly all are one."""
    first = times[0]
    return (first, first) if times.count(first) == len(times) else (min(times), max(times))


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
