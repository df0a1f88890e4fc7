"""Modbus registers, purely: which blocks to read for the wanted values, and what their words mean."""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import isfinite, nan
from typing import Literal

import msgspec

from edge.drivers.modbus.register_types import (
    CODES,
    SHORTENERS,
    ByteOrder,
    HalfName,
    RegisterType,
    count_words,
    pick_byte,
    read_digits,
)
from models.telemetry import Value, quality

Table = Literal["holding", "input", "coil", "discrete"]

ADDRESS_MAX = 65_535
WORDS_MAX = 125
BITS_MAX = 2_000
"""What one request may ask for (Modbus Application Protocol 1.1b3, 6.1 and 6.3)."""


def is_bit_table(table: Table) -> bool:
    """Return whether the table holds single bits rather than 16-bit registers."""
    return table in ("coil", "discrete")


class Wanted(msgspec.Struct, frozen=True):
    """A tag's value in the registers: `value = raw * scale + offset`; a raw number in `invalid` is none."""

    name: str
    table: Table
    address: int
    type: RegisterType
    bit: int | None = None
    byte_order: ByteOrder = "ABCD"
    scale: float = 1.0
    offset: float = 0.0
    byte: HalfName = "low"
    invalid: frozenset[float] = frozenset()

    @property
    def end(self) -> int:
        """The first address behind the value."""
        return self.address + (1 if is_bit_table(self.table) else count_words(self.type))


class Limits(msgspec.Struct, frozen=True):
    """How much one request may ask for, and how many unwanted registers it may read through."""

    gap_max: int = 8
    words_max: int = WORDS_MAX
    bits_max: int = BITS_MAX


class Block(msgspec.Struct, frozen=True):
    """One request: `count` registers (or bits) from `address` on, and the values that lie in them."""

    table: Table
    address: int
    count: int
    wanted: tuple[Wanted, ...]


def plan_blocks(wanted: Iterable[Wanted], limits: Limits) -> list[Block]:
    """Return the fewest requests, in the order of tables and addresses, that read every wanted value whole.

    A value lies in exactly one block; a register is read once, unless values overlap across a block's end.
    """
    blocks: list[Block] = []
    ordered = sorted(wanted, key=lambda value: (value.table, value.address, value.end))
    for table, values in groupby(ordered, key=lambda value: value.table):
        bits = is_bit_table(table)
        count_max = limits.bits_max if bits else limits.words_max
        gap_max = limits.gap_max * 16 if bits else limits.gap_max
        taken: list[Wanted] = []
        end = 0
        for value in values:
            far = taken and (
                value.address - end > gap_max or max(end, value.end) - taken[0].address > count_max
            )
            if far:
                blocks.append(_enclose(taken))
                taken = []
            end = max(end, value.end) if taken else value.end
            taken.append(value)
        blocks.append(_enclose(taken))
    return blocks


def split_block(block: Block) -> tuple[Block, Block]:
    """Return the two halves of a block of two values or more, each reading only what it wants."""
    middle = len(block.wanted) // 2
    return _enclose(block.wanted[:middle]), _enclose(block.wanted[middle:])


def _enclose(values: Sequence[Wanted]) -> Block:
    first = values[0].address
    end = max(value.end for value in values)
    return Block(values[0].table, first, end - first, tuple(values))


class Reading(msgspec.Struct, frozen=True):
    """What one block said: a value per tag, None where there is no number, and the quality of those."""

    values: dict[str, Value]
    quality: dict[str, int]


