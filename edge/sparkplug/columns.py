"""Columns of values into the metrics of DDATA messages, whole frames at a time."""

import array
import sys
from collections.abc import Mapping
from itertools import chain

import msgspec

from edge.sparkplug.payload import (
    INT32,
    INT64,
    QUALITY,
    QUALITY_BAD,
    QUALITY_STALE,
    STATUS_CODE,
    Metric,
    Property,
    encode_metric,
    encode_varint,
)
from models.telemetry import Frame, Value, quality

NS_PER_MS = 1_000_000
_STAMP_BYTES = 6
_STAMP_MIN, _STAMP_MAX = 1 << 35, (1 << 42) - 1  # milliseconds that take six bytes: 1971 to 2109

Piece = tuple[int, bytes]
"""Metrics of one instant (milliseconds), encoded."""


class EncodedRows(msgspec.Struct, frozen=True):
    """Metrics, encoded, in the order of their timestamps, in parts that each fit a message.

    `merged`: values left out because the same metric had a later one within the same millisecond, which is
    the finest that Sparkplug can say.
    """

    parts: list[bytes]
    merged: int = 0


class _Block(msgspec.Struct):
    """Metrics of equal size: row after row, `row_bytes` each."""

    stamps: list[int]
    content: bytearray
    metric_bytes: int
    row_bytes: int


def encode_rows(
    frames: list[Frame],
    aliases: Mapping[str, int],
    booleans: frozenset[str] = frozenset(),
    *,
    is_historical: bool = False,
    bytes_max: int = 128_000,
) -> EncodedRows:
    """Return the values of `frames` as metrics named by alias; tags in `booleans` are true where not 0.

    What is bad has no value and says `is_null`; what is not good carries its quality as properties.
    """
    blocks: list[_Block] = []
    pieces: list[Piece] = []
    merged = 0
    for given in frames:
        frame, stamps, lost = _merge_milliseconds(given)
        merged += lost
        plain, odd = _split_tags(frame, stamps, aliases, booleans)
        blocks += [_encode_block(frame, stamps, tags, aliases, is_historical) for tags in plain]
        for tag in odd:
            pieces += _encode_odd(frame, stamps, tag, aliases[tag], tag in booleans, is_historical)
    if len(blocks) == 1 and not pieces:
        return EncodedRows(_cut(blocks[0], bytes_max), merged)
    for block in blocks:
        pieces += _list_pieces(block, bytes_max)
    pieces.sort(key=lambda piece: piece[0])
    return EncodedRows(_join(pieces, bytes_max), merged)


def describe_quality(code: int, *, is_known: bool = True) -> dict[str, Property]:
    """Return the properties that say an OPC UA status code; none where it is good.

    Sparkplug knows BAD, GOOD and STALE: uncertain is said as STALE, and the code itself beside it.
    """
    if not is_known:
        return {QUALITY: Property(INT32, QUALITY_STALE)}
    if quality.is_good(code):
        return {}
    word = QUALITY_BAD if quality.is_bad(code) else QUALITY_STALE
    return {QUALITY: Property(INT32, word), STATUS_CODE: Property(INT64, code)}


