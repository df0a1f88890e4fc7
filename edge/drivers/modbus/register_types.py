"""What a value in Modbus registers may be: types, byte orders, and the reading of one raw number."""

import re
import struct
from collections.abc import Callable, Sequence
from itertools import compress, count
from math import floor, inf, log10, nan
from operator import ne
from typing import Any, Literal

RegisterType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "bcd16", "bcd32", "string",
]  # fmt: skip
ByteOrder = Literal["ABCD", "DCBA", "BADC", "CDAB"]
HalfName = Literal["low", "high"]
"""Which half of a register an 8-bit value is: `high` stands first on the wire."""

CHARACTERS_MAX = 32
"""As much as a string may have; a number with more digits than that says no more."""

CODES: dict[RegisterType, str] = {
    "bool": "H", "int8": "H", "uint8": "H", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float16": "e", "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I",
}  # fmt: skip
"""How `struct` unpacks the registers of a type; bits, bytes and digits are picked out of the number then."""

_RANGES: dict[RegisterType, tuple[int, int]] = {
    "int8": (-(2**7), 2**7 - 1), "uint8": (0, 2**8 - 1),
    "int16": (-(2**15), 2**15 - 1), "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1),
    "bcd16": (0, 9_999), "bcd32": (0, 99_999_999),
}  # fmt: skip
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # float() also takes nan, inf and 1_0
_DIGITS = {"e": (3, 4, 5), "f": (7, 8, 9)}
"""How many digits of a decimal say a float of this size: mostly the first, always the last (IEEE 754)."""


def choose_code(kind: RegisterType, characters: int = 0) -> str:
    """Return how `struct` unpacks a value of this type; a string has so many characters."""
    return f"{characters}s{characters % 2}x" if kind == "string" else CODES[kind]


def count_words(kind: RegisterType, characters: int = 0) -> int:
    """Return how many registers a value of this type takes."""
    return (characters + 1) // 2 if kind == "string" else struct.calcsize(">" + CODES[kind]) // 2


def is_byte(kind: RegisterType) -> bool:
    """Return whether the type is one half of a register."""
    return kind in ("int8", "uint8")


def is_picked(kind: RegisterType) -> bool:
    """Return whether the value is only a part of what `struct` unpacks, or is written in it otherwise."""
    return kind in ("bool", "int8", "uint8", "bcd16", "bcd32")


def pick_byte(kind: RegisterType, half: HalfName, word: int) -> float:
    """Return the 8-bit number in one half of a register."""
    octet = word >> 8 if half == "high" else word & 0xFF
    return float(octet - 256 if kind == "int8" and octet > 127 else octet)


def read_digits(number: int) -> float:
    """Return what binary coded decimals say, four bits a digit; NaN where one is no digit."""
    text = f"{number:x}"
    return float(text) if text.isdigit() else nan  # not float() alone: it reads 1e5 as a number


def read_text(octets: bytes) -> float:
    """Return the decimal number that a text is, up to its first NUL and without blanks around it.

    Infinity where it is none: "12.40" and "-7" are numbers; "OK", "12,4", "0x1F" and blanks are not.
    """
    text = octets.partition(b"\0")[0].strip()
    return float(text) if _NUMBER.fullmatch(text) else inf


def normalise_marker(kind: RegisterType, marker: float) -> float:
    """Return the raw number that a marker of "no value" stands for: 0x8000 in an int16 is -32768.

    Raises `ValueError` when no such number can stand in a register of this type.
    """
    if kind == "bool":
        raise ValueError("a single bit cannot be told from an invalid one: leave invalid out")
    if kind == "string":
        return marker
    if kind not in _RANGES:
        return _fit_float(kind, marker)
    low, high = _RANGES[kind]
    if kind.startswith("int") and high < marker <= 2 * high + 1:
        marker -= 2 * high + 2  # written as the bit pattern
    if not (low <= marker <= high and marker == int(marker)):
        raise ValueError(f"{marker:g} never stands in {kind}, which holds whole numbers {low} to {high}")
    return int(marker)  # exact beyond 2^53 too, where a float is not


def _fit_float(kind: RegisterType, marker: float) -> float:
    code = "<" + CODES[kind]  # in native layout struct says infinity where a number does not fit
    try:
        (fitted,) = struct.unpack(code, struct.pack(code, marker))
    except OverflowError as error:
        raise ValueError(f"{marker:g} is too large for {kind}") from error
    return CONVERTERS.get(kind, list)([fitted])[0]