class BlockDecoder:
    """Reads the words of one block, all values of a kind in one go."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._groups = [] if is_bit_table(block.table) else _group_values(block)
        self._bits = [(value, value.address - block.address) for value in block.wanted]

    def decode(self, words: Sequence[int]) -> Reading:
        """Return the values in `words` (0..65535 each, as many as the block counts; bits for a bit table)."""
        values: dict[str, Value] = {}
        if is_bit_table(self.block.table):
            for value, at in self._bits:
                values[value.name] = _apply_scale(value, 1.0 if words[at] else 0.0)
        else:
            straight = struct.pack(f">{len(words)}H", *words)
            swapped = struct.pack(f"<{len(words)}H", *words)
            for group in self._groups:
                group.decode_into(values, swapped if group.swapped else straight)
        # One pass that finds nothing to mend, mostly: inf - inf and nan - nan are not zero.
        if all(map(isfinite, values.values())):  # type: ignore[arg-type]  # no None has been put in yet
            return Reading(values, {})
        return _refuse_what_is_no_number(values)


class _Group(msgspec.Struct, frozen=True):
    """Values of one type and byte order that do not overlap: one unpack reads them all."""

    layout: struct.Struct
    swapped: bool
    shorten: Callable[[Sequence[float]], list[float]] | None
    plain: bool
    slots: tuple[tuple[Wanted, ...], ...]

    def decode_into(self, values: dict[str, Value], octets: bytes) -> None:
        numbers: Sequence[float] = self.layout.unpack(octets)
        if self.shorten is not None:
            numbers = self.shorten(numbers)
        if self.plain:
            values.update(zip((slot[0].name for slot in self.slots), map(float, numbers), strict=True))
            return
        for slot, number in zip(self.slots, numbers, strict=True):
            for value in slot:
                values[value.name] = _apply_scale(value, _pick(value, number))


def _pick(value: Wanted, number: float) -> float:
    """Return the raw number, or the bit, the byte or the digits in it; NaN where it says "no value"."""
    if value.type == "bool":
        if value.bit is None:
            return 1.0 if number else 0.0
        return float(int(number) >> value.bit & 1)
    if value.type in ("int8", "uint8"):
        number = pick_byte(value.type, value.byte, int(number))
    elif value.type in ("bcd16", "bcd32"):
        number = read_digits(int(number))
    return nan if number in value.invalid else number


def _apply_scale(value: Wanted, number: float) -> float:
    return number * value.scale + value.offset


def _refuse_what_is_no_number(values: dict[str, Value]) -> Reading:
    kept: dict[str, Value] = {}
    bad: dict[str, int] = {}
    for name, value in values.items():
        if value is not None and isfinite(value):
            kept[name] = value
        else:
            kept[name] = None
            bad[name] = quality.BAD_SENSOR_FAILURE
    return Reading(kept, bad)


def _group_values(block: Block) -> list[_Group]:
    """Sort the block's values into groups that one `struct` layout each can read.

    The four byte orders come down to two choices: words with their bytes swapped or not, and read as big or
    little endian. CDAB, for instance, has its words swapped: with the bytes swapped too, that is DCBA.
    """
    by_kind: dict[tuple[RegisterType, ByteOrder], list[Wanted]] = {}
    for value in block.wanted:
        by_kind.setdefault((value.type, value.byte_order), []).append(value)
    return [
        _lay_out(block, kind, order, layer)
        for (kind, order), values in by_kind.items()
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


def _lay_out(block: Block, kind: RegisterType, order: ByteOrder, layer: list[list[Wanted]]) -> _Group:
    codes, at = [">" if order in ("ABCD", "BADC") else "<"], block.address
    for slot in layer:
        codes.append(f"{2 * (slot[0].address - at)}x{CODES[kind]}")
        at = slot[0].end
    codes.append(f"{2 * (block.address + block.count - at)}x")
    return _Group(
        layout=struct.Struct("".join(codes)),
        swapped=order in ("BADC", "CDAB"),
        shorten=SHORTENERS.get(kind),
        plain=all(len(slot) == 1 and _is_plain(slot[0]) for slot in layer),
        slots=tuple(tuple(slot) for slot in layer),
    )


def _is_plain(value: Wanted) -> bool:
    """Return whether the unpacked number is the value."""
    picked = value.type in ("bool", "int8", "uint8", "bcd16", "bcd32")
    return not picked and not value.invalid and value.scale == 1.0 and value.offset == 0.0
