"""The codec of chunks: groups of tags that share timestamps, plain while young and compressed for good."""

import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from cloud.stores import numbers
from cloud.stores.readings import list_codes
from models.telemetry import Frame

COMPRESSION_LEVEL = 3
PAYLOAD_BYTES_MAX = 1 << 30

_PLAIN, _PACKED = 1, 2
_SEAL = struct.Struct("<IB")  # CRC-32 of what follows, layout
_PLAIN_GROUP = struct.Struct("<III")  # rows, tags, codes
_PACKED_GROUP = struct.Struct("<IIII")  # rows, tags, codes, columns with gaps
_NAN = float("nan")
_local = threading.local()


class ChunkDamaged(ValueError):
    """The bytes are not a chunk of ours any more."""


class Group(msgspec.Struct, frozen=True):
    """Readings of some tags at the same instants: every tag was read at every one of them.

    `timestamps` int64 nanoseconds, strictly ascending, shape (n,); `columns` float64, shape (tags, n), NaN
    where a reading has no number; `codes` uint32, shape (m, 3): position in `tags`, row, OPC UA status code
    of every reading that is not good.
    """

    timestamps: NDArray[np.int64]
    tags: tuple[int, ...]
    columns: NDArray[np.float64]
    codes: NDArray[np.uint32]


NO_CODES: NDArray[np.uint32] = np.empty((0, 3), np.uint32)


def encode_frames(frames: Sequence[Frame], tag_numbers: Mapping[str, int]) -> bytes:
    """Return the frames as a plain chunk: the quickest that is exact, at tens of microseconds a block.

    The caller vouches for the shapes. Raises `ValueError` for what is no number.
    """
    return _seal(_PLAIN, b"".join([_encode_frame(frame, tag_numbers) for frame in frames]))


def _encode_frame(frame: Frame, tag_numbers: Mapping[str, int]) -> bytes:
    rows, tags = len(frame.timestamps), len(frame.values)
    flat = list(chain.from_iterable(frame.values.values()))
    codes: list[int] = []
    try:
        total = sum(flat)  # type: ignore[arg-type]  # a None raises TypeError, which is the question asked
        plain = total == total and not frame.quality  # noqa: PLR0124  # only NaN differs from itself
    except TypeError:
        plain = False
    if not plain:
        codes = [number for code in list_codes(frame) for number in code]
        flat = [_NAN if value is None else value for value in flat]
    try:
        return _layout(rows, tags, len(codes)).pack(
            rows,
            tags,
            len(codes) // 3,
            *[tag_numbers[tag] for tag in frame.values],
            *frame.timestamps,
            *flat,
            *codes,
        )
    except (struct.error, OverflowError) as error:
        raise ValueError(f"not numbers that can be stored: {error}") from error


@lru_cache(maxsize=256)
def _layout(rows: int, tags: int, codes: int) -> struct.Struct:
    return struct.Struct(f"<III{tags}I{rows}q{rows * tags}d{codes}I")


def group_frames(frames: Sequence[Frame], tag_numbers: Mapping[str, int]) -> list[Group]:
    """Return the frames as groups of arrays. The caller vouches for the shapes."""
    groups = []
    for frame in frames:
        columns = np.array(list(frame.values.values()), np.float64)
        timestamps = np.array(frame.timestamps, np.int64)
        codes = NO_CODES
        if frame.quality or np.isnan(columns).any():
            codes = np.array(list_codes(frame), np.uint32).reshape(-1, 3)
        groups.append(Group(timestamps, tuple(tag_numbers[tag] for tag in frame.values), columns, codes))
    return groups


def encode_groups(groups: Sequence[Group]) -> bytes:
    """Return the groups as a compressed chunk."""
    payload = b"".join([_pack_group(group) for group in groups])
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    return _seal(_PACKED, compressor.compress(payload))


def _pack_group(group: Group) -> bytes:
    gaps, matrix = [], group.columns
    missing = np.isnan(matrix)
    if missing.any():
        matrix = matrix.copy()
        for position in np.flatnonzero(missing.any(axis=1)).tolist():
            gaps.append(struct.pack("<I", position) + np.packbits(missing[position]).tobytes())
            matrix[position] = _bridge(matrix[position], missing[position])
    bodies = numbers.pack_columns(matrix)
    return b"".join(
        [
            _PACKED_GROUP.pack(len(group.timestamps), len(group.tags), len(group.codes), len(gaps)),
            np.array(group.tags, "<u4").tobytes(),
            group.codes.astype("<u4").tobytes(),
            numbers.pack_times(group.timestamps),
            *gaps,
            # The lengths let a reader of one tag among thousands go straight to its column.
            struct.pack(f"<{len(bodies)}I", *[len(body) for body in bodies]),
            *bodies,
        ]
    )


