"""Columns of values into the metrics of DDATA messages, whole frames at a time."""

import array
import sys
from itertools import chain

import msgspec

from edge.sparkplug.keys import STAMP_BYTES, STAMP_MAX, STAMP_MIN, MetricKey, MetricRow, TagKeys
from edge.sparkplug.payload import (
    BOOLEAN,
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
from models.telemetry import Column, Frame, Value, quality

NS_PER_MS = 1_000_000
MOVED_MS_MAX = 2
"""How much later than it was a value may be said to be, to have a millisecond of its own."""

Piece = tuple[int, bytes]
"""Metrics of one instant (milliseconds), encoded."""


class EncodedRows(msgspec.Struct, frozen=True):
    """Metrics, encoded, in the order of their timestamps, in parts that each fit a message.

    Sparkplug says whole milliseconds, and one value per metric in each. `merged`: values left out because
    there were more.
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
    keys: TagKeys,
    *,
    is_historical: bool = False,
    bytes_max: int = 128_000,
) -> EncodedRows:
    """Return the values of `frames` as metrics; `keys` names each tag, whose type is double or boolean.

    What is bad has no value and says `is_null`; what is not good carries its quality as properties.
    """
    blocks: list[_Block] = []
    pieces: list[Piece] = []
    merged = 0
    for given in frames:
        frame, stamps, lost = _say_milliseconds(given)
        merged += lost
        made, others = _encode_blocks(frame, stamps, keys, is_historical)
        blocks += made
        for tag in others:
            pieces += _encode_singly(frame, stamps, tag, keys[tag], is_historical)
    if len(blocks) == 1 and not pieces:
        return EncodedRows(_cut(blocks[0], bytes_max), merged)
    pieces = [piece for block in blocks for piece in _list_pieces(block, bytes_max)] + pieces
    pieces.sort(key=lambda piece: piece[0])
    return EncodedRows(_join(pieces, bytes_max), merged)


def make_value(value: Value, datatype: int) -> float | bool | None:
    """Return a tag's value as its data type has it: a boolean is true where the number is not 0."""
    if value is None:
        return None
    return value != 0 if datatype == BOOLEAN else float(value)


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


def _say_milliseconds(frame: Frame) -> tuple[Frame, list[int], int]:
    """Return the frame with a stamp of its own for each row, and how many values that cost.

    Rows of one millisecond follow each other by one, as long as none is moved by more than MOVED_MS_MAX; of
    more rows than that, the last are kept.
    """
    stamps = [at // NS_PER_MS for at in frame.timestamps]
    if len(set(stamps)) == len(stamps):
        return frame, stamps, 0
    rows: list[int] = []
    said: list[int] = []
    for row, stamp in enumerate(stamps):
        if said and stamp <= said[-1]:
            if said[-1] + 1 - stamp <= MOVED_MS_MAX:
                said.append(said[-1] + 1)
                rows.append(row)
            else:
                rows[-1] = row
        else:
            said.append(stamp)
            rows.append(row)
    if len(rows) == len(stamps):
        return frame, said, 0
    values: dict[str, Column] = {tag: [column[row] for row in rows] for tag, column in frame.values.items()}
    codes = {
        tag: {at: known[row] for at, row in enumerate(rows) if row in known}
        for tag, known in frame.quality.items()
    }
    kept = Frame([frame.timestamps[row] for row in rows], values, codes)
    return kept, said, (len(stamps) - len(rows)) * len(values)


def _encode_blocks(
    frame: Frame, stamps: list[int], keys: TagKeys, is_historical: bool
) -> tuple[list[_Block], list[str]]:
    """Return what can be encoded as blocks, and the tags for which that cannot be."""
    if not STAMP_MIN <= stamps[0] <= stamps[-1] <= STAMP_MAX:
        return [], list(frame.values)
    flawed = {tag for tag, codes in frame.quality.items() if codes}
    while True:
        tags = tuple(tag for tag in frame.values if tag not in flawed) if flawed else tuple(frame.values)
        plan = keys.plan(tags, is_historical=is_historical)
        try:
            blocks = [_fill_row(row, frame, stamps) for row in plan.rows]
        except TypeError:  # a None; looking for them beforehand would cost every frame what this costs few
            flawed |= {tag for tag in tags if None in frame.values[tag]}
        else:
            return blocks, [*plan.others, *flawed]


def _fill_row(row: MetricRow, frame: Frame, stamps: list[int]) -> _Block:
    """Copy stamps and values, byte plane by byte plane, into as many copies of the row as there are instants.

    Every metric has the same size, so byte k of all values stands at equal distances: eight strided copies
    put all of them where they belong, however many they are. Raises `TypeError` where a value is None.
    """
    columns = [frame.values[tag] for tag in row.tags]
    packed = array.array("d", list(chain.from_iterable(zip(*columns, strict=True))))
    if sys.byteorder == "big":
        packed.byteswap()
    numbers = packed.tobytes()
    content, size = bytearray(row.content * len(stamps)), row.metric_bytes
    said = b"".join([encode_varint(stamp) * len(columns) for stamp in stamps])
    for plane in range(STAMP_BYTES):
        content[row.stamp_at + plane :: size] = said[plane::STAMP_BYTES]
    for plane in range(8):
        content[size - 8 + plane :: size] = numbers[plane::8]
    return _Block(stamps, content, size, size * len(columns))


def _encode_singly(
    frame: Frame, stamps: list[int], tag: str, key: MetricKey, is_historical: bool
) -> list[Piece]:
    codes = frame.quality.get(tag, {})
    pieces = []
    for row, (stamp, value) in enumerate(zip(stamps, frame.values[tag], strict=True)):
        code = codes.get(row, quality.GOOD if value is not None else quality.BAD)
        metric = Metric(
            name=key.name,
            alias=key.alias,
            timestamp=stamp,
            datatype=key.said_datatype,
            value=make_value(value, key.datatype),
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