def _merge_milliseconds(frame: Frame) -> tuple[Frame, list[int], int]:
    stamps = [at // NS_PER_MS for at in frame.timestamps]
    last = {stamp: row for row, stamp in enumerate(stamps)}
    if len(last) == len(stamps):
        return frame, stamps, 0
    rows = list(last.values())
    values: dict[str, list[Value]] = {
        tag: [column[row] for row in rows] for tag, column in frame.values.items()
    }
    codes = {
        tag: {at: known[row] for at, row in enumerate(rows) if row in known}
        for tag, known in frame.quality.items()
    }
    kept = Frame([frame.timestamps[row] for row in rows], values, codes)
    return kept, list(last), (len(stamps) - len(rows)) * len(values)


def _split_tags(
    frame: Frame, stamps: list[int], aliases: Mapping[str, int], booleans: frozenset[str]
) -> tuple[list[list[str]], list[str]]:
    """Return the tags that are encoded as a block (each list with aliases of one length), and the others."""
    if not _STAMP_MIN <= stamps[0] <= stamps[-1] <= _STAMP_MAX:
        return [], list(frame.values)
    by_length: dict[int, list[str]] = {}
    odd = []
    for tag, column in frame.values.items():
        if tag in booleans or frame.quality.get(tag) or None in column:
            odd.append(tag)
        else:
            by_length.setdefault(len(encode_varint(aliases[tag])), []).append(tag)
    return list(by_length.values()), odd


def _encode_block(
    frame: Frame, stamps: list[int], tags: list[str], aliases: Mapping[str, int], is_historical: bool
) -> _Block:
    """Copy stamps and values, byte plane by byte plane, into as many copies of a row as there are rows.

    Every metric has the same size, so byte k of all values stands at equal distances: eight strided copies
    put all of them where they belong, however many they are.
    """
    tail = (b"\x28\x01" if is_historical else b"") + b"\x69" + bytes(8)
    metrics = []
    for tag in tags:
        body = b"\x18" + bytes(_STAMP_BYTES) + b"\x10" + encode_varint(aliases[tag]) + tail
        metrics.append(b"\x12" + encode_varint(len(body)) + body)
    size = len(metrics[0])
    content = bytearray(b"".join(metrics) * len(stamps))
    said = b"".join([encode_varint(stamp) * len(tags) for stamp in stamps])
    for plane in range(_STAMP_BYTES):
        content[3 + plane :: size] = said[plane::_STAMP_BYTES]
    columns = [frame.values[tag] for tag in tags]
    packed = array.array("d", list(chain.from_iterable(zip(*columns, strict=True))))
    if sys.byteorder == "big":
        packed.byteswap()
    numbers = packed.tobytes()
    for plane in range(8):
        content[size - 8 + plane :: size] = numbers[plane::8]
    return _Block(stamps, content, size, size * len(tags))


def _encode_odd(
    frame: Frame, stamps: list[int], tag: str, alias: int, is_boolean: bool, is_historical: bool
) -> list[Piece]:
    codes = frame.quality.get(tag, {})
    pieces = []
    for row, (stamp, value) in enumerate(zip(stamps, frame.values[tag], strict=True)):
        code = codes.get(row, quality.GOOD if value is not None else quality.BAD)
        metric = Metric(
            alias=alias,
            timestamp=stamp,
            value=None if value is None else value != 0 if is_boolean else float(value),
            is_historical=is_historical,
            is_null=value is None,
            properties=describe_quality(code),
        )
        pieces.append((stamp, encode_metric(metric)))
    return pieces


def _cut(block: _Block, bytes_max: int) -> list[bytes]:
    """Cut between metrics; they stand in the order of their timestamps already."""
    step = max(1, bytes_max // block.metric_bytes) * block.metric_bytes
    content = bytes(block.content)
    if len(content) <= step:
        return [content]
    return [content[at : at + step] for at in range(0, len(content), step)]


def _list_pieces(block: _Block, bytes_max: int) -> list[Piece]:
    step = max(1, bytes_max // block.metric_bytes) * block.metric_bytes
    content, size = bytes(block.content), block.row_bytes
    return [
        (stamp, content[row * size + at : row * size + min(size, at + step)])
        for row, stamp in enumerate(block.stamps)
        for at in range(0, size, step)
    ]


def _join(pieces: list[Piece], bytes_max: int) -> list[bytes]:
    parts: list[bytes] = []
    together: list[bytes] = []
    size = 0
    for _, piece in pieces:
        if together and size + len(piece) > bytes_max:
            parts.append(b"".join(together))
            together, size = [], 0
        together.append(piece)
        size += len(piece)
    if together:
        parts.append(b"".join(together))
    return parts
