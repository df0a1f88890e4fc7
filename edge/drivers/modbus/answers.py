"""What a connection to Modbus units gives: answers, refusals among them, or the reason why there is none."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from edge.drivers import NotConnected
from edge.drivers.modbus.line_settings import Line
from edge.drivers.modbus.reachability import explain_closing
from edge.drivers.modbus.registers import Block


class UnitSilent(NotConnected):
    """Nobody answered in time: the unit is off, absent, or the whole connection is dead."""


class Answer(msgspec.Struct, frozen=True):
    """What came back for one block: its registers or bits as they stood on the wire, or a refusal's code.

    `took_s`: from the request, the first of them where there were several, to the answer.
    """

    octets: bytes | None
    code: int
    retried: bool
    observed_ns: int
    took_s: float


class Connection(Protocol):
    """One connection, on which one request at a time may be under way. Nothing in it writes to a machine."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""

    async def open(self, timeout_s: float) -> None:
        """Open the connection; raise `NotConnected` with the reason."""

    def close(self) -> None:
        """Close the connection, if there is one."""

    async def ask(
        self,
        unit_id: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        retries: int,
        goes_on: Callable[[], bool],
    ) -> list[Answer]:
        """Ask for the first block and, while `goes_on` and nothing is refused, for those that follow.

        Each request goes out when the one before is answered. Refusals are answers; raises `UnitSilent`, or
        `NotConnected` when the connection is closed.
        """


def explain_silence(line: Line, unit_id: int, waited_s: float) -> UnitSilent:
    """Return what to raise when a unit has not answered for so long."""
    serial = line.serial
    doubt = "" if serial is None else f"does it speak {serial.baudrate} baud with {serial.parity} parity, "
    return UnitSilent(
        f"unit {unit_id} at {line.where} has not answered for {waited_s:g} s: "
        f"is the unit id right, {doubt}and is the device on?"
    )


def explain_loss(line: Line, *, has_answered: bool) -> NotConnected:
    """Return what to raise when the other side has hung up."""
    doubt = "" if has_answered else f" before its first answer: {explain_closing(line.tls)}"
    return NotConnected(f"{line.where} closed the connection{doubt}")
