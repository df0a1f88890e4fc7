"""What the counting machines hand out: the value is a function of machine and number. Pure."""

import msgspec

from models.telemetry import MachinePath

FACTOR = 2_654_435_761
MODULUS = 1_000_003


class Issue(msgspec.Struct, frozen=True):
    """A number that a machine handed out, once, and when (ns since 1970, by the machine's clock)."""

    machine: str
    number: int
    at_ns: int


def make_path(gateway: int, kind: str, index: int) -> MachinePath:
    """Return the path of a counting machine."""
    return MachinePath.parse(f"site/{kind}/line-{gateway}/machine-{index}")


def value_of(machine: str, number: int) -> float:
    """Return the one reading that belongs to `number` of `machine`; exact in float64."""
    seed = sum(letter * (place + 1) for place, letter in enumerate(machine.encode()))
    return ((number * FACTOR + seed * 97) % MODULUS) / 16.0


def read_issues(text: str) -> list[Issue]:
    """Return what stands in a log of issues, one `machine number ns` a line; half a last line is left out."""
    whole = text[: text.rfind("\n") + 1]
    return [
        Issue(machine, int(number), int(at_ns))
        for machine, number, at_ns in (line.split(" ") for line in whole.splitlines())
    ]
