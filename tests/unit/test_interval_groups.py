"""Tags with intervals of their own: who is read when, over one connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers import NotConnected
from edge.drivers.interval_groups import IntervalGroups, group_tags
from edge.drivers.modbus.plan import plan_requests
from edge.drivers.modbus.settings import ModbusMachineSettings
from forewarn.commands.edge_plan import describe_plan
from models.telemetry import Frame


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def read(self) -> float:
        """Return the time."""
        return self.now_s


class Group:
    """A driver that notes when it is read."""

    def __init__(self, clock: Clock, interval_s: float, *, dead: bool = False) -> None:
        self.interval_s: float | None = interval_s
        self.reads: list[float] = []
        self.is_open = False
        self._clock = clock
        self._dead = dead

    async def connect(self) -> None:
        """Open, or refuse."""
        if self._dead:
            raise NotConnected("nobody there")
        self.is_open = True

    async def read(self) -> list[Frame]:
        """Return one frame that names the group."""
        self.reads.append(self._clock.now_s)
        return [Frame([len(self.reads)], {str(self.interval_s): [1.0]})]

    async def close(self) -> None:
        """Close."""
        self.is_open = False


def make_machine(*intervals: float | None) -> ModbusMachineSettings:
    """Return a Modbus machine with one tag per interval."""
    tags = [
        {"name": f"t{place}", "table": "holding", "address": place, "type": "uint16", "interval_s": interval}
        for place, interval in enumerate(intervals)
    ]
    said = {"kind": "modbus", "path": "a/b/c/d", "host": "127.0.0.1", "interval_s": 2, "tags": tags}
    return ModbusMachineSettings.model_validate(said)


def test_tags_are_grouped_by_their_interval() -> None:
    """Without one a tag has the machine's; the order of equal ones stays."""
    machine = make_machine(None, 10, 0.5, 2, 10)
    groups = group_tags(machine.tags, machine.interval_s)
    assert [(interval, [tag.name for tag in tags]) for interval, tags in groups] == [
        (0.5, ["t2"]),
        (2, ["t0", "t3"]),
        (10, ["t1", "t4"]),
    ]


def test_one_interval_is_one_plain_driver() -> None:
    """Nothing stands between poller and driver where it is not needed; its interval is the tags'."""
    assert not isinstance(make_machine(None, 2).build(), IntervalGroups)
    alone = make_machine(5, 5).build()
    assert (alone.interval_s, isinstance(alone, IntervalGroups)) == (5, False)
    assert make_machine(None, 10).build().interval_s == 2


def test_the_plan_shows_the_requests_of_each_interval() -> None:
    """Tags of unequal intervals share no request, and the plan says how often each goes out."""
    requests = plan_requests(make_machine(None, 10, None))
    assert [(one.interval_s, one.tags) for one in requests] == [(2, ("t0", "t2")), (10, ("t1",))]
    lines = describe_plan(requests).splitlines()
    assert [line.rpartition("  ")[2] for line in lines[1:3]] == ["every 2 s", "every 10 s"]
    assert "every" not in describe_plan(plan_requests(make_machine(None, None)))


async def test_each_group_is_read_at_its_own_pace() -> None:
    """All at first; then the beat reads the fast ones, and every tenth beat the slow ones."""
    clock = Clock()
    slow, fast = Group(clock, 10), Group(clock, 1)
    both = IntervalGroups([(10, slow), (1, fast)], clock.read)
    assert both.interval_s == 1
    await both.connect()
    for _ in range(31):
        await both.read()
        clock.now_s += 1
    assert len(fast.reads) == 31
    assert slow.reads == [1_000.0, 1_010.0, 1_020.0, 1_030.0]


@given(st.floats(1, 7), st.lists(st.floats(0.9, 1.3), min_size=200, max_size=200))
async def test_a_slow_group_keeps_its_pace_on_an_uneven_beat(interval_s: float, steps: list[float]) -> None:
    """Whatever the beat does, reads of the slow group are as many as its interval asks for."""
    clock = Clock()
    slow, fast = Group(clock, interval_s), Group(clock, 1)
    both = IntervalGroups([(1, fast), (interval_s, slow)], clock.read)
    await both.connect()
    for step in steps:
        await both.read()
        clock.now_s += step
    expected = (clock.now_s - 1_000) / interval_s
    assert len(slow.reads) <= expected + 2
    # A beat that comes later than the interval itself cannot be made up for.
    assert len(slow.reads) >= min(expected, len(steps) / max(1.0, interval_s)) - 2


async def test_after_a_pause_nothing_is_made_up_for() -> None:
    """An hour without a read is one read late, not sixty in a row."""
    clock = Clock()
    slow, fast = Group(clock, 60), Group(clock, 1)
    both = IntervalGroups([(1, fast), (60, slow)], clock.read)
    await both.connect()
    await both.read()
    clock.now_s += 3_600
    for _ in range(30):
        await both.read()
        clock.now_s += 1
    assert slow.reads == [1_000.0, 4_600.0]


async def test_a_group_that_cannot_connect_is_the_machines_loss() -> None:
    """The error goes to the poller, whose close closes all; after the next connect all are read at once."""
    clock = Clock()
    fast, dead = Group(clock, 1), Group(clock, 5, dead=True)
    both = IntervalGroups([(1, fast), (5, dead)], clock.read)
    with pytest.raises(NotConnected):
        await both.connect()
    await both.close()
    assert not fast.is_open
    dead._dead = False
    await both.connect()
    frames = await both.read()
    assert [list(frame.values) for frame in frames] == [["1"], ["5"]]
