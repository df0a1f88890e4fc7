"""Reads the values of an OPC UA answer straight from its bytes into columns, at a tenth of what objects cost.

The bytes are those of OPC 10000-6, 5.2. A variant that is no single number is left to the library, which is
given as `read_variant`; an answer that is unusual beside its values (diagnostics, refusals) is `Unusual`, and
left to the library whole.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from edge.drivers.columns import FUTURE_NS_MAX, Rows, choose_time, convert_value, has_overflowed
from edge.drivers.modbus.register_types import shorten_float32
from edge.drivers.opcua.layouts import (
    EPOCH_1970,
    FLOAT,
    HANDLE_BYTES,
    KINDS,
    LAYOUTS,
    SERVER,
    SERVER_PICO,
    SOURCE,
    SOURCE_PICO,
    STATUS,
    VALUE,
    add_alike,
    count_alike,
)
from models.telemetry import quality

READ_RESPONSE = b"\x01\x00\x7a\x02"
"""The type id with which a ReadResponse begins: i=634, in four bytes."""

ReadVariant = Callable[[bytes, int], tuple[Any, int]]
"""Returns the value of the variant that begins there, and where it ends; raises `Unusual`."""

_HEADER = struct.Struct("<qII")
_COUNT = struct.Struct("<i")
_CODE = struct.Struct("<I")
_TIME = struct.Struct("<q")
_NUMBERS = {kind: struct.Struct(f"<{letter}") for kind, letter in KINDS.items()}
_NO_DIAGNOSTICS = b"\x00"
_NO_STRINGS = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff")
_NO_MORE = b"\x00\x00\x00"

ALIKE_MIN = 32
"""So many values alike in a row are read faster as columns than one by one."""

_LOOK = 4
"""How many times what was alike last is looked at for the next alike: a look must not cost what it saves."""

_FIELDS = {key: layout[:6] for key, layout in LAYOUTS.items()}


class Unusual(Exception):  # says the condition; it never reaches a person
    """These bytes are for the library to read."""


def skip_header(octets: bytes, expected: bytes) -> int:
    """Return where the body of a good response of the `expected` type begins; raise `Unusual`."""
    if octets[:4] != expected:
        raise Unusual
    _, _, result = _HEADER.unpack_from(octets, 4)
    at = 4 + _HEADER.size
    is_plain = octets[at : at + 1] == _NO_DIAGNOSTICS and octets[at + 1 : at + 5] in _NO_STRINGS
    if result != 0 or not is_plain or octets[at + 5 : at + 8] != _NO_MORE:
        raise Unusual
    return at + 8


def decode_read(octets: bytes, places: Sequence[int], received_ns: int, read_variant: ReadVariant) -> Rows:
    """Return a row for each place from a ReadResponse; raise `Unusual`."""
    try:
        at = skip_header(octets, READ_RESPONSE)
        (count,) = _COUNT.unpack_from(octets, at)
        if count != len(places):
            raise Unusual
        rows = Rows()
        decode_values(octets, at + 4, count, received_ns, read_variant, rows, has_handles=False)
    except (struct.error, IndexError) as error:
        raise Unusual from error
    rows.places = list(places)
    return rows


def list_kinds(octets: bytes, count: int, read_variant: ReadVariant) -> list[int]:
    """Return the built-in type of each value in a ReadResponse that was decoded; 0 where there is none."""
    kinds, at, unused = [], skip_header(octets, READ_RESPONSE) + 4, Rows()
    for _ in range(count):
        layout = LAYOUTS.get(octets[at : at + 2])
        kinds.append(octets[at + 1] if octets[at] & VALUE else 0)
        if layout is None:
            at = _add_unusual(octets, at - HANDLE_BYTES, 0, read_variant, unused)
        else:
            at += layout.size - HANDLE_BYTES
    return kinds


def decode_values(
    octets: bytes,
    at: int,
    count: int,
    received_ns: int,
    read_variant: ReadVariant,
    rows: Rows,
    *,
    has_handles: bool,
) -> int:
    """Add `count` DataValues that begin at `at` to the rows, each behind its handle where they have some.

    Return where they end. What they have no timestamps for has `received_ns`. Raise `Unusual`, `struct.error`
    or `IndexError` where the bytes end before or are no DataValues.
    """
    # Without handles, the four bytes before each value stand for one: both kinds then have one layout.
    overlap = 0 if has_handles else HANDLE_BYTES
    at -= overlap
    latest = (received_ns + FUTURE_NS_MAX) // 100 + EPOCH_1970
    singly, look = 1, count
    while count > 0:
        layout, alike = LAYOUTS.get(octets[at + 4 : at + 6]), 0
        if layout is not None:
            stride = layout.size - overlap
            alike = count_alike(octets, at, layout, stride, min(count, look))
            if alike >= ALIKE_MIN and add_alike(rows, octets, at, layout, stride, alike, latest):
                at, count, singly, look = at + alike * stride, count - alike, 1, _LOOK * alike
                continue
        # Twice as many each time, so that looking for more that are alike costs little where there are none.
        few, singly = min(count, max(alike, singly)), 2 * singly
        at = _add_singly(octets, at, few, received_ns, read_variant, rows, overlap)
        count -= few
    return at + overlap


def _add_singly(
    octets: bytes, at: int, count: int, received_ns: int, read_variant: ReadVariant, rows: Rows, overlap: int
) -> int:
    """Add `count` DataValues one by one, `overlap` bytes of each before it; return where the next begins."""
    places, times, values = rows.places, rows.timestamps, rows.values
    float32s: list[int] = []
    layouts, latest = _FIELDS, (received_ns + FUTURE_NS_MAX) // 100 + EPOCH_1970
    source, timestamp_ns = 0, 0
    for row in range(len(values), len(values) + count):
        layout = layouts.get(octets[at + 4 : at + 6])
        if layout is None:
            at = _add_unusual(octets, at, received_ns, read_variant, rows) - overlap
            continue
        unpack, size, is_float32, status_at, source_at, server_at = layout
        fields = unpack(octets, at)
        at += size - overlap
        own = fields[source_at] if source_at > 0 else 0
        if own != source or not own:
            server = fields[server_at] if server_at > 0 else 0
            timestamp_ns = choose_time(_convert(own), _convert(server), received_ns)
            source = own if EPOCH_1970 < own <= latest else 0
        code = fields[status_at] if status_at > 0 else 0
        value = float(fields[1])
        places.append(fields[0])
        times.append(timestamp_ns)
        if code or value - value != 0:
            _mark(rows, row, value, code, is_float32=is_float32)
            continue
        if is_float32:
            float32s.append(row)
        values.append(value)
    if float32s:
        exact = [number for row in float32s if (number := values[row]) is not None]
        for row, short in zip(float32s, shorten_float32(exact), strict=True):
            values[row] = short
    return at


def _mark(rows: Rows, row: int, value: Any, code: int, *, is_float32: bool = False) -> None:
    if has_overflowed(code):
        rows.overflowed.append(row)
    rows.keep_array(row, value, code)
    converted, code = convert_value(value, code, is_float32=is_float32)
    rows.values.append(converted)
    if code != quality.GOOD:
        rows.codes[row] = code


def _add_unusual(octets: bytes, at: int, received_ns: int, read_variant: ReadVariant, rows: Rows) -> int:
    """Add one DataValue that is no plain number; return where it ends."""
    handle, mask = struct.unpack_from("<IB", octets, at)
    if mask & 0xC0:
        raise Unusual
    at += 5
    value, is_float32 = None, False
    if mask & VALUE:
        kind = octets[at]
        number = _NUMBERS.get(kind)
        if number is not None:
            (value,) = number.unpack_from(octets, at + 1)
            at, is_float32 = at + 1 + number.size, kind == FLOAT
        elif kind:
            value, at = read_variant(octets, at)
        else:
            at += 1
    code = own = server = 0
    if mask & STATUS:
        (code,) = _CODE.unpack_from(octets, at)
        at += 4
    if mask & SOURCE:
        (own,) = _TIME.unpack_from(octets, at)
        at += 8
    at += 2 * bool(mask & SOURCE_PICO)
    if mask & SERVER:
        (server,) = _TIME.unpack_from(octets, at)
        at += 8
    at += 2 * bool(mask & SERVER_PICO)
    if at > len(octets):
        raise Unusual
    row = len(rows.values)
    rows.places.append(handle)
    rows.timestamps.append(choose_time(_convert(own), _convert(server), received_ns))
    _mark(rows, row, value, code, is_float32=is_float32)
    return at


def _convert(time: int) -> int:
    """Return ns since 1970 UTC, exact to the microsecond as the library's are; 0 for none, or before."""
    return (time - EPOCH_1970) // 10 * 1_000 if time > EPOCH_1970 else 0
