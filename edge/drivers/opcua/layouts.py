"""How DataValues stand in an answer's bytes, and many alike in a row read as columns at once. Pure."""

import struct
from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

from edge.drivers.columns import Rows, convert_value
from edge.drivers.modbus.register_types import shorten_float32
from models.telemetry import Value

VALUE, STATUS, SOURCE, SERVER, SOURCE_PICO, SERVER_PICO = (1 << bit for bit in range(6))
"""The bits of a DataValue's first byte: what it has, in the order of OPC 10000-6, 5.2.2.17."""

FLOAT = 10
KINDS = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", FLOAT: "f", 11: "d"}
"""How `struct` reads the numbers among the built-in types."""

HANDLE_BYTES = 4
EPOCH_1970 = 116_444_736_000_000_000
"""1970 in OPC UA's time: steps of 100 ns since 1601."""

_SKIPPED = "xx"  # picoseconds are beyond what a timestamp here tells
_ORDER = ((STATUS, "I"), (SOURCE, "q"), (SOURCE_PICO, _SKIPPED), (SERVER, "q"), (SERVER_PICO, _SKIPPED))
_NONE = -1


class Layout(NamedTuple):
    """How a handle, a mask, a number and what follows it stand in `size` bytes.

    The places of status, source and server timestamp count the fields that `unpack` returns, those named
    `_byte` the bytes from the handle on; -1: there is none.
    """

    unpack: Callable[[bytes, int], tuple[Any, ...]]
    size: int
    is_float32: bool
    status_at: int
    source_at: int
    server_at: int
    letter: str
    status_byte: int
    source_byte: int


def _make_layout(mask: int, kind: int) -> Layout:
    letters, at = f"<Ixx{KINDS[kind]}", 2
    found: dict[int, tuple[int, int]] = {}
    for bit, letter in _ORDER:
        if mask & bit:
            found[bit] = at, struct.calcsize(letters)
            at += letter != _SKIPPED
            letters += letter
    layout = struct.Struct(letters)
    (status_at, status_byte), (source_at, source_byte), (server_at, _) = (
        found.get(bit, (_NONE, _NONE)) for bit in (STATUS, SOURCE, SERVER)
    )
    return Layout(
        layout.unpack_from,
        layout.size,
        kind == FLOAT,
        status_at,
        source_at,
        server_at,
        KINDS[kind],
        status_byte,
        source_byte,
    )


LAYOUTS = {
    bytes((mask, kind)): _make_layout(mask, kind) for mask in range(64) if mask & VALUE for kind in KINDS
}
"""By the first two bytes of a DataValue, where it holds a number."""


def count_alike(octets: bytes, at: int, layout: Layout, stride: int, count_max: int) -> int:
    """Return how many whole, good values of this layout, `stride` bytes apart, stand from `at` on.

    `at` is where the first one's handle is, or would be. The values are alike because the same two bytes
    begin each of them, exactly where the one before it ends.
    """
    count = min(count_max, (len(octets) - at - layout.size) // stride + 1)
    first = at + HANDLE_BYTES
    wanted = [
        (HANDLE_BYTES, octets[first : first + 1]),
        (HANDLE_BYTES + 1, octets[first + 1 : first + 2]),
    ]
    if layout.status_byte > 0:
        wanted += [(layout.status_byte + byte, b"\0") for byte in range(4)]
    for byte, octet in wanted:
        if count <= 0:
            return 0
        found = octets[at + byte : at + byte + stride * (count - 1) + 1 : stride]
        count -= len(found.lstrip(octet))
    return count


def add_alike(
    rows: Rows, octets: bytes, at: int, layout: Layout, stride: int, count: int, latest: int
) -> bool:
    """Add `count` values that `count_alike` has found; return False, and add none, where a time is in doubt.

    `latest`: a source timestamp beyond it, in OPC UA's time, is no plausible one. Where values overlap, there
    are no handles, and no places are added.
    """
    if layout.source_byte < 0:
        return False
    sources = _read_times(octets, at + layout.source_byte, stride, count)
    if not EPOCH_1970 < min(sources) <= max(sources) <= latest:
        return False
    times = [(source - EPOCH_1970) // 10 * 1_000 for source in sources]
    rows.timestamps += times if len(times) == count else times * count
    if stride == layout.size:
        rows.places += _read_column(octets, at, stride, count, "I")
    numbers = _read_column(octets, at + HANDLE_BYTES + 2, stride, count, layout.letter)
    floats = list(numbers) if layout.letter in "fd" else list(map(float, numbers))
    rows.values += _convert_numbers(rows, floats, is_float32=layout.is_float32)
    return True


def _read_times(octets: bytes, at: int, stride: int, count: int) -> tuple[int, ...]:
    """Return the `count` times that stand `stride` bytes apart, or one where all are the same."""
    end = at + stride * (count - 1) + 1
    for byte in range(8):
        first = octets[at + byte : at + byte + 1]
        if octets[at + byte : end + byte : stride] != first * count:
            return _read_column(octets, at, stride, count, "q")
    return _read_column(octets, at, stride, 1, "q")


def _read_column(octets: bytes, at: int, stride: int, count: int, letter: str) -> tuple[Any, ...]:
    """Return the `count` numbers that stand `stride` bytes apart: byte by byte they are brought together."""
    width, end = struct.calcsize(f"<{letter}"), at + stride * (count - 1) + 1
    together = bytearray(width * count)
    for byte in range(width):
        together[byte::width] = octets[at + byte : end + byte : stride]
    return struct.unpack(f"<{count}{letter}", together)


def _convert_numbers(rows: Rows, numbers: list[float], *, is_float32: bool) -> list[Value]:
    """Return the values of numbers that come next in the rows; what is none of them is marked there."""
    if isfinite(sum(numbers)):
        return list(shorten_float32(numbers) if is_float32 else numbers)
    values: list[Value] = []
    for row, number in enumerate(numbers, len(rows.values)):
        value, code = convert_value(number, 0, is_float32=is_float32)
        values.append(value)
        if code:
            rows.codes[row] = code
    return values
