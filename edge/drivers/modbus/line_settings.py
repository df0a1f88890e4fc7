"""What leads to Modbus units: a network address or a serial port, and how it is spoken on."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pydantic import Field, ValidationInfo, field_validator, model_validator

from models.settings import ConfigPath, Settings

Transport = Literal["tcp", "rtu", "rtu-over-tcp", "tls"]
Baudrate = Literal[1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400]
TLS_PORT = 802
RTU_UNIT_MAX = 247

FRAME_GAP_S_MIN = 0.00175
FRAME_GAP_CHARACTERS = 3.5
BITS_A_CHARACTER = 11
"""Between two frames a serial line is still for so long (Modbus over Serial Line 1.02, 2.5.1.1)."""


class SerialSettings(Settings):
    """A serial port, set as the devices on it are; the standard's own choice unless said otherwise."""

    device: str = Field(min_length=1)
    baudrate: Baudrate = 19_200
    parity: Literal["even", "odd", "none"] = "even"
    stopbits: Literal[1, 2] = 1


def choose_frame_gap_s(serial: SerialSettings) -> float:
    """Return how long the line is still between two frames."""
    return max(FRAME_GAP_S_MIN, FRAME_GAP_CHARACTERS * BITS_A_CHARACTER / serial.baudrate)


class ModbusTlsSettings(Settings):
    """Whose word to trust about the machine's certificate, and our own for machines that ask for one."""

    ca_file: ConfigPath
    server_name: str | None = None
    certificate_file: ConfigPath | None = None
    key_file: ConfigPath | None = None


class Line(msgspec.Struct, frozen=True):
    """One connection that several units may share: equal for all machines behind it."""

    transport: Transport
    host: str
    port: int
    serial: SerialSettings | None
    tls: ModbusTlsSettings | None

    @property
    def where(self) -> str:
        """`host:port` or the serial port's name: machines that name the same one share the line."""
        return self.serial.device if self.serial else f"{self.host}:{self.port}"

    @property
    def is_rtu(self) -> bool:
        """Whether requests carry no number by which a late answer could be told from the right one."""
        return self.transport in ("rtu", "rtu-over-tcp")


class ModbusLineSettings(Settings):
    """The part of a machine's settings that it shares with the other machines on its line."""

    transport: Transport = "tcp"
    host: str = ""
    port: int = Field(default=502, ge=1, le=65_535)
    serial: SerialSettings | None = None
    tls: ModbusTlsSettings | None = None
    unit_id: int = Field(default=1, ge=0, le=255)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_port(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("transport") == "tls" and "port" not in value:
            return {**value, "port": TLS_PORT}
        return value

    @field_validator("host")
    @classmethod
    def _leads_somewhere(cls, host: str, info: ValidationInfo) -> str:
        transport = info.data.get("transport")
        if transport == "rtu" and host:
            raise ValueError(
                "transport: rtu is a serial port of this computer and has no host: say "
                "serial: {device: /dev/ttyUSB0}, or transport: rtu-over-tcp for a converter on the network"
            )
        if transport not in (None, "rtu") and not host:
            raise ValueError("the machine's address is missing: host: 192.168.0.20")
        return host

    @field_validator("serial")
    @classmethod
    def _goes_with_rtu(cls, serial: SerialSettings | None, info: ValidationInfo) -> SerialSettings | None:
        transport = info.data.get("transport")
        if transport == "rtu" and serial is None:
            raise ValueError("transport: rtu needs its port: serial: {device: /dev/ttyUSB0, baudrate: 9600}")
        if transport not in (None, "rtu") and serial is not None:
            raise ValueError(f"serial goes with transport: rtu, not with {transport}")
        return serial

    @field_validator("tls")
    @classmethod
    def _goes_with_tls(cls, tls: ModbusTlsSettings | None, info: ValidationInfo) -> ModbusTlsSettings | None:
        transport = info.data.get("transport")
        if transport == "tls" and tls is None:
            raise ValueError("transport: tls needs to know whom to trust: tls: {ca_file: plant-ca.pem}")
        if transport not in (None, "tls") and tls is not None:
            raise ValueError(f"tls goes with transport: tls, not with {transport}")
        return tls

    @field_validator("unit_id")
    @classmethod
    def _can_answer(cls, unit_id: int, info: ValidationInfo) -> int:
        if info.data.get("transport") in ("rtu", "rtu-over-tcp") and not 1 <= unit_id <= RTU_UNIT_MAX:
            raise ValueError(
                f"{unit_id} is outside 1..{RTU_UNIT_MAX}: on a serial line 0 means all, and none answers"
            )
        return unit_id

    @property
    def line(self) -> Line:
        """What this machine shares with its neighbours."""
        return Line(self.transport, self.host, self.port, self.serial, self.tls)


def check_lines(machines: Sequence[object]) -> None:
    """Raise `ValueError` when two machines name the same line and disagree on how it is spoken on."""
    first: dict[str, tuple[int, Line]] = {}
    for index, machine in enumerate(machines):
        if not isinstance(machine, ModbusLineSettings):
            continue
        line = machine.line
        before, other = first.setdefault(line.where, (index, line))
        if line != other:
            differing = [
                name for name in ("transport", "serial", "tls") if getattr(line, name) != getattr(other, name)
            ]
            raise ValueError(
                f"machines[{before}] and machines[{index}] share the line {line.where} and differ in "
                f"{' and '.join(differing)}: there is one connection, so say the same for both"
            )
