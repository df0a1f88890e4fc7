"""Writes blocks as InfluxDB line protocol, whole columns at a time, and knows how names are escaped in it."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

import msgspec

from cloud.stores import Block, Measurement
from cloud.stores.readings import check_shapes, join_frames, list_codes
from models.telemetry import Frame, MachinePath, quality

QUALITY = "quality"
"""The measurement of OPC UA codes of numbers that are not good: one whole number per tag."""
MISSING = "missing"
"""The measurement of OPC UA codes of readings that came without a number."""

_encode = msgspec.json.Encoder().encode


def name_codes(kind: str, measurement: Measurement) -> str:
    """Return the measurement that keeps the codes of `measurement`: `quality`, `score_quality`, ..."""
    return kind if measurement == "telemetry" else f"{measurement}_{kind}"


def encode_block(block: Block) -> bytes:
    """Return the block as lines: one line a row, one field a tag, floats only, times in nanoseconds.

    Raises `ValueError` for a block that no store can keep.
    """
    check_shapes(block.frames)
    return "".join([_encode_frame(block, frame) for frame in join_frames(block.frames)]).encode()


def _encode_frame(block: Block, frame: Frame) -> str:
    columns = list(frame.values.values())
    rows = len(frame.timestamps)
    if not rows or not columns:
        return ""
    # One pass in C formats all numbers as their shortest exact text; what is no number becomes `null`.
    flat = _encode(list(chain.from_iterable(columns)))
    texts = flat[1:-1].decode().split(",")
    if b"n" in flat or frame.quality:
        by_tag = [texts[start : start + rows] for start in range(0, len(texts), rows)]
        return _encode_gaps(block, frame, by_tag) + _encode_codes(block, frame, by_tag)
    row = _make_row(block.measurement, block.machine, tuple(frame.values))
    cells = row * rows
    for position in range(len(columns)):
        cells[2 * position + 1 :: len(row)] = texts[position * rows : (position + 1) * rows]
    cells[2 * len(columns) + 1 :: len(row)] = _encode(frame.timestamps)[1:-1].decode().split(",")
    return "".join(cells)


def _encode_gaps(block: Block, frame: Frame, by_tag: Sequence[Sequence[str]]) -> str:
    head = _head(block.measurement, block.machine)
    keys = [escape_key(tag) for tag in frame.values]
    lines = []
    for row, instant in zip(zip(*by_tag, strict=True), frame.timestamps, strict=True):
        fields = [f"{key}={text}" for key, text in zip(keys, row, strict=True) if text != "null"]
        if fields:
            lines.append(f"{head}{','.join(fields)} {instant}\n")
    return "".join(lines)


def _encode_codes(block: Block, frame: Frame, by_tag: Sequence[Sequence[str]]) -> str:
    """Return one line for each row that has codes, apart for numbers and for readings without one."""
    keys = [escape_key(tag) for tag in frame.values]
    codes = {(position, row): code for position, row, code in list_codes(frame)}
    for position, texts in enumerate(by_tag):
        for row, text in enumerate(texts if "null" in texts else ()):
            if text == "null":  # no code so far: an infinity, which line protocol cannot say
                codes.setdefault((position, row), quality.BAD_OUT_OF_RANGE)
    kept: dict[tuple[str, int], list[str]] = {}
    for (position, row), code in codes.items():
        kind = MISSING if by_tag[position][row] == "null" else QUALITY
        kept.setdefault((kind, row), []).append(f"{keys[position]}={code}i")
    return "".join(
        [
            f"{_head(name_codes(kind, block.measurement), block.machine)}{','.join(fields)}"
            f" {frame.timestamps[row]}\n"
            for (kind, row), fields in kept.items()
        ]
    )


@lru_cache(maxsize=4096)
def _make_row(measurement: Measurement, machine: MachinePath, tags: tuple[str, ...]) -> list[str]:
    """Return the pieces of a line, with an empty one at each odd place: the numbers, then the time."""
    row = [piece for tag in tags for piece in (f",{escape_key(tag)}=", "")]
    row[0] = _head(measurement, machine) + row[0].removeprefix(",")
    return [*row, " ", "", "\n"]


@lru_cache(maxsize=4096)
def _head(measurement: str, machine: MachinePath) -> str:
    # The keys of tags in the order that InfluxDB keeps them, which spares it the sorting.
    parts = (
        ("area", machine.area),
        ("line", machine.line),
        ("machine", machine.machine),
        ("site", machine.site),
    )
    tags = ",".join(f"{key}={escape_key(value)}" for key, value in parts)
    return f"{measurement},{tags} "


_SPECIAL = re.compile(r"([,= ])")
_SPELLED = re.compile(r"%(?=5C|25|74)")
_SPELLING = re.compile(r"%(5C|25|74)")


def escape_key(name: str) -> str:
    """Return `name` as a field key of a line: `store_key`, with commas, spaces and equals signs escaped."""
    return _SPECIAL.sub(r"\\\1", store_key(name))


def store_key(name: str) -> str:
    """Return the key under which InfluxDB keeps the tag `name`; nearly always the name itself.

    Line protocol has no way to say a backslash before a special character or at the end, and InfluxDB
    refuses a field called `time`: a backslash is spelled `%5C`, that name `%74ime`, and a `%` that would
    read as such a spelling `%25`.
    """
    spelled = _SPELLED.sub("%25", name).replace("\\", "%5C")
    return "%74ime" if spelled == "time" else spelled


def tag_name(key: str) -> str:
    """Return the tag whose `store_key` is `key`."""
    return _SPELLING.sub(lambda found: chr(int(found[1], 16)), key)
