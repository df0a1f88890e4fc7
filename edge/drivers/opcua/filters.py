"""What a server is to tell of a node: the filter of its monitored item, and what to ask for when refused."""

from enum import IntEnum

from edge.drivers.opcua.settings import OpcuaTagSettings

BAD_DEADBAND_FILTER_INVALID = 0x808E0000
_REFUSALS = frozenset(
    {
        0x80430000,  # BadMonitoredItemFilterInvalid
        0x80440000,  # BadMonitoredItemFilterUnsupported
        0x80450000,  # BadFilterNotAllowed
        BAD_DEADBAND_FILTER_INVALID,
    }
)


class Wish(IntEnum):
    """What is asked of the server for one item, from the most to the least."""

    NOTHING = 0
    """Whatever it does without a filter: changes of value and status, for most."""

    UPDATES = 1
    """Every new source timestamp too."""

    DEADBAND = 2
    """Only values that differ by more than the deadband."""


def has_deadband(tag: OpcuaTagSettings) -> bool:
    """Return whether a server can apply the tag's deadband: one in per cent of the last value is ours."""
    return bool(tag.deadband or tag.deadband_percent_of_range)


def first_wish(tag: OpcuaTagSettings, *, wants_updates: bool) -> Wish:
    """Return what to ask for first."""
    if has_deadband(tag):
        return Wish.DEADBAND
    return Wish.UPDATES if wants_updates else Wish.NOTHING


def next_wish(wish: Wish, code: int, *, wants_updates: bool) -> Wish | None:
    """Return what to ask for after a refusal with this status code; None when it was not about the filter."""
    if code not in _REFUSALS or wish is Wish.NOTHING:
        return None
    return Wish.UPDATES if wish is Wish.DEADBAND and wants_updates else Wish.NOTHING
