"""Reads Sparkplug B payloads: commands of a host, and what tests look at. Refuses what is no payload."""

import struct
from collections.abc import Iterator

from edge.sparkplug.payload import INT32, INT64, Metric, MetricValue, Payload, Property
from models.errors import ForewarnError

PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
METRICS_MAX = 100_000
_SIGNED_BITS = {1: 8, 2: 16, INT32: 32, INT64: 64}

Field = tuple[int, int | bytes]
"""A field's number, and its content: a number where the wire has one, else bytes."""


class PayloadRejected(ForewarnError):
    """The bytes are no Sparkplug B payload: count it and go on."""


def decode_payload(payload: bytes) -> Payload:
    """Return what `payload` says; what this side has no use for (templates, data sets...) is passed over.

    Raises `PayloadRejected`.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadRejected(f"payload has {len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    timestamp = seq = None
    metrics: list[Metric] = []
    for number, content in _list_fields(payload):
        if number == 1:
            timestamp = _number(content)
        elif number == 2:
            if len(metrics) == METRICS_MAX:
                raise PayloadRejected(f"more than {METRICS_MAX} metrics")
            metrics.append(_decode_metric(_bytes(content)))
        elif number == 3:
            seq = _number(content)
    return Payload(timestamp, metrics, seq)


def _decode_metric(message: bytes) -> Metric:
    fields = dict(_list_fields(message))  # of a field that stands twice the last counts, as protobuf has it
    datatype = _optional_number(fields, 4)
    return Metric(
        name=_text(fields[1]) if 1 in fields else None,
        alias=_optional_number(fields, 2),
        timestamp=_optional_number(fields, 3),
        datatype=datatype,
        value=_decode_value(fields, 10, datatype),
        is_historical=bool(_optional_number(fields, 5)),
        is_null=bool(_optional_number(fields, 7)),
        properties=_decode_properties(_bytes(fields[9])) if 9 in fields else {},
    )


def _decode_properties(message: bytes) -> dict[str, Property]:
    keys: list[str] = []
    values: list[Property] = []
    for number, content in _list_fields(message):
        if number == 1:
            keys.append(_text(content))
        elif number == 2:
            fields = dict(_list_fields(_bytes(content)))
            datatype = _optional_number(fields, 1)
            values.append(Property(datatype or 0, _decode_value(fields, 3, datatype)))
    if len(keys) != len(values):
        raise PayloadRejected(f"{len(keys)} property keys for {len(values)} values")
    return dict(zip(keys, values, strict=True))


def _decode_value(fields: dict[int, int | bytes], first: int, datatype: int | None) -> MetricValue:
    """Return the member of the `oneof` that stands there: int, long, float, double, bool or text."""
    for field in (first, first + 1):
        if field in fields:
            number, bits = _number(fields[field]), _SIGNED_BITS.get(datatype or 0, 0)
            if not bits:
                return number
            number &= (1 << bits) - 1
            return number - (1 << bits) if number >> (bits - 1) else number
    if first + 2 in fields:
        return float(_unpack("<f", fields[first + 2]))
    if first + 3 in fields:
        return float(_unpack("<d", fields[first + 3]))
    if first + 4 in fields:
        return bool(_number(fields[first + 4]))
    return _text(fields[first + 5]) if first + 5 in fields else None


def _list_fields(message: bytes) -> Iterator[Field]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise PayloadRejected("a field has the number 0")
        if wire_type == 0:
            content, at = _read_varint(message, at)
            yield number, content
            continue
        if wire_type not in (1, 2, 5):
            raise PayloadRejected(f"wire type {wire_type} is none of Sparkplug's")
        if wire_type == 2:
            size, at = _read_varint(message, at)
        else:
            size = 8 if wire_type == 1 else 4
        if at + size > len(message):
            raise PayloadRejected("the payload ends in the middle of a field")
        yield number, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise PayloadRejected("the payload ends in the middle of a number")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
    raise PayloadRejected("a number has more than ten bytes")


def _optional_number(fields: dict[int, int | bytes], field: int) -> int | None:
    return _number(fields[field]) if field in fields else None


def _number(content: int | bytes) -> int:
    if isinstance(content, bytes):
        raise PayloadRejected("bytes stand where a number belongs")
    return content


def _bytes(content: int | bytes) -> bytes:
    if isinstance(content, int):
        raise PayloadRejected("a number stands where bytes belong")
    return content


def _text(content: int | bytes) -> str:
    try:
        return _bytes(content).decode()
    except UnicodeDecodeError as error:
        raise PayloadRejected(f"a text is no UTF-8: {error}") from error


def _unpack(layout: str, content: int | bytes) -> float:
    try:
        return float(struct.unpack(layout, _bytes(content))[0])
    except struct.error as error:
        raise PayloadRejected(f"a number of the wrong size: {error}") from error
