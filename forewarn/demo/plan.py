"""What the demo will show and when: pure arithmetic on the length asked for."""

from enum import StrEnum

import msgspec

from models.errors import ForewarnError

MINUTES_MIN, MINUTES_MAX = 1.0, 60.0
READY_S_EXPECTED = 10.0
HEALTHY_S = 30.0
WEAR_S = 64.0
CLOSING_S = 14.0
OUTAGE_S = 10.0


class Scenario(StrEnum):
    """What befalls the plant."""

    BEARING = "bearing"
    CAVITATION = "cavitation"
    MISALIGNMENT = "misalignment"
    STUCK_TAG = "stuck-tag"
    HEALTHY = "healthy"


class DemoRefused(ForewarnError):
    """The demo was asked for something that it cannot show."""

    exit_code = 3


class Fault(msgspec.Struct, frozen=True):
    """Which machine is struck, and what a person calls it while only the plant knows."""

    machine: str
    words: str
    wears: bool


FAULTS = {
    Scenario.BEARING: Fault("riverside/hall-1/water/pump-7", "the drive-end bearing begins to wear", True),
    Scenario.CAVITATION: Fault("riverside/hall-1/water/pump-7", "the pump begins to cavitate", True),
    Scenario.MISALIGNMENT: Fault("riverside/hall-1/water/motor-3", "the coupling loses its alignment", True),
    Scenario.STUCK_TAG: Fault("riverside/hall-1/water/pump-7", "a sensor freezes at its last value", False),
}


class Plan(msgspec.Struct, frozen=True):
    """Seconds after the start of the demo. `failure_s` is None where nothing fails."""

    scenario: Scenario
    fault: Fault | None
    onset_s: float | None
    failure_s: float | None
    outage_begins_s: float
    outage_ends_s: float
    end_s: float


def plan_demo(scenario: Scenario, minutes: float) -> Plan:
    """Return when what happens in a demo of `minutes`; raise `DemoRefused` for a length out of bounds.

    Two minutes or more: half a minute of health once everything is up, then about a minute of wear. A
    shorter demo shortens both alike. The broker's outage falls into the wear, after the warning is due.
    """
    if not MINUTES_MIN <= minutes <= MINUTES_MAX:
        raise DemoRefused(f"--minutes {minutes:g} is outside {MINUTES_MIN:g}..{MINUTES_MAX:g}")
    end = minutes * 60
    room = end - READY_S_EXPECTED - CLOSING_S
    share = min(1.0, room / (HEALTHY_S + WEAR_S))
    onset = READY_S_EXPECTED + HEALTHY_S * share
    failure = onset + WEAR_S * share
    outage = onset + WEAR_S * share / 2
    fault = FAULTS.get(scenario)
    return Plan(
        scenario=scenario,
        fault=fault,
        onset_s=onset if fault else None,
        failure_s=failure if fault and fault.wears else None,
        outage_begins_s=outage,
        outage_ends_s=outage + OUTAGE_S,
        end_s=end,
    )