def _bridge(column: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the column with each gap carrying the number before it: the cheapest to pack."""
    last_seen = np.maximum.accumulate(np.where(missing, 0, np.arange(column.size)))
    bridged = column[last_seen]
    return np.where(np.isnan(bridged), 0.0, bridged)


def decode_chunk(blob: bytes, tags: frozenset[int] | None = None) -> list[Group]:
    """Return the groups of a chunk, with `tags` only (None: all); raise `ChunkDamaged`."""
    if len(blob) < _SEAL.size:
        raise ChunkDamaged("it is empty")
    checksum, layout = _SEAL.unpack_from(blob)
    if zlib.crc32(blob[4:]) != checksum:
        raise ChunkDamaged("its checksum does not match")
    try:
        if layout == _PLAIN:
            return list(_read_plain(blob, _SEAL.size, tags))
        return list(_read_packed(_decompress(blob[_SEAL.size :]), tags))
    except (numbers.UnreadableNumbers, zstandard.ZstdError, struct.error, ValueError) as error:
        raise ChunkDamaged(str(error)) from error


def _decompress(payload: bytes) -> bytes:
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    whole: bytes = decompressor.decompress(payload, max_output_size=PAYLOAD_BYTES_MAX)
    return whole


def _read_plain(blob: bytes, at: int, wanted: frozenset[int] | None) -> Iterator[Group]:
    while at < len(blob):
        rows, width, code_count = _PLAIN_GROUP.unpack_from(blob, at)
        at += _PLAIN_GROUP.size
        tags = struct.unpack_from(f"<{width}I", blob, at)
        at += 4 * width
        timestamps = np.frombuffer(blob, "<i8", rows, at)
        at += 8 * rows
        matrix = np.frombuffer(blob, "<f8", rows * width, at).reshape(width, rows)
        at += 8 * rows * width
        codes = NO_CODES
        if code_count:
            codes = np.frombuffer(blob, "<u4", 3 * code_count, at).reshape(-1, 3)
            at += 12 * code_count
        group = Group(timestamps, tags, matrix, codes)
        yield from [group] if wanted is None else _choose(group, wanted)


def _choose(group: Group, wanted: frozenset[int]) -> Iterator[Group]:
    keep = [position for position, tag in enumerate(group.tags) if tag in wanted]
    if keep:
        yield Group(
            group.timestamps,
            tuple(group.tags[position] for position in keep),
            group.columns[keep],
            choose_codes(group.codes, keep),
        )


def choose_codes(codes: NDArray[np.uint32], keep: Sequence[int]) -> NDArray[np.uint32]:
    """Return the codes of the tags at the positions `keep`, numbered by their place in it."""
    if not len(codes):
        return codes
    place = {position: index for index, position in enumerate(keep)}
    kept = codes[np.isin(codes[:, 0], list(keep))].copy()
    kept[:, 0] = [place[int(position)] for position in kept[:, 0]]
    return kept


def cut_group(group: Group, start_ns: int, end_ns: int) -> Group | None:
    """Return the rows of the group inside the span, None without any."""
    first, last = np.searchsorted(group.timestamps, (start_ns, end_ns))
    if first == last:
        return None
    if first == 0 and last == len(group.timestamps):
        return group
    codes = group.codes[(group.codes[:, 1] >= first) & (group.codes[:, 1] < last)]
    return Group(
        group.timestamps[first:last],
        group.tags,
        group.columns[:, first:last],
        codes - np.array([0, first, 0], np.uint32),
    )


def _read_packed(payload: bytes, wanted: frozenset[int] | None) -> Iterator[Group]:
    at = 0
    while at < len(payload):
        rows, width, code_count, gap_count = _PACKED_GROUP.unpack_from(payload, at)
        at += _PACKED_GROUP.size
        tags = struct.unpack_from(f"<{width}I", payload, at)
        at += 4 * width
        codes = np.frombuffer(payload, "<u4", 3 * code_count, at).reshape(-1, 3)
        at += 12 * code_count
        timestamps, at = numbers.unpack_times(payload, at, rows)
        gaps = {}
        for _ in range(gap_count):
            (position,) = struct.unpack_from("<I", payload, at)
            bits = np.frombuffer(payload, np.uint8, (rows + 7) // 8, at + 4)
            gaps[position] = np.unpackbits(bits, count=rows).astype(bool)
            at += 4 + bits.size
        lengths = struct.unpack_from(f"<{width}I", payload, at)
        at += 4 * width
        starts = list(accumulate(lengths, initial=at))
        at = starts[-1]
        keep = [position for position, tag in enumerate(tags) if wanted is None or tag in wanted]
        columns = np.empty((len(keep), rows))
        for column, position in zip(columns, keep, strict=True):
            column[:] = numbers.unpack_column(payload, starts[position], rows)
            if position in gaps:
                column[gaps[position]] = _NAN
        if keep:
            chosen = tuple(tags[position] for position in keep)
            yield Group(timestamps, chosen, columns, choose_codes(codes, keep))


def _seal(layout: int, body: bytes) -> bytes:
    sealed = bytes([layout]) + body
    return zlib.crc32(sealed).to_bytes(4, "little") + sealed
