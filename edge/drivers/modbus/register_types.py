"""What a value in Modbus registers may be: types, byte orders, and the reading of one raw number."""

import re
import struct
from collections.abc import Callable, Sequence
from itertools import compress, count
from math import inf, nan
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

    12.3 in a float32 register is 12.300000190734863 as a double; seven digits mostly say the same float32,
    nine always do (IEEE 754). Each check packs a whole column at once.
    """
    few, *more = _DIGITS["f"]
    short = _write_and_read(few, numbers)
    for digits in more:
        layout = f"<{len(numbers)}f"
        wrong = list(compress(count(), map(ne, struct.unpack(layout, struct.pack(layout, *short)), numbers)))
        if not wrong:
            break
        for at, number in zip(wrong, _write_and_read(digits, [numbers[at] for at in wrong]), strict=True):
            short[at] = number
    return short


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
