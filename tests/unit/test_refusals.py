"""What a Modbus device refuses is explained with the likely mend, and asked again ever less often."""

import pytest

from edge.drivers.modbus.registers import RegisterType, Table, Wanted
from edge.drivers.probing import PROBE_DELAY_S, PROBE_DELAY_S_MAX, ProbeClock
from edge.drivers.refusals import SHORT_ANSWER, Meaning, choose_quality, explain_refusal, judge
from models.telemetry import quality


@pytest.mark.parametrize(
    ("table", "address", "kind", "code", "expected"),
    [
        (
            *("holding", 40_001, "float32", 2),
            "unit 1 answers exception 2 (illegal data address) to holding registers 40001..40002: addresses "
            "count from 0 here; if 40001 is the manual's number, write table: holding, address: 0 "
            "(that is 40001 - 40001)",
        ),
        (
            *("holding", 30_007, "uint16", 2),
            "unit 1 answers exception 2 (illegal data address) to holding register 30007: addresses "
            "count from 0 here; if 30007 is the manual's number, write table: input, address: 6 "
            "(that is 30007 - 30001)",
        ),
        (
            *("input", 5, "uint16", 2),
            "unit 1 answers exception 2 (illegal data address) to input register 5: check the manual; "
            "try table: holding, or address: 4 (manuals often count from 1)",
        ),
        (
            *("coil", 0, "bool", 2),
            "unit 1 answers exception 2 (illegal data address) to coil bit 0: check the manual; "
            "try table: discrete",
        ),
        (
            *("input", 5, "uint16", 1),
            "unit 1 answers exception 1 (illegal function) to input register 5: it has no such table; "
            "try table: holding",
        ),
    ],
)
def test_a_refusal_names_the_register_the_exception_and_the_mend(
    table: Table, address: int, kind: RegisterType, code: int, expected: str
) -> None:
    """Table and address as asked, the exception's name, and the usual mistake put right."""
    assert explain_refusal(Wanted("x", table, address, kind), 1, code) == expected


@pytest.mark.parametrize(
    ("code", "meaning", "status"),
    [
        (1, Meaning.TABLE, quality.BAD_NOT_SUPPORTED),
        (2, Meaning.ADDRESS, quality.BAD_CONFIGURATION_ERROR),
        (3, Meaning.ADDRESS, quality.BAD_OUT_OF_RANGE),
        (4, Meaning.ADDRESS, quality.BAD_DEVICE_FAILURE),
        (SHORT_ANSWER, Meaning.ADDRESS, quality.BAD_COMMUNICATION_ERROR),
        (6, Meaning.PASSING, quality.BAD_RESOURCE_UNAVAILABLE),
        (11, Meaning.UNREACHABLE, quality.BAD_COMMUNICATION_ERROR),
        (99, Meaning.PASSING, quality.BAD_COMMUNICATION_ERROR),
    ],
)
def test_every_exception_has_its_meaning_and_its_quality(code: int, meaning: Meaning, status: int) -> None:
    """What only the device can mend passes; what the settings must mend is looked for."""
    assert judge(code) is meaning
    assert choose_quality(code) == status


def test_probes_come_ever_less_often_and_start_anew_after_success() -> None:
    """10 s, 20 s, 40 s ... up to 2 min; beginning again while the clock runs changes nothing."""
    clock = ProbeClock()
    assert not clock.is_due(1e9)
    clock.begin(0.0)
    clock.begin(5.0)
    assert not clock.is_due(PROBE_DELAY_S - 0.1)
    assert clock.is_due(PROBE_DELAY_S)
    now_s, waits = PROBE_DELAY_S, []
    for _ in range(6):
        clock.back_off(now_s)
        wait_s = next(step for step in range(1, 1_000) if clock.is_due(now_s + step))
        waits.append(wait_s)
        now_s += wait_s
    assert waits == [20, 40, 80, 120, 120, PROBE_DELAY_S_MAX]
    clock.reset()
    assert not clock.is_due(1e9)
