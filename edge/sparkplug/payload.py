"""Sparkplug B payloads, encoded by hand: the protobuf schema of Sparkplug 3.0, section 6.4.1."""

import struct

import msgspec

INT32 = 3
INT64 = 4
DOUBLE = 10
BOOLEAN = 11
STRING = 12
_INTEGERS_OF_32_BITS = frozenset({1, 2, INT32, 5, 6, 7})

QUALITY = "Quality"
QUALITY_BAD = 0
QUALITY_STALE = 500
ENGINEERING_UNIT = "engUnit"
STATUS_CODE = "statusCode"

MetricValue = float | int | bool | str | None


class Property(msgspec.Struct, frozen=True):
    """A property of a metric: its data type (`INT32`, `STRING`...) and its value."""

    datatype: int
    value: MetricValue


class Metric(msgspec.Struct, frozen=True):
    """One metric. `timestamp`: milliseconds since 1970 UTC; what is None is not on the wire."""

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    value: MetricValue = None
    is_historical: bool = False
    is_null: bool = False
    properties: dict[str, Property] = {}


class Payload(msgspec.Struct, frozen=True):
    """What one message carries. `timestamp`: when it was sent, in milliseconds; only NDEATH has no `seq`."""

    timestamp: int | None = None
    metrics: list[Metric] = []
    seq: int | None = None


def encode_varint(number: int) -> bytes:
    """Return `number` (0 to 2^64 - 1) in groups of seven bits, the lowest first."""
    if number < 0x80:
        return number.to_bytes(1, "little")
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_payload(payload: Payload) -> bytes:
    """Return the bytes of `payload`."""
    return wrap_metrics(
        b"".join(encode_metric(metric) for metric in payload.metrics), payload.timestamp, payload.seq
    )


def wrap_metrics(metrics: bytes, timestamp: int | None, seq: int | None) -> bytes:
    """Return the payload around encoded metrics."""
    head = b"" if timestamp is None else b"\x08" + encode_varint(timestamp)
    return head + metrics + (b"" if seq is None else b"\x18" + encode_varint(seq))


def encode_metric(metric: Metric) -> bytes:
    """Return the bytes of one metric as it stands in a payload."""
    parts = []
    if metric.name is not None:
        parts.append(_encode_text(b"\x0a", metric.name))
    if metric.alias is not None:
        parts.append(b"\x10" + encode_varint(metric.alias))
    if metric.timestamp is not None:
        parts.append(b"\x18" + encode_varint(metric.timestamp))
    if metric.datatype is not None:
        parts.append(b"\x20" + encode_varint(metric.datatype))
    if metric.is_historical:
        parts.append(b"\x28\x01")
    if metric.is_null:
        parts.append(b"\x38\x01")
    if metric.properties:
        parts.append(_encode_bytes(b"\x4a", encode_properties(metric.properties)))
    if metric.value is not None:
        parts.append(_encode_value(metric.value, metric.datatype, 10))
    return _encode_bytes(b"\x12", b"".join(parts))


def encode_properties(properties: dict[str, Property]) -> bytes:
    """Return the bytes of a PropertySet: all keys, and as many values in the same order."""
    keys = [_encode_text(b"\x0a", key) for key in properties]
    values = [
        _encode_bytes(
            b"\x12",
            b"\x08" + encode_varint(one.datatype) + _encode_value(one.value, one.datatype, 3)
            if one.value is not None
            else b"\x08" + encode_varint(one.datatype) + b"\x10\x01",
        )
        for one in properties.values()
    ]
    return b"".join(keys + values)


def _encode_value(value: MetricValue, datatype: int | None, first_field: int) -> bytes:
    """Return the member of the `oneof` whose fields (int, long, float, double, bool, text) begin there."""
    if isinstance(value, bool):
        return _key(first_field + 4, 0) + (b"\x01" if value else b"\x00")
    if isinstance(value, float):
        return _key(first_field + 3, 1) + struct.pack("<d", value)
    if isinstance(value, str):
        return _encode_text(_key(first_field + 5, 2), value)
    assert isinstance(value, int)
    if datatype in _INTEGERS_OF_32_BITS:
        return _key(first_field, 0) + encode_varint(value & 0xFFFFFFFF)
    return _key(first_field + 1, 0) + encode_varint(value & 0xFFFFFFFFFFFFFFFF)


def _key(field: int, wire_type: int) -> bytes:
    return encode_varint(field << 3 | wire_type)


def _encode_text(key: bytes, text: str) -> bytes:
    return _encode_bytes(key, text.encode())


def _encode_bytes(key: bytes, content: bytes) -> bytes:
    return key + encode_varint(len(content)) + content
