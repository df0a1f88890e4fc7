"""Reads the values of an OPC UA answer straight from its bytes, at a tenth of what objects cost.

The bytes are those of OPC 10000-6, 5.2. What is unusual (text, arrays, structures, diagnostics) is `Unusual`:
then the whole answer is read by the library instead, with the same result.
"""

import struct
from collections.abc import Sequence

from edge.drivers.columns import Observation, convert_value
from models.telemetry import quality

READ_RESPONSE = b"\x01\x00\x7a\x02"
"""The type id with which a ReadResponse begins: i=634, in four bytes."""

_HEADER = struct.Struct("<qII")
_COUNT = struct.Struct("<i")
_CODE = struct.Struct("<I")
_TIME = struct.Struct("<q")
_FLOAT, _DOUBLE = 10, 11
_NUMBERS = {
    kind: struct.Struct(f"<{letter}")
    for kind, letter in {
        1: "?",
        2: "b",
        3: "B",
        4: "h",
        5: "H",
        6: "i",
        7: "I",
        8: "q",
        9: "Q",
        10: "f",
        11: "d",
    }.items()
}
_NO_DIAGNOSTICS = b"\x00"
_NO_STRINGS = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff")
_NO_MORE = b"\x00\x00\x00"
_EPOCH_1970 = 116_444_736_000_000_000
"""1970 in OPC UA's time: steps of 100 ns since 1601."""

_LAST_TIME = 2_650_467_743_990_000_000
"""The year 9999: what is later is the library's to cut off."""


class Unusual(Exception):  # says the condition; it never reaches a person
    """These bytes are for the library to read."""


def decode_read(octets: bytes, names: Sequence[str], received_ns: int) -> list[Observation]:
    """Return an observation of each tag from a ReadResponse; raise `Unusual`.

    Without its own time a value has the server's, without that `received_ns`.
    """
    if octets[:4] != READ_RESPONSE:
        raise Unusual
    try:
        _, _, result = _HEADER.unpack_from(octets, 4)
        at = 4 + _HEADER.size
        is_plain = octets[at : at + 1] == _NO_DIAGNOSTICS and octets[at + 1 : at + 5] in _NO_STRINGS
        if result != 0 or not is_plain or octets[at + 5 : at + 8] != _NO_MORE:
            raise Unusual
        (count,) = _COUNT.unpack_from(octets, at + 8)
        if count != len(names):
            raise Unusual
        return _decode_values(octets, at + 12, names, received_ns)
    except (struct.error, IndexError) as error:
        raise Unusual from error


def _decode_values(octets: bytes, at: int, names: Sequence[str], received_ns: int) -> list[Observation]:
    observations: list[Observation] = []
    unpack_code, unpack_time = _CODE.unpack_from, _TIME.unpack_from
    for name in names:
        mask = octets[at]
        at += 1
        value: bool | int | float | None = None
        kind = code = 0
        if mask & 0x01:
            kind = octets[at]
            number = _NUMBERS.get(kind)
            if number is None and kind:
                raise Unusual
            at += 1
            if number is not None:
                (value,) = number.unpack_from(octets, at)
                at += number.size
        if mask & 0x02:
            (code,) = unpack_code(octets, at)
            at += 4
        own = server = 0
        if mask & 0x04:
            (own,) = unpack_time(octets, at)
            at += 8
        at += 2 * (mask >> 4 & 1)  # picoseconds, beyond what a timestamp here tells
        if mask & 0x08:
            (server,) = unpack_time(octets, at)
            at += 8
        at += 2 * (mask >> 5 & 1)
        if mask & 0xC0 or own > _LAST_TIME or server > _LAST_TIME or at > len(octets):
            raise Unusual
        timestamp_ns = _choose_time(own, server, received_ns)
        if kind == _DOUBLE and code == quality.GOOD and value is not None and value - value == 0:
            observations.append((name, timestamp_ns, value, 0))
            continue
        converted, code = convert_value(value, code, is_float32=kind == _FLOAT)
        observations.append((name, timestamp_ns, converted, code))
    return observations


def _choose_time(own: int, server: int, received_ns: int) -> int:
    """Return the first of the times that is one, exact to the microsecond as the library's are."""
    for time in (own, server):
        micros = (time - _EPOCH_1970) // 10
        if micros > 0:
            return micros * 1_000
    return received_ns
