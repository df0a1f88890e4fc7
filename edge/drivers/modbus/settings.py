"""How to reach a Modbus machine, and which registers its tags are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field, FiniteFloat, ValidationInfo, field_validator, model_validator

from edge.drivers.interval_groups import IntervalGroups, group_tags
from edge.drivers.modbus.line_settings import ModbusLineSettings
from edge.drivers.modbus.planning import CannotBeRead, plan_blocks
from edge.drivers.modbus.quirks import QuirkSettings
from edge.drivers.modbus.register_types import (
    CHARACTERS_MAX,
    ByteOrder,
    HalfName,
    RegisterType,
    count_words,
    is_byte,
    normalise_marker,
)
from edge.drivers.modbus.registers import (
    ADDRESS_MAX,
    BITS_MAX,
    WORDS_MAX,
    Limits,
    Table,
    Wanted,
    is_bit_table,
)
from edge.drivers.tags import PathOfMachine, Tags, TagSettings

if TYPE_CHECKING:
    from edge.drivers.modbus.driver import ModbusDriver
    from edge.drivers.modbus.waveforms import ModbusWaveforms

INVALID_MAX = 16
SAMPLE_TYPES = ("int16", "uint16", "int32", "uint32", "float32", "float64")

# The first digit of a register number in a manual names the table: 40001 is the first holding register.
_CLASSIC_TABLES = {0: "coil", 1: "discrete", 3: "input", 4: "holding"}


def _check_address(address: int) -> int:
    if 0 <= address <= ADDRESS_MAX:
        return address
    table = _CLASSIC_TABLES.get(address // 100_000)
    number = address % 100_000
    hint = "addresses count from 0, and 40001 in a manual is mostly table: holding, address: 0"
    if address > 0 and table and 1 <= number <= ADDRESS_MAX + 1:
        hint = f"in the notation of manuals {address} is table: {table}, address: {number - 1}"
    raise ValueError(f"{address} is outside 0..{ADDRESS_MAX}: {hint}")


class ModbusTagSettings(TagSettings):
    """One value in a machine's registers: `value = raw * scale + offset`.

    `byte_order` says which byte of the value stands where, A being the most significant: ABCD (as the
    standard has it), CDAB (words swapped), BADC (bytes swapped), DCBA (both). `bit` picks one bit of a
    register, 0 the lowest; `byte` says which half of a register an 8-bit value is. `characters` is the length
    of a string, which is read as the decimal number that it says. `invalid`: raw numbers, or their bit
    patterns, by which the machine says "no value" (0x8000); NaN and infinities always say so. A waveform's
    samples follow each other from `address` on; `counter_address` is a register of the same table in which
    the machine counts its recordings.
    """

    table: Table
    address: Annotated[int, AfterValidator(_check_address)]
    type: RegisterType
    bit: int | None = Field(default=None, ge=0, le=15)
    byte: HalfName | None = None
    characters: int | None = Field(default=None, ge=1, le=CHARACTERS_MAX, validate_default=True)
    byte_order: ByteOrder = "ABCD"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)
    invalid: tuple[int | FiniteFloat, ...] = Field(default=(), max_length=INVALID_MAX)
    interval_s: float | None = Field(default=None, ge=0.01, le=3600)
    counter_address: Annotated[int, AfterValidator(_check_address)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in_bool(cls, value: Any) -> Any:
        """A coil, a discrete input and a bit of a register can only be a bool: nobody need say so."""
        if not isinstance(value, dict) or "type" in value:
            return value
        is_bit = value.get("table") in ("coil", "discrete") or value.get("bit") is not None
        return {**value, "type": "bool"} if is_bit else value

    @field_validator("type")
    @classmethod
    def _fits_the_table(cls, kind: RegisterType, info: ValidationInfo) -> RegisterType:
        table, address = info.data.get("table"), info.data.get("address")
        if table is None or address is None:
            return kind
        if is_bit_table(table) and kind != "bool":
            raise ValueError(f"table {table} holds single bits: type is bool, not {kind}")
        words = 1 if is_bit_table(table) or kind == "string" else count_words(kind)
        waveform, what = info.data.get("waveform"), str(kind)
        if waveform is not None:
            if kind not in SAMPLE_TYPES:
                raise ValueError(f"a waveform's samples are {', '.join(SAMPLE_TYPES)}, not {kind}")
            words, what = words * waveform.samples, f"{waveform.samples} {kind}"
        if address + words > ADDRESS_MAX + 1:
            raise ValueError(f"{what} at address {address} ends behind the last register ({ADDRESS_MAX})")
        return kind

    @field_validator("characters")
    @classmethod
    def _is_the_length_of_a_string(cls, characters: int | None, info: ValidationInfo) -> int | None:
        kind, address = info.data.get("type"), info.data.get("address")
        if kind == "string" and characters is None:
            raise ValueError("a string needs its length: characters: 8 are four registers")
        if characters is not None and kind not in (None, "string"):
            raise ValueError(f"characters goes with type: string, not with {kind}")
        if characters is not None and address is not None:
            end = address + count_words("string", characters)
            if end > ADDRESS_MAX + 1:
                raise ValueError(
                    f"{characters} characters from address {address} on end behind the last register "
                    f"({ADDRESS_MAX})"
                )
        return characters

    @field_validator("bit")
    @classmethod
    def _belongs_to_a_register(cls, bit: int | None, info: ValidationInfo) -> int | None:
        table, kind = info.data.get("table"), info.data.get("type")
        if bit is not None and table is not None and is_bit_table(table):
            raise ValueError(f"table {table} holds single bits: leave bit out, the address is enough")
        if bit is not None and kind not in (None, "bool"):
            raise ValueError(f"bit goes with type: bool, not with {kind}")
        return bit

    @field_validator("byte")
    @classmethod
    def _is_half_a_register(cls, byte: HalfName | None, info: ValidationInfo) -> HalfName | None:
        kind = info.data.get("type")
        if byte is not None and kind is not None and not is_byte(kind):
            raise ValueError(f"byte goes with type: int8 or uint8, not with {kind}")
        return byte

    @field_validator("byte_order")
    @classmethod
    def _has_an_order(cls, order: ByteOrder, info: ValidationInfo) -> ByteOrder:
        kind = info.data.get("type")
        if order != "ABCD" and kind is not None and is_byte(kind):
            raise ValueError(f"{kind} is a single byte: say byte: low or byte: high instead of byte_order")
        if kind == "string" and order not in ("ABCD", "BADC"):
            raise ValueError(
                f"{order} swaps registers, and those of a string follow each other: say ABCD where the first "
                "character is the register's high byte, BADC where it is the low one"
            )
        return order

    @field_validator("invalid")
    @classmethod
    def _can_stand_there(cls, markers: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        kind = info.data.get("type")
        if markers and info.data.get("waveform") is not None:
            raise ValueError("invalid is for single values: a waveform with a NaN in it is bad as a whole")
        return markers if kind is None else tuple(normalise_marker(kind, marker) for marker in markers)

    @field_validator("counter_address")
    @classmethod
    def _goes_with_a_waveform(cls, address: int | None, info: ValidationInfo) -> int | None:
        if address is not None and "waveform" in info.data and info.data["waveform"] is None:
            raise ValueError("counter_address counts a waveform's recordings: add waveform, or leave it out")
        return address

    @property
    def is_boolean(self) -> bool:
        """Whether the tag is 1 or 0 for true or false and nothing else."""
        return self.type == "bool" and self.scale == 1.0 and self.offset == 0.0

    def want(self) -> Wanted:
        """Return what to read for this tag."""
        return Wanted(
            name=self.name,
            table=self.table,
            address=self.address,
            type=self.type,
            bit=self.bit,
            byte_order=self.byte_order,
            scale=self.scale,
            offset=self.offset,
            byte=self.byte or "low",
            invalid=frozenset(self.invalid),
            characters=self.characters or 0,
        )

    def want_all(self) -> list[Wanted]:
        """Return what to read for this tag: one value, or every sample of a waveform."""
        one = self.want()
        if self.waveform is None:
            return [one]
        words = count_words(self.type)
        return [
            msgspec.structs.replace(one, address=self.address + words * at)
            for at in range(self.waveform.samples)
        ]

    def want_counter(self) -> Wanted | None:
        """Return where the machine counts its recordings, if it does."""
        if self.counter_address is None:
            return None
        return Wanted(name=self.name, table=self.table, address=self.counter_address, type="uint16")


class ModbusMachineSettings(ModbusLineSettings):
    """A machine that speaks Modbus: tables, addresses and types stand in its manual.

    Machines that name the same line (host and port, or serial port) share one connection.
    """

    kind: Literal["modbus"]
    path: PathOfMachine
    interval_s: float = Field(default=1.0, ge=0.01, le=3600)
    timeout_s: float = Field(default=1.0, ge=0.05, le=60)
    gap_max: int = Field(default=8, ge=0, le=WORDS_MAX)
    registers_max: int = Field(default=WORDS_MAX, ge=4, le=WORDS_MAX)
    bits_max: int = Field(default=BITS_MAX, ge=1, le=BITS_MAX)
    quirks: QuirkSettings = QuirkSettings()
    tags: Tags[ModbusTagSettings]

    @field_validator("tags")
    @classmethod
    def _can_each_be_read(
        cls, tags: tuple[ModbusTagSettings, ...], info: ValidationInfo
    ) -> tuple[ModbusTagSettings, ...]:
        if not {"gap_max", "registers_max", "bits_max", "quirks"} <= info.data.keys():
            return tags
        limits = _make_limits(info.data)
        for index, tag in enumerate(tags):
            try:
                plan_blocks(tag.want_all() + list(filter(None, [tag.want_counter()])), limits)
            except CannotBeRead as error:
                raise ValueError(
                    f"tags[{index}] ({tag.name}): {error}: check registers_max and quirks"
                ) from error
        return tags

    @property
    def limits(self) -> Limits:
        """What the machine takes in one request."""
        return _make_limits(dict(self))

    @property
    def groups(self) -> list[tuple[float, tuple[ModbusTagSettings, ...]]]:
        """The tags that are single values, by interval."""
        return group_tags([tag for tag in self.tags if tag.waveform is None], self.interval_s)

    def build(self) -> "ModbusDriver | IntervalGroups | ModbusWaveforms":
        """Return the driver, not yet connected; several on one line where tags have their own intervals."""
        # A gateway without Modbus machines loads no pymodbus.
        from edge.drivers.modbus.driver import ModbusDriver

        drivers = [
            (interval_s, ModbusDriver(self.model_copy(update={"interval_s": interval_s, "tags": tags})))
            for interval_s, tags in self.groups
        ]
        waveforms = [tag for tag in self.tags if tag.waveform is not None]
        if not waveforms:
            return drivers[0][1] if len(drivers) == 1 else IntervalGroups(drivers)
        from edge.drivers.modbus.waveforms import ModbusWaveforms

        return ModbusWaveforms(self, waveforms, IntervalGroups(drivers) if drivers else None)


def _make_limits(settings: Mapping[str, Any]) -> Limits:
    return Limits(
        gap_max=settings["gap_max"],
        words_max=settings["registers_max"],
        bits_max=settings["bits_max"],
        quirks=settings["quirks"].build(),
    )
