"""Our count of what was stored by machine and day: never more than the store has, usually exact."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.day_counts import DAY_NS, DayCounter, forget_days, list_days, note_check, record_days
from cloud.records import open_records
from cloud.stores import Block
from cloud.transactions import begin_write
from models.telemetry import Frame, MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
SECOND = 1_000_000_000


def block(first_s: float, rows: int, step_s: float = 1.0, tags: str = "a") -> Block:
    """Return rows of some tags."""
    times = [int((first_s + row * step_s) * SECOND) for row in range(rows)]
    return Block("telemetry", PUMP, [Frame(times, {tag: [1.0] * rows for tag in tags})])


def count(counter: DayCounter, *blocks: Block) -> tuple[int, int]:
    """Return (certain, uncertain) over all days."""
    found = counter.count(blocks).values()
    return sum(one.certain for one in found), sum(one.uncertain for one in found)


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 40), st.integers(1, 12), st.sampled_from([1, 20]), st.sampled_from(["a", "ab"])
            ),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_what_is_certain_is_in_the_store(writes: list[list[tuple[int, int, int, str]]]) -> None:
    """Whatever comes in whatever order: certain <= distinct instants <= certain + uncertain."""
    counter, stored, certain, uncertain = DayCounter(), set(), 0, 0
    for write in writes:
        blocks = [block(first, rows, step, tags) for first, rows, step, tags in write]
        stored |= {
            (tag, instant)
            for one in blocks
            for frame in one.frames
            for tag in frame.values
            for instant in frame.timestamps
        }
        more = count(counter, *blocks)
        certain, uncertain = certain + more[0], uncertain + more[1]
    assert certain <= len(stored) <= certain + uncertain


def test_live_values_and_a_backlog_behind_them_are_certain() -> None:
    """Live first, then what waited during an outage of two hours, in order, beside the live values."""
    counter = DayCounter()
    assert count(counter, block(0, 100, tags="ab")) == (200, 0)
    assert count(counter, block(7_300, 100)) == (100, 0)
    for part in range(60):
        assert count(counter, block(7_400 + part, 1), block(100 + part * 100, 100)) == (101, 0)


def test_slow_tags_beside_a_backlog_are_certain() -> None:
    """A value a minute opens no stretch that would close the gap of an outage."""
    counter = DayCounter()
    count(counter, block(0, 20, 60))
    count(counter, block(86_400, 1))
    for part in range(1, 300):
        assert count(counter, block(86_400 + part * 60, 1), block(1_200 + part * 60, 1)) == (2, 0)


def test_a_repeat_is_uncertain() -> None:
    """A server that says its last value again at a new connection does not make two of it."""
    counter = DayCounter()
    assert count(counter, block(0, 10)) == (10, 0)
    assert count(counter, block(9, 1)) == (0, 1)
    assert count(counter, block(10, 1)) == (1, 0)


def test_readings_without_a_number_do_not_count_and_days_are_told_apart() -> None:
    """A frame over midnight adds to both days."""
    times = [DAY_NS - 1, DAY_NS, DAY_NS + 1]
    found = DayCounter().count(
        [Block("telemetry", PUMP, [Frame(times, {"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]})])]
    )
    assert {day: (one.certain, one.last_ns) for (_, day), one in found.items()} == {
        0: (2, DAY_NS - 1),
        1: (3, DAY_NS + 1),
    }


def test_rows_add_up_and_a_restart_doubts_what_lies_before_it(tmp_path: Path) -> None:
    """What was recorded is found again; repeats of another ingester are uncertain; checks are kept."""
    engine = open_records(f"sqlite:///{tmp_path}/records.sqlite")
    counter = DayCounter()
    for first in (0, 100):
        with begin_write(engine) as connection:
            record_days(connection, counter.count([block(first, 100)]), 5)
    with begin_write(engine) as connection:
        record_days(connection, counter.count([block(200, 10)]), 6, repeats=True)
    (row,) = list_days(engine)
    assert (row.machine, row.day, row.certain, row.uncertain, row.changed_ns) == (str(PUMP), 0, 200, 10, 6)
    again = DayCounter()
    again.load(engine)
    assert count(again, block(150, 10)) == (0, 10)
    assert count(again, block(210, 10)) == (10, 0)
    assert note_check(engine, row, 199, 7).missing == 1
    assert [one.found for one in list_days(engine, stale_before=1)] == [199]
    note_check(engine, row, 210, 8)
    assert list_days(engine, stale_before=1) == []
    assert [one.found for one in list_days(engine)] == [210]
    with begin_write(engine) as connection:
        record_days(connection, counter.count([block(300, 1)]), 9)
    (late,) = list_days(engine, stale_before=1)
    assert (late.certain, late.found, late.missing) == (201, 210, 0)
    note_check(engine, late, 100, 8)
    assert list_days(engine)[0].missing == 0  # it was asked before the last value came
    assert note_check(engine, late, 100, 9).missing == 101
    forget_days(engine, 1)
    assert list_days(engine) == []
