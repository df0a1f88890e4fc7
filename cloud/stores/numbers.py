"""Packs a column of numbers into few bytes, exactly: decimals as small integers, the rest shuffled."""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

EXPONENT_MAX = 12
"""How many decimals are looked for. Ten to this power, and every integer below, is exact as a double."""
EXACT_INTEGER_MAX = 2.0**53
SAMPLE_ROWS = 32
UNITS_NS: Final = (1_000_000_000, 1_000_000, 1_000)

_NOT_DECIMAL = -1
_FROM_NEIGHBOUR, _FROM_LOWEST = 0, 1
_COLUMN = struct.Struct("<bBBq")  # exponent, reference, width, base
_TIMES = struct.Struct("<qqqB")  # first, unit, first delta, width


class UnreadableNumbers(ValueError):
    """The bytes are not what `pack_*` made; the message says where they stop making sense."""


def pack_times(times: Integers) -> bytes:
    """Return ascending timestamps as changes of their distance, in the coarsest unit that is exact."""
    distances = np.diff(times)
    unit = next((unit for unit in UNITS_NS if not (distances % unit).any()), 1)
    distances //= unit
    first = int(distances[0]) if distances.size else 0
    width, body = _pack_integers(np.diff(distances))
    return _TIMES.pack(int(times[0]), unit, first, width) + body


def unpack_times(buffer: bytes, at: int, rows: int) -> tuple[Integers, int]:
    """Return the timestamps at `at` and where they end."""
    first, unit, distance, width = _read(_TIMES, buffer, at)
    changes, at = _unpack_integers(buffer, at + _TIMES.size, max(rows - 2, 0), width)
    times = np.empty(rows, np.int64)
    times[0] = first
    if rows > 1:
        times[1] = distance
        times[2:] = changes
        np.cumsum(times[1:], out=times[1:])
        np.cumsum(times[1:], out=times[1:])
        times[1:] = times[1:] * unit + first
    return times, at


def pack_column(column: Floats) -> bytes:
    """Return a column without NaN: decimals as integers (differences, narrow), else the doubles' own bits.

    Decimals as integers: Afroozeh et al., ALP: Adaptive Lossless floating-Point Compression, 2023.
    """
    found = find_decimals(column)
    if found is None:
        bits = column.view(np.uint64)
        changes = bits.copy()
        changes[1:] ^= bits[:-1]
        return _COLUMN.pack(_NOT_DECIMAL, 0, 8, 0) + _shuffle(changes)
    exponent, whole = found
    lowest = int(whole.min())
    steps = np.diff(whole)
    above = whole - lowest
    if np.abs(steps).sum(dtype=np.float64) < above.sum(dtype=np.float64):
        width, body = _pack_integers(steps)
        return _COLUMN.pack(exponent, _FROM_NEIGHBOUR, width, int(whole[0])) + body
    width, body = _pack_integers(above)
    return _COLUMN.pack(exponent, _FROM_LOWEST, width, lowest) + body


def unpack_column(buffer: bytes, at: int, rows: int) -> Floats:
    """Return the column at `at`."""
    exponent, reference, width, base = _read(_COLUMN, buffer, at)
    at += _COLUMN.size
    if exponent == _NOT_DECIMAL:
        bits = _unshuffle(buffer, at, rows, 8)
        np.bitwise_xor.accumulate(bits, out=bits)
        return bits.view(np.float64)
    if reference == _FROM_LOWEST:
        whole, _ = _unpack_integers(buffer, at, rows, width)
        whole += base
    else:
        whole = np.empty(rows, np.int64)
        whole[0] = base
        whole[1:], _ = _unpack_integers(buffer, at, rows - 1, width)
        np.cumsum(whole, out=whole)
    return whole / 10.0**exponent


def find_decimals(column: Floats) -> tuple[int, Integers] | None:
    """Return the fewest decimals that spell every number exactly, and the numbers without their point.

    None when there are no such decimals (or an infinity, or a minus zero, which integers do not know).
    """
    largest = float(np.abs(column).max())
    sample = column[:: max(1, column.size // SAMPLE_ROWS)]
    for exponent in range(EXPONENT_MAX + 1):
        power = 10.0**exponent
        if not largest * power < EXACT_INTEGER_MAX:
            return None
        if not _spells(np.rint(sample * power), power, sample):
            continue
        whole = np.rint(column * power)
        if _spells(whole, power, column):
            return exponent, whole.astype(np.int64)
    return None


def _spells(whole: Floats, power: float, column: Floats) -> bool:
    # Through integers and back, since -0.0 has to be told from 0.0 here.
    spelled = whole.astype(np.int64) / power
    return bool((spelled.view(np.int64) == column.view(np.int64)).all())


def _pack_integers(numbers: Integers) -> tuple[int, bytes]:
    """Return signed integers in the narrowest width (0 when all are zero), high bytes apart from low ones."""
    if not numbers.size:
        return 0, b""
    # Sign in the lowest bit: small numbers of either sign have empty high bytes.
    folded = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    largest = int(folded.max())
    width = next(width for width in (0, 1, 2, 3, 4, 6, 8) if largest < 256**width)
    return width, _shuffle(folded, width)


def _unpack_integers(buffer: bytes, at: int, count: int, width: int) -> tuple[Integers, int]:
    folded = _unshuffle(buffer, at, count, width)
    numbers = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    return numbers, at + count * width


def _shuffle(numbers: NDArray[np.uint64], width: int = 8) -> bytes:
    """Return all lowest bytes, then all next ones, and so on: like stands beside like."""
    return numbers.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes()


def _unshuffle(buffer: bytes, at: int, count: int, width: int) -> NDArray[np.uint64]:
    if at + count * width > len(buffer) or width > 8:
        raise UnreadableNumbers(f"a column at byte {at} is longer than its chunk")
    planes = np.zeros((count, 8), np.uint8)
    if width:
        planes[:, :width] = np.frombuffer(buffer, np.uint8, count * width, at).reshape(width, count).T
    return planes.view("<u8").reshape(-1).astype(np.uint64, copy=False)


def _read(layout: struct.Struct, buffer: bytes, at: int) -> tuple[int, ...]:
    if at + layout.size > len(buffer):
        raise UnreadableNumbers(f"the chunk ends at byte {len(buffer)}, inside a header")
    return layout.unpack_from(buffer, at)
