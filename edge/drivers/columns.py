"""Rows of what OPC UA servers send, in our own types: numbers, timestamps, quality."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import msgspec

from edge.drivers.modbus.register_types import shorten_float32
from models.telemetry import Value, quality

FUTURE_NS_MAX = 86_400_000_000_000
"""A source timestamp further than this ahead of the server's clock and of ours is none of a measurement."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CODE_MASK = 0xFFFF0000
_OVERFLOW = 0x00000480
"""Bits of a status code: type DataValue (0x400) with the overflow flag (0x80); OPC 10000-4, 7.39.1."""


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


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several answers as one."""
    whole = Rows()
    for part in parts:
        before = len(whole.places)
        whole.places += part.places
        whole.timestamps += part.timestamps
        whole.values += part.values
        whole.codes.update({before + row: code for row, code in part.codes.items()})
        whole.overflowed += [before + row for row in part.overflowed]
        whole.arrays.update({before + row: array for row, array in part.arrays.items()})
    return whole


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
