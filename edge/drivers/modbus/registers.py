"""Modbus registers: where values lie, what one request may ask for, and what a machine insists on. Pure."""

from typing import Literal

import msgspec

from edge.drivers.modbus.register_types import ByteOrder, HalfName, RegisterType, count_words

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
    characters: int = 0
    """How long a string is; two characters stand in a register."""

    @property
    def end(self) -> int:
        """The first address behind the value."""
        return self.address + (1 if is_bit_table(self.table) else count_words(self.type, self.characters))


class Span(msgspec.Struct, frozen=True):
    """Registers (or bits) of one table from `first` up to and without `end`."""

    table: Table
    first: int
    end: int


class Quirks(msgspec.Struct, frozen=True):
    """What a machine insists on beyond the standard. The multiples hold for registers, not for bits.

    `whole`: spans that are read from end to end or not at all; `skip`: spans that no request may touch; both
    without overlaps. In a table of `single` a request reads one value and nothing beyond it.
    """

    start_multiple: int = 1
    count_multiple: int = 1
    whole: tuple[Span, ...] = ()
    skip: tuple[Span, ...] = ()
    single: frozenset[Table] = frozenset()


class Limits(msgspec.Struct, frozen=True):
    """How much one request may ask for, and how many unwanted registers it may read through."""

    gap_max: int = 8
    words_max: int = WORDS_MAX
    bits_max: int = BITS_MAX
    quirks: Quirks = Quirks()


class Block(msgspec.Struct, frozen=True):
    """One request: `count` registers (or bits) from `address` on, and the values that lie in them."""

    table: Table
    address: int
    count: int
    wanted: tuple[Wanted, ...]

    @property
    def octets(self) -> int:
        """How many bytes of an answer the registers (or bits, eight to a byte) take."""
        return (self.count + 7) // 8 if is_bit_table(self.table) else 2 * self.count