def shorten_float32(numbers: Sequence[float]) -> list[float]:
    """Return, for each float32, the double whose text is the shortest that gives the same float32 again.

    12.3 in a float32 register is 12.300000190734863 as a double; six or seven digits mostly say the same
    float32, nine always do (IEEE 754). Columns are rounded by reckoning, at a third of what text costs, where
    that gives the same bits: a float32 (24 bits) times 10**12 (28 bits beside its twos) is exact, and so is
    the nearest double to a whole number below 2**53 divided by 10**22 at most. The rest goes through text.
    """
    tops = struct.pack(f"<{len(numbers)}f", *numbers)[3::4]
    powers = list(map(_POWERS.__getitem__, tops))
    short = _round_off(numbers, powers)
    wrong = _find_changed(short, numbers)
    if not wrong:
        return short
    near = [at for at in wrong if powers[at] <= _EXACT_MAX]
    if len(near) >= _MANY:
        wrong = [at for at in wrong if not powers[at] <= _EXACT_MAX]  # NaN, too
        for more in (10.0, 100.0, 1000.0):
            picked = [numbers[at] for at in near]
            near = _put_in(short, near, picked, _round_off(picked, [powers[at] * more for at in near]))
    for digits in _DIGITS["f"]:
        picked = [numbers[at] for at in wrong]
        wrong = _put_in(short, wrong, picked, _write_and_read(digits, picked))
    return short


def _choose_power(top: int) -> float:
    """Return the power of ten that gives numbers six digits, or seven, before the point; NaN for none.

    `top` is the highest byte of their float32, which stands for two doublings. The larger of these begins at
    half of 10**7 at most, times that power: below 2**23, where float32s lie closer than whole numbers do. So
    no two decimals of these digits are the same float32, and one that is the number's is the nearest, too.
    """
    if top == 0:
        return float(10**_POWER_MAX)  # zero stays zero; what is tiny beside it is told by its text
    digits = floor(7 - log10(2.0 ** (2 * (top & 0x7F) - 125)))
    return float(10**digits) if 0 <= digits <= _POWER_MAX else nan


_POWER_MAX = 22
_EXACT_MAX = 1e9  # with three digits more it is 10**12
_MANY = 16  # fewer are written as text faster
_ROUND = 1.5 * 2.0**52
"""Added and taken away again it leaves any number below 2**51 whole, halves even."""

_POWERS = [_choose_power(top) for top in range(256)]


def _round_off(numbers: Sequence[float], powers: Sequence[float]) -> list[float]:
    return [(number * power + _ROUND - _ROUND) / power for number, power in zip(numbers, powers, strict=True)]


def _find_changed(short: Sequence[float], numbers: Sequence[float]) -> list[int]:
    """Return the places at which the short number is another float32."""
    layout = f"<{len(numbers)}f"
    return list(compress(count(), map(ne, struct.unpack(layout, struct.pack(layout, *short)), numbers)))


def _put_in(
    short: list[float], places: Sequence[int], numbers: Sequence[float], made: Sequence[float]
) -> list[int]:
    """Take what was made of the numbers at the places; return those where it is another float32 still."""
    for at, number in zip(places, made, strict=True):
        short[at] = number
    return [places[row] for row in _find_changed(made, numbers)]


def _write_and_read(digits: int, numbers: Sequence[float]) -> list[float]:
    return list(map(float, (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()))


def shorten_float16(numbers: Sequence[float]) -> list[float]:
    """Return, for each float16, the shortest decimal that gives the same float16 again."""
    return [_shorten("<e", number) for number in numbers]


def read_texts(texts: Sequence[bytes]) -> list[float]:
    """Return the number that each text is; see `read_text`."""
    return [read_text(text) for text in texts]


CONVERTERS: dict[RegisterType, Callable[[Sequence[Any]], list[float]]] = {
    "float16": shorten_float16,
    "float32": shorten_float32,
    "string": read_texts,
}
"""What is made of a column that `struct` has unpacked, where that is not the numbers themselves."""


def _shorten(code: str, number: float) -> float:
    exact, digits = struct.pack(code, number), _DIGITS[code[-1]]
    for shown in digits[:-1]:
        short = float(f"{number:.{shown}g}")
        if struct.pack(code, short) == exact:
            return short
    return float(f"{number:.{digits[-1]}g}")
