"""What the words of registers mean: whole blocks decoded at once, purely."""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import isfinite, isinf, nan
from operator import add, contains, mul
from typing import Any, TypeVar

import msgspec

from edge.drivers.modbus.register_types import (
    CONVERTERS,
    ByteOrder,
    RegisterType,
    choose_code,
    is_picked,
    pick_byte,
    read_digits,
)
from edge.drivers.modbus.registers import Block, Table, Wanted, is_bit_table
from models.telemetry import Column, Value, quality

Setting = TypeVar("Setting")


class Reading(msgspec.Struct, frozen=True):
    """What one block said: a value per tag, None where there is no number, and the quality of those."""

    values: dict[str, Value]
    quality: dict[str, int]


class BlockDecoder:
    """Reads the answer to one block, all values of a kind in one go."""

    def __init__(self, block: Block) -> None:
        self.block = block
        is_bits = is_bit_table(block.table)
        self._bits = [(value, value.address - block.address) for value in block.wanted] if is_bits else []
        self._groups = [] if is_bits else _group_values(block)
        self._swaps = any(group.swapped for group in self._groups)
        self._is_plain = not is_bits and all(group.names and not group.invalid for group in self._groups)
        # Copied for each answer: a dict of the right size whose keys stand already is filled fastest.
        self._empty: dict[str, Column] = dict.fromkeys(
            [name for group in self._groups for name in group.names], ()
        )
        self._texts = frozenset(value.name for value in block.wanted if value.type == "string")

    def read_columns(self, octets: bytes) -> tuple[dict[str, Column], dict[str, int]]:
        """Return a column of one row per tag, and the quality of those that have no number."""
        columns = self._read_plain(octets) if self._is_plain else None
        if columns is not None:
            return columns, {}
        reading = self.decode(octets)
        return dict(zip(reading.values, zip(reading.values.values()), strict=True)), reading.quality

    def _read_plain(self, octets: bytes) -> dict[str, Column] | None:
        """Do so where every number unpacked is a tag's; return None where one of them is no number."""
        swapped = _swap_bytes(octets) if self._swaps else octets
        columns = self._empty.copy()
        for group in self._groups:
            numbers = group.read_column(swapped if group.swapped else octets)
            if not group.is_whole:
                numbers = list(numbers)
                if not isfinite(sum(numbers)):  # one of them is not, or they are too large to say so at once
                    return None
            columns.update(zip(group.names, zip(numbers), strict=True))
        return columns

    def decode(self, octets: bytes) -> Reading:
        """Return the values in an answer: `block.octets` bytes as they stand on the wire."""
        values: dict[str, Value] = {}
        for value, at in self._bits:
            values[value.name] = (octets[at >> 3] >> (at & 7) & 1) * value.scale + value.offset
        swapped = _swap_bytes(octets) if self._swaps else octets
        for group in self._groups:
            group.decode_into(values, swapped if group.swapped else octets)
        # One pass that finds nothing to mend, mostly.
        if all(map(isfinite, values.values())):  # type: ignore[arg-type]  # no None has been put in yet
            return Reading(values, {})
        return self._refuse_what_is_no_number(values)

    def _refuse_what_is_no_number(self, values: dict[str, Value]) -> Reading:
        kept: dict[str, Value] = {}
        bad: dict[str, int] = {}
        for name, value in values.items():
            if value is not None and isfinite(value):
                kept[name] = value
                continue
            kept[name] = None
            is_text = name in self._texts and value is not None and isinf(value)
            bad[name] = quality.BAD_DECODING_ERROR if is_text else quality.BAD_SENSOR_FAILURE
        return Reading(kept, bad)


def read_words(table: Table, octets: bytes, count: int) -> list[int]:
    """Return the registers (0..65535 each) or bits (0 or 1) in an answer to a request for `count`."""
    if is_bit_table(table):
        return [octets[at >> 3] >> (at & 7) & 1 for at in range(count)]
    return list(struct.unpack(f">{count}H", octets))


