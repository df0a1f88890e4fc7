"""What a Modbus device refuses: what each exception means, and its words for a person."""

from enum import Enum

from edge.drivers.modbus.registers import Table, Wanted, is_bit_table
from models.telemetry import quality

SHORT_ANSWER = 0
"""Our own code for an answer with fewer registers than asked for, which is as good as none."""

_NAMES = {
    SHORT_ANSWER: "fewer registers than asked for",
    1: "exception 1 (illegal function)",
    2: "exception 2 (illegal data address)",
    3: "exception 3 (illegal data value)",
    4: "exception 4 (device failure)",
    5: "exception 5 (acknowledge)",
    6: "exception 6 (device busy)",
    8: "exception 8 (memory parity error)",
    10: "exception 10 (gateway path unavailable)",
    11: "exception 11 (gateway target does not respond)",
}

_QUALITIES = {
    SHORT_ANSWER: quality.BAD_COMMUNICATION_ERROR,
    1: quality.BAD_NOT_SUPPORTED,
    2: quality.BAD_CONFIGURATION_ERROR,
    3: quality.BAD_OUT_OF_RANGE,
    4: quality.BAD_DEVICE_FAILURE,
    5: quality.BAD_RESOURCE_UNAVAILABLE,
    6: quality.BAD_RESOURCE_UNAVAILABLE,
}

_OTHER_TABLE: dict[Table, Table] = {
    "holding": "input",
    "input": "holding",
    "coil": "discrete",
    "discrete": "coil",
}


class Meaning(Enum):
    """What a refusal asks of the driver."""

    ADDRESS = "some register of the block is not there: halve the block to find which"
    TABLE = "the whole table is not there"
    PASSING = "ask again in the next round"
    UNREACHABLE = "the unit itself does not answer: the connection is of no use"


_MEANINGS = {
    SHORT_ANSWER: Meaning.ADDRESS,
    1: Meaning.TABLE,
    2: Meaning.ADDRESS,
    3: Meaning.ADDRESS,
    4: Meaning.ADDRESS,  # what cheap devices answer instead of 2
    10: Meaning.UNREACHABLE,
    11: Meaning.UNREACHABLE,
}


def judge(code: int) -> Meaning:
    """Return what to do about an exception code (or `SHORT_ANSWER`)."""
    return _MEANINGS.get(code, Meaning.PASSING)


def choose_quality(code: int) -> int:
    """Return the status code of the tags that an exception leaves without a value."""
    return _QUALITIES.get(code, quality.BAD_COMMUNICATION_ERROR)


def name_exception(code: int) -> str:
    """Return the exception as the Modbus specification names it."""
    return _NAMES.get(code, f"exception {code}")


def explain_unreachable(unit_id: int, code: int, where: str) -> str:
    """Say what a gateway means that has not found the unit."""
    return (
        f"the gateway at {where} answers {name_exception(code)} for unit {unit_id}: "
        "is the unit id right, and the device behind the gateway on?"
    )


def explain_refusal(wanted: Wanted, unit_id: int, code: int) -> str:
    """Say which register was asked, what came back, and what is the likely mend."""
    what = f"{wanted.table} {'bit' if is_bit_table(wanted.table) else 'register'}"
    last = wanted.end - 1
    span = f"{what} {wanted.address}" if last == wanted.address else f"{what}s {wanted.address}..{last}"
    return f"unit {unit_id} answers {name_exception(code)} to {span}: {_suggest_mend(wanted, code)}"


def _suggest_mend(wanted: Wanted, code: int) -> str:
    if code == 1:
        return f"it has no such table; try table: {_OTHER_TABLE[wanted.table]}"
    if code not in (2, 3):
        return "it is asked again from time to time"
    for first, table in ((40_001, "holding"), (30_001, "input"), (10_001, "discrete")):
        if first <= wanted.address < first + 9_999:
            address = wanted.address - first
            return (
                f"addresses count from 0 here; if {wanted.address} is the manual's number, write "
                f"table: {table}, address: {address} (that is {wanted.address} - {first})"
            )
    shifted = f"address: {wanted.address - 1} (manuals often count from 1)" if wanted.address else ""
    table = f"table: {_OTHER_TABLE[wanted.table]}"
    return f"check the manual; try {table}{', or ' + shifted if shifted else ''}"
