"""Turns single observations, as OPC UA servers send them, into frames of columns."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from edge.drivers.modbus.register_types import shorten_float32
from models.telemetry import Frame, Value, quality

Observation = tuple[str, int, Value, int]
"""Tag, source timestamp (ns since 1970 UTC), value (None where there is no number), OPC UA status code."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CODE_MASK = 0xFFFF0000
_OVERFLOW = 0x00000480
"""Bits of a status code: type DataValue (0x400) with the overflow flag (0x80); OPC 10000-4, 7.39.1."""


def convert_time(*moments: datetime | None) -> int | None:
    """Return the first moment that is one, in ns since 1970 UTC; None when a server sent none after 1970."""
    for moment in moments:
        if moment is not None:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            since = (aware - _EPOCH) // _MICROSECOND
            if since > 0:
                return since * 1_000
    return None


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


class RepeatFilter:
    """Lets through what is new: a server that is polled says the same timestamp until the value changes."""

    def __init__(self) -> None:
        self._last: dict[str, Observation] = {}

    def keep_news(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """Yield the observations that say something new about their tag; bad stays bad until it changes."""
        for observation in observations:
            tag, timestamp_ns, value, code = observation
            last = self._last.get(tag)
            if last == observation or (last and value is None and last[2] is None and last[3] == code):
                continue
            if last and value is None and timestamp_ns == last[1]:
                # Some servers go bad with the timestamp of the last good value: this must not overwrite it.
                timestamp_ns += 1
            self._last[tag] = observation
            yield tag, timestamp_ns, value, code


def gather_frames(observations: Iterable[Observation]) -> list[Frame]:
    """Return the observations as frames: tags with the same timestamps share one.

    Of two observations of one tag with one timestamp the later counts. Timestamps ascend in every frame.
    """
    by_tag: dict[str, dict[int, tuple[Value, int]]] = {}
    for tag, timestamp_ns, value, code in observations:
        by_tag.setdefault(tag, {})[timestamp_ns] = (value, code)
    groups: dict[tuple[int, ...], list[str]] = {}
    for tag, rows in by_tag.items():
        times = tuple(rows) if len(rows) == 1 else tuple(sorted(rows))
        groups.setdefault(times, []).append(tag)
    return [_make_frame(times, tags, by_tag) for times, tags in groups.items()]


def _make_frame(
    times: tuple[int, ...], tags: list[str], by_tag: dict[str, dict[int, tuple[Value, int]]]
) -> Frame:
    values: dict[str, list[Value]] = {}
    codes: dict[str, dict[int, int]] = {}
    for tag in tags:
        rows = [by_tag[tag][time] for time in times]
        values[tag] = [value for value, _ in rows]
        marked = {row: code for row, (_, code) in enumerate(rows) if code}
        if marked:
            codes[tag] = marked
    return Frame(list(times), values, codes)
