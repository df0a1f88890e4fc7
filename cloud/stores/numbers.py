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
_WIDTH_ENDS = np.array([256**width for width in range(8)], np.uint64)
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
    ((width, body),) = _pack_integers(np.diff(distances)[np.newaxis])
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


def pack_columns(matrix: Floats) -> list[bytes]:
    """Return each row of a matrix without NaN: decimals as narrow integers, else the doubles' own bits.

    Decimals as integers: Afroozeh et al., ALP: Adaptive Lossless floating-Point Compression, 2023.
    All columns of a machine are packed in one pass: a wide machine costs little more than its numbers.
    """
    exponents, whole = find_decimals(matrix)
    lowest = whole.min(axis=1)
    steps, above = np.diff(whole, axis=1), whole - lowest[:, np.newaxis]
    by_neighbour = np.abs(steps).sum(axis=1, dtype=np.float64) < above.sum(axis=1, dtype=np.float64)
    packed_steps, packed_above = _pack_integers(steps), _pack_integers(above)
    packed = []
    for at, exponent in enumerate(exponents.tolist()):
        if exponent == _NOT_DECIMAL:
            packed.append(_COLUMN.pack(_NOT_DECIMAL, 0, 8, 0) + _pack_bits(matrix[at]))
        elif by_neighbour[at]:
            width, body = packed_steps[at]
            packed.append(_COLUMN.pack(exponent, _FROM_NEIGHBOUR, width, int(whole[at, 0])) + body)
        else:
            width, body = packed_above[at]
            packed.append(_COLUMN.pack(exponent, _FROM_LOWEST, width, int(lowest[at])) + body)
    return packed


def _pack_bits(column: Floats) -> bytes:
    bits = column.view(np.uint64)
    changes = bits.copy()
    changes[1:] ^= bits[:-1]
    packed: bytes = _shuffle(changes[np.newaxis]).tobytes()
    return packed


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


def find_decimals(matrix: Floats) -> tuple[Integers, Integers]:
    """Return for each row the fewest decimals that spell every number exactly, and the numbers without point.

    -1 where there are no such decimals (or an infinity, or a minus zero, which integers do not know).
    """
    exponents = np.full(len(matrix), _NOT_DECIMAL)
    whole = np.zeros(matrix.shape, np.int64)
    largest = np.abs(matrix).max(axis=1)
    step = max(1, matrix.shape[1] // SAMPLE_ROWS)
    pending = np.arange(len(matrix))
    for exponent in range(EXPONENT_MAX + 1):
        power = 10.0**exponent
        pending = pending[largest[pending] * power < EXACT_INTEGER_MAX]
        if not pending.size:
            break
        likely = pending[_spell(matrix[pending, ::step], power)[1]]
        if likely.size:
            spelled, exact = _spell(matrix[likely], power)
            exponents[likely[exact]] = exponent
            whole[likely[exact]] = spelled[exact]
            pending = pending[exponents[pending] == _NOT_DECIMAL]
    return exponents, whole


def _spell(matrix: Floats, power: float) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the numbers times `power` as integers, and which rows these integers spell bit for bit."""
    whole = np.rint(matrix * power).astype(np.int64)
    bits = np.ascontiguousarray(matrix).view(np.int64)
    return whole, ((whole / power).view(np.int64) == bits).all(axis=1)


def _pack_integers(matrix: Integers) -> list[tuple[int, bytes]]:
    """Return each row in its narrowest width (0 when all are zero), high bytes apart from low ones."""
    # Sign in the lowest bit: small numbers of either sign have empty high bytes.
    folded = ((matrix << 1) ^ (matrix >> 63)).view(np.uint64)
    planes = _shuffle(folded)
    widths = np.searchsorted(_WIDTH_ENDS, folded.max(axis=1, initial=0), side="right").tolist()
    return [(width, planes[at, :width].tobytes()) for at, width in enumerate(widths)]


def _unpack_integers(buffer: bytes, at: int, count: int, width: int) -> tuple[Integers, int]:
    folded = _unshuffle(buffer, at, count, width)
    numbers = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    return numbers, at + count * width


def _shuffle(matrix: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return for each row its lowest bytes, then all next ones, and so on: like stands beside like."""
    octets = np.ascontiguousarray(matrix, "<u8").view(np.uint8).reshape(*matrix.shape, 8)
    return np.ascontiguousarray(octets.transpose(0, 2, 1))


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