def write_words(table: Table, words: Sequence[int]) -> bytes:
    """Return registers or bits as they stand in an answer."""
    if is_bit_table(table):
        packed = sum(bit << at for at, bit in enumerate(words))
        return packed.to_bytes((len(words) + 7) // 8, "little")
    return struct.pack(f">{len(words)}H", *words)


def read_samples(octets: bytes, kind: RegisterType, order: ByteOrder) -> "array[float]":
    """Return the numbers of one type that follow each other in registers without a gap."""
    code = choose_code(kind)
    count = len(octets) // struct.calcsize(">" + code)
    swapped = _swap_bytes(octets) if order in ("BADC", "CDAB") else octets
    return array("d", struct.unpack(f"{'>' if order in ('ABCD', 'BADC') else '<'}{count}{code}", swapped))


class _Group(msgspec.Struct, frozen=True):
    """Values of one type and byte order that do not overlap: one unpack reads them all."""

    layout: struct.Struct
    swapped: bool
    convert: Callable[[Sequence[Any]], list[float]] | None
    slots: tuple[tuple[Wanted, ...], ...]
    names: tuple[str, ...] = ()
    """Filled where each unpacked number is the raw value of one tag."""

    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    invalid: tuple[frozenset[float], ...] = ()
    """Filled where any differs from 1, from 0, from nothing."""

    is_whole: bool = False
    """Whether the type has whole numbers only, which are finite."""

    def read_column(self, octets: bytes) -> Iterable[float]:
        """Return the tags' values, in the order of `names`."""
        numbers: Sequence[float] = self.layout.unpack(octets)
        if self.convert is not None:
            numbers = self.convert(numbers)
        scaled = map(mul, numbers, self.scales) if self.scales else map(float, numbers)
        return map(add, scaled, self.offsets) if self.offsets else scaled

    def decode_into(self, values: dict[str, Value], octets: bytes) -> None:
        numbers: Sequence[float] = self.layout.unpack(octets)
        if self.convert is not None:
            numbers = self.convert(numbers)
        if self.names and not (self.invalid and any(map(contains, self.invalid, numbers))):
            scaled = map(mul, numbers, self.scales or repeat(1.0))
            moved = map(add, scaled, self.offsets) if self.offsets else scaled
            values.update(zip(self.names, moved, strict=True))
            return
        for slot, number in zip(self.slots, numbers, strict=True):
            for value in slot:
                values[value.name] = _pick(value, number) * value.scale + value.offset


def _pick(value: Wanted, number: float) -> float:
    """Return the raw number, or the bit, the byte or the digits in it; NaN where it says "no value".

    Text that is no number is infinite.
    """
    if value.type == "bool":
        if value.bit is None:
            return 1.0 if number else 0.0
        return float(int(number) >> value.bit & 1)
    if value.type in ("int8", "uint8"):
        number = pick_byte(value.type, value.byte, int(number))
    elif value.type in ("bcd16", "bcd32"):
        number = read_digits(int(number))
    return nan if number in value.invalid else number


def _swap_bytes(octets: bytes) -> bytes:
    words = array("H", octets)
    words.byteswap()
    return words.tobytes()


def _group_values(block: Block) -> list[_Group]:
    """Sort the block's values into groups that one `struct` layout each can read.

    The four byte orders come down to two choices: words with their bytes swapped or not, and read as big or
    little endian. CDAB, for instance, has its words swapped: with the bytes swapped too, that is DCBA.
    """
    by_kind: dict[tuple[RegisterType, int, ByteOrder], list[Wanted]] = {}
    for value in block.wanted:
        by_kind.setdefault((value.type, value.characters, value.byte_order), []).append(value)
    return [
        _lay_out(block, choose_code(kind, characters), layer)
        for (kind, characters, _), values in by_kind.items()
        for layer in _separate_overlapping(values)
    ]


def _separate_overlapping(values: Sequence[Wanted]) -> list[list[list[Wanted]]]:
    """Return layers of slots; within a layer no slot overlaps another, values of one address share a slot."""
    layers: list[list[list[Wanted]]] = []
    for value in sorted(values, key=lambda wanted: wanted.address):
        for layer in layers:
            last = layer[-1][0]
            if last.address == value.address:
                layer[-1].append(value)
                break
            if last.end <= value.address:
                layer.append([value])
                break
        else:
            layers.append([[value]])
    return layers


def _lay_out(block: Block, code: str, layer: list[list[Wanted]]) -> _Group:
    shown, order = layer[0][0], layer[0][0].byte_order
    codes, at = [">" if order in ("ABCD", "BADC") else "<"], block.address
    for slot in layer:
        codes.append(f"{2 * (slot[0].address - at)}x{code}")
        at = slot[0].end
    codes.append(f"{2 * (block.address + block.count - at)}x")
    values = [slot[0] for slot in layer]
    is_column = all(len(slot) == 1 for slot in layer) and not is_picked(shown.type)
    return _Group(
        layout=struct.Struct("".join(codes)),
        swapped=order in ("BADC", "CDAB"),
        convert=CONVERTERS.get(shown.type),
        slots=tuple(tuple(slot) for slot in layer),
        names=tuple(value.name for value in values) if is_column else (),
        is_whole="int" in shown.type,
        scales=_keep_unless(1.0, tuple(value.scale for value in values)),
        offsets=_keep_unless(0.0, tuple(value.offset for value in values)),
        invalid=_keep_unless(frozenset(), tuple(value.invalid for value in values)),
    )


def _keep_unless(nothing: Setting, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Return the settings of a column, or none where all of them change nothing."""
    return () if all(setting == nothing for setting in settings) else settings
