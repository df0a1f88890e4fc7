"""The judge of the custody tests, judged: it finds each kind of loss, and nothing where nothing is."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.telemetry import Gap
from tests.custody.reconcile import Row, reconcile
from tests.custody.truth import Issue, make_path, read_issues, value_of

PUMP = str(make_path(1, "modbus", 3))
S = 1_000_000_000
ISSUED = [Issue(PUMP, number, number * S) for number in range(1, 11)]
ACCEPTED = [(PUMP, number) for number in range(1, 11)]
ROWS = [Row(PUMP, issue.at_ns, float(issue.number), value_of(PUMP, issue.number)) for issue in ISSUED]


def test_all_there_is_clean() -> None:
    """Every number once, with its own reading."""
    verdict = reconcile(ISSUED, ACCEPTED, ROWS, [], 0)
    assert verdict.is_clean
    assert (verdict.issued, verdict.accepted, verdict.stored) == (10, 10, 10)


@given(st.sets(st.sampled_from(range(10)), min_size=1))
def test_what_was_accepted_and_is_not_stored_is_lost(gone: set[int]) -> None:
    """A gap does not excuse it: the outbox had it."""
    left = [row for index, row in enumerate(ROWS) if index not in gone]
    verdict = reconcile(ISSUED, ACCEPTED, left, [(PUMP, Gap(0, 100 * S, "gateway_down"))], 0)
    assert verdict.missing == len(gone)
    assert not verdict.is_clean


def test_what_was_never_acquired_needs_a_gap() -> None:
    """Numbers 4, 5 and 8 were read by nobody; the recorded gap covers the first two."""
    known = [ROWS[index] for index in (0, 1, 2, 5, 6, 8, 9)]
    accepted = [(PUMP, int(row.number or 0)) for row in known]
    verdict = reconcile(ISSUED, accepted, known, [(PUMP, Gap(3 * S, 6 * S, "connection_lost"))], 0)
    assert (verdict.missing, verdict.covered, verdict.uncovered) == (0, 2, 1)
    assert verdict.examples["uncovered"] == [str(ISSUED[7])]


def test_a_gap_of_another_machine_covers_nothing() -> None:
    """Gaps are a machine's own."""
    other = str(make_path(1, "modbus", 4))
    verdict = reconcile(ISSUED, ACCEPTED[:9], ROWS[:9], [(other, Gap(0, 100 * S, "overflow"))], 0)
    assert verdict.uncovered == 1


@pytest.mark.parametrize(
    ("fate", "row"),
    [
        ("twice", msgspec.structs.replace(ROWS[4], at_ns=ROWS[4].at_ns + 1)),
        ("never_issued", Row(PUMP, 77 * S, 77.0, value_of(PUMP, 77))),
        ("wrong_value", Row(PUMP, 78 * S, None, 3.5)),
    ],
)
def test_what_should_not_be_there_is_found(fate: str, row: Row) -> None:
    """Twice, invented, or half."""
    verdict = reconcile(ISSUED, ACCEPTED, [*ROWS, row], [], 0)
    assert getattr(verdict, fate) == 1
    assert not verdict.is_clean


def test_a_value_that_is_another_number_s_is_found() -> None:
    """Values mixed up between two instants."""
    mixed = [*ROWS[:4], msgspec.structs.replace(ROWS[4], reading=ROWS[5].reading), *ROWS[5:]]
    assert reconcile(ISSUED, ACCEPTED, mixed, [], 0).wrong_value == 1


def test_what_came_while_the_judge_was_reading_is_neither_lost_nor_invented() -> None:
    """It may be stored, and need not be."""
    verdict = reconcile(ISSUED[:8], ACCEPTED[:8], ROWS[:9], [], 0, ISSUED[8:])
    assert verdict.is_clean


def test_half_a_line_at_the_end_of_the_log_is_no_issue() -> None:
    """The log is read while it is written."""
    assert read_issues(f"{PUMP} 1 1000\n{PUMP} 2 20") == [Issue(PUMP, 1, 1000)]
