"""How to reach a Modbus machine, and which registers its tags are."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edge.drivers.registers import (
    ADDRESS_MAX,
    BITS_MAX,
    WORDS_MAX,
    ByteOrder,
    RegisterType,
    Table,
    count_words,
    is_bit_table,
)
from edge.drivers.tags import PathOfMachine, Tags, TagSettings
from models.settings import Settings

if TYPE_CHECKING:
    from edge.drivers.modbus import ModbusDriver

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
    register, 0 the lowest.
    """

    table: Table
    address: Annotated[int, AfterValidator(_check_address)]
    type: RegisterType
    bit: int | None = Field(default=None, ge=0, le=15)
    byte_order: ByteOrder = "ABCD"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)

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
        words = 1 if is_bit_table(table) else count_words(kind)
        if address + words > ADDRESS_MAX + 1:
            raise ValueError(f"{kind} at address {address} ends behind the last register ({ADDRESS_MAX})")
        return kind

    @field_validator("bit")
    @classmethod
    def _belongs_to_a_register(cls, bit: int | None, info: ValidationInfo) -> int | None:
        table, kind = info.data.get("table"), info.data.get("type")
        if bit is not None and table is not None and is_bit_table(table):
            raise ValueError(f"table {table} holds single bits: leave bit out, the address is enough")
        if bit is not None and kind not in (None, "bool"):
            raise ValueError(f"bit goes with type: bool, not with {kind}")
        return bit


class ModbusMachineSettings(Settings):
    """A machine that speaks Modbus TCP: tables, addresses and types stand in its manual."""

    kind: Literal["modbus"]
    path: PathOfMachine
    host: str = Field(min_length=1)
    port: int = Field(default=502, ge=1, le=65535)
    unit_id: int = Field(default=1, ge=0, le=255)
    interval_s: float = Field(default=1.0, ge=0.01, le=3600)
    timeout_s: float = Field(default=1.0, ge=0.05, le=60)
    gap_max: int = Field(default=8, ge=0, le=WORDS_MAX)
    registers_max: int = Field(default=WORDS_MAX, ge=4, le=WORDS_MAX)
    bits_max: int = Field(default=BITS_MAX, ge=1, le=BITS_MAX)
    tags: Tags[ModbusTagSettings]

    def build(self) -> "ModbusDriver":
        """Return the driver, not yet connected."""
        # A gateway without Modbus machines loads no pymodbus.
        from edge.drivers.modbus import ModbusDriver

        return ModbusDriver(self)
