"""Status of a gateway: retained on its topic, and left there by the broker as the will when it dies."""

from typing import Literal

import msgspec

from models.errors import ForewarnError


class StatusRejected(ForewarnError):
    """The payload is no status of schema 1: count it and go on."""


class DroppedRange(msgspec.Struct, frozen=True):
    """Batches `first`..`last` (inclusive), holding `values` numbers, that the gateway gave up, and why."""

    first: int
    last: int
    values: int
    reason: str


class MachineStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one machine's connection fares. `since` is nanoseconds since 1970; `reason` is for a person.

    `bad_reasons`: the machine's own word on some of `bad_tags` (a Modbus exception's name), for a person.
    """

    machine: str
    state: Literal["connecting", "connected", "lost"]
    since: int
    reason: str = ""
    bad_tags: dict[str, int] = {}
    missed_cycles_total: int = 0
    bad_reasons: dict[str, str] = {}


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway says of itself.

    `sequence_last` and `values_total` count what was committed to the outbox in this `epoch`; `waiting`
    are the inclusive ranges of sequences still there. They allow the cloud to say what is missing.
    `room_s`: for how long the outbox has room if nothing is delivered, None while its pace is not known.
    `counters` are totals since the start of the program, for people; they differ between versions.
    `warnings` are for people too: what is to be mended before it fails.
    The will carries only the first four.
    """

    v: int
    gateway: str
    state: Literal["online", "offline"]
    timestamp: int
    epoch: str = ""
    sequence_last: int = 0
    values_total: int = 0
    waiting: list[tuple[int, int]] = []
    waiting_values: int = 0
    waiting_bytes: int = 0
    dropped: list[DroppedRange] = []
    machines: list[MachineStatus] = []
    clock_synchronised: bool | None = None
    version: str = ""
    waiting_bytes_max: int = 0
    room_s: int | None = None
    counters: dict[str, int] = {}
    warnings: list[str] = []


_decoder = msgspec.json.Decoder(Status)


def encode_status(status: Status) -> bytes:
    """Return the payload of `status`."""
    return msgspec.json.encode(status)


def decode_status(payload: bytes) -> Status:
    """Return the status in `payload`; raise `StatusRejected` for anything else."""
    try:
        status = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StatusRejected(f"not a status: {error}") from error
    if status.v != 1:
        raise StatusRejected(f"status of version {status.v} is not known here")
    if any(not 1 <= first <= last for first, last in status.waiting):
        raise StatusRejected("a range of waiting batches is backwards or below 1")
    return status
