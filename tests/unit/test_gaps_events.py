"""Whatever happens, in any order: each instant is acquired or in a gap, and no gap is where values are."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.polling.gaps import NS_PER_S
from edge.polling.poller import Schedule
from models.telemetry import Frame, Gap
from tests.unit.gaps_rig import NOW, PUMP, Gateway, list_covered

PACE_NS = 2_600_000_000
"""Nothing is said to be missing of a machine read each second while its values are closer than this."""


class History:
    """A gateway to which one thing after the other happens; counts the polls that fell out."""

    def __init__(
        self,
        *,
        is_synchronised: bool | None = None,
        values_max: int = 10_000,
        machine_ns: int | None = None,
    ) -> None:
        self.gateway = Gateway(is_synchronised=is_synchronised, values_max=values_max, machine_ns=machine_ns)
        self.is_connected = False
        self.schedule = Schedule(0.0, 1.0)
        self.due = 0.0
        self.missed = 0

    def act(self, what: str) -> None:
        """One thing happens; it takes a second or more."""
        gateway = self.gateway
        if what in ("poll", "late", "quiet"):
            self._read(what)
        elif what == "lose":
            gateway.wait(1)
            gateway.lose()
            self.is_connected = False
        elif what == "wait":
            self.act("lose")
            gateway.wait(40)
        elif what == "reload":
            gateway.collector.end(PUMP)
            gateway.wait(3)
            gateway.begin()
            self.is_connected = False
        elif what in ("kill", "stop"):
            if what == "stop":
                gateway.flush(at_end=True)
            gateway.wait(5)
            gateway.start()
            self.is_connected = False
        elif what == "refuse":
            gateway.refuse()
        elif what == "flush":
            gateway.flush()
        else:
            gateway.set_clock(float(what))

    def _read(self, what: str) -> None:
        """Read when it is due, as the poller does."""
        gateway = self.gateway
        if not self.is_connected:
            gateway.connect()
            self.is_connected, self.due = True, gateway.second
            self.schedule = Schedule(gateway.second, 1.0)
            what = "poll" if what == "quiet" else what  # after a loss everything is reported
        gateway.wait(max(0.0, self.due - gateway.second))
        if what == "quiet":
            gateway.read_nothing_new(0.01)
        else:
            gateway.poll(3.51 if what == "late" else 0.01)
        wait_s, missed = self.schedule.next(gateway.second)
        self.due = gateway.second + wait_s
        if missed:
            gateway.collector.miss(PUMP, missed, 1.0)
            self.missed += missed


def find_holes(gateway: Gateway) -> list[tuple[float, float]]:
    """Return from when to when, in seconds, there is neither a value nor a gap for longer than the pace."""
    spans = [(at, at) for at in gateway.taken] + [(gap.first, gap.last) for gap in gateway.list_known()]
    holes, end = [], 0
    for first, last in sorted(spans):
        if end and first - end > PACE_NS:
            holes.append(((end - min(gateway.taken)) / NS_PER_S, (first - min(gateway.taken)) / NS_PER_S))
        end = max(end, last)
    return holes


def find_overlaps(gaps: list[Gap]) -> list[tuple[Gap, Gap]]:
    """Return which gaps have an instant in common."""
    ordered = sorted(gaps, key=lambda gap: (gap.first, gap.last))
    return [
        (one, other)
        for at, one in enumerate(ordered)
        for other in ordered[at + 1 :]
        if min(one.last, other.last) - max(one.first, other.first) > 1
    ]


EVENTS = ["poll"] * 4 + [
    "late",
    "quiet",
    "lose",
    "wait",
    "flush",
    "flush",
    "refuse",
    "kill",
    "stop",
    "reload",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
@example(["poll", "late", "lose", "late", "poll", "flush", "late", "kill", "late", "quiet", "poll"])
@example(["poll", "late", "reload", "late", "poll", "wait", "flush", "wait", "flush", "reload", "poll"])
def test_each_instant_is_acquired_or_in_one_gap(acts: list[str]) -> None:
    """Reads, slow and without news, losses, refusing disks, kills, ends, new settings, in any order."""
    history = History()
    for what in ["poll", *acts, "poll", "poll", "flush"]:
        history.act(what)
    gateway = history.gateway
    assert list_covered(gateway) == []
    assert find_overlaps(gateway.list_known()) == []
    if "quiet" not in acts:  # of what is not reported nothing is stored
        assert find_holes(gateway) == []


@given(st.lists(st.sampled_from(["poll", "late", "lose", "refuse", "flush"]), max_size=40))
def test_values_that_memory_had_no_room_for_are_counted(acts: list[str]) -> None:
    """A dozen values at most: what is not stored at the end lies in gaps that have its number."""
    history = History(values_max=12)
    for what in ["poll", *acts, *["poll"] * 30, "refuse", "poll", "flush"]:
        history.act(what)
    gateway = history.gateway
    full = [gap for gap in gateway.list_known() if gap.reason == "memory_full"]
    assert sum(gap.values or 0 for gap in full) == gateway.collector.values_dropped_total > 0
    assert list_covered(gateway) == []
    assert find_holes(gateway) == []


def test_remembered_values_that_memory_had_no_room_for_lie_in_their_own_gap() -> None:
    """What fills a gap of ten minutes ago and what is new are dropped together: what is stored is between."""
    gateway = Gateway(values_max=4)
    gateway.poll(0.01)
    gateway.flush()
    gateway.lose()
    gateway.wait(600)
    gateway.connect()
    remembered = gateway.read_clocks()[0] - 300 * NS_PER_S
    for _ in range(20):
        gateway.wait(1)
        gateway.poll(0.01)
        gateway.flush()
    gateway.collector.add_late(PUMP, [Frame([remembered], {"a": [1.0]})])
    for _ in range(8):
        gateway.wait(1)
        gateway.poll(0.01)
        gateway.refuse()
    gateway.flush()
    full = [gap for gap in gateway.list_known() if gap.reason == "memory_full"]
    assert sum(gap.values or 0 for gap in full) == gateway.collector.values_dropped_total == 5
    assert any(gap.first < remembered < gap.last for gap in full)
    assert list_covered(gateway) == []


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["poll"] * 4 + ["late", "lose", "wait", "flush", "refuse", "reload", "doubt"]))
)
@example(["doubt", "late", "late", "doubt", "late", "poll"])
@example(["doubt", "poll", "lose", "poll", "wait", "poll", "doubt", "poll"])
@example(["poll", "wait", "doubt", "poll", "late", "lose", "doubt", "flush", "poll"])
@example(["doubt", "poll", "reload", "poll", "doubt", "poll"])
@example(["lose", "doubt", "reload"])
@example(["doubt", "poll", "reload", "doubt", "flush", "poll"])
def test_while_the_clock_is_doubted_each_instant_is_acquired_or_in_one_gap(acts: list[str]) -> None:
    """It is wrong by an hour, and right again: what waits, and what is missing, gets its true time."""
    history, is_wrong = History(), False
    for what in ["poll", *acts, "poll", "poll", "flush"]:
        if what == "doubt":
            is_wrong = not is_wrong
        history.act(("-3600" if is_wrong else "3600") if what == "doubt" else what)
    gateway = history.gateway
    if is_wrong:
        gateway.set_clock(3600)
    for what in ("poll", "poll", "flush"):
        history.act(what)
    assert find_holes(gateway) == []
    assert list_covered(gateway) == []
    assert find_overlaps(gateway.list_known()) == []


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["poll"] * 4 + ["late", "lose", "wait", "flush", "refuse", "step"])),
    st.sampled_from([-3600, 3600, -1_000_000_000]),
)
def test_a_gateways_clock_is_nothing_to_a_machine_with_its_own(acts: list[str], by_s: int) -> None:
    """It is wrong by an hour or decades, and right again: no instant is forgotten or told twice."""
    history, is_wrong = History(machine_ns=NOW - 100 * NS_PER_S), False
    for what in ["poll", *acts, "poll", "poll", "flush"]:
        if what == "step":
            is_wrong = not is_wrong
        history.act(str(by_s if is_wrong else -by_s) if what == "step" else what)
    gateway = history.gateway
    if is_wrong:
        gateway.set_clock(-by_s)
    for what in ("poll", "poll", "flush"):
        history.act(what)
    assert find_holes(gateway) == []
    assert list_covered(gateway) == []
    assert find_overlaps(gateway.list_known()) == []


STEPS = ["0.05", "-0.05", "3600", "-3600", "30"]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["poll"] * 4 + ["late", "lose", "wait", "flush", *STEPS]), max_size=40),
    st.sampled_from([True, None]),
)
@example(["-3600", "poll", "late", "poll", "3600"], None)
@example(["3600", "late", "poll", "-3600", "late", "poll"], True)
@example(["-3600", "poll", "lose", "poll", "wait", "poll", "3600", "poll"], None)
def test_gaps_last_as_long_as_by_the_steady_clock(acts: list[str], is_synchronised: bool | None) -> None:
    """The wall clock is set while the machine is read, or is doubted: missed polls last as they did."""
    history = History(is_synchronised=is_synchronised)
    gateway = history.gateway
    for what in ["poll", *acts, "poll", "poll"]:
        if what not in STEPS or history.is_connected:  # set during a loss it makes that longer or shorter
            history.act(what)
    # At the latest after this long any clock is believed.
    for _ in range(2):
        gateway.wait(700)
        gateway.lose()
        gateway.flush()
    told = sum(int(gap.detail.split()[0]) for gap in gateway.list_known() if gap.reason == "cycles_missed")
    assert told <= history.missed
    for gap in gateway.list_known():
        if gap.reason == "cycles_missed":
            length_s = (gap.last - gap.first) / NS_PER_S
            cycles = int(gap.detail.split()[0])
            assert cycles - 0.6 <= length_s <= cycles + 2.6, gap
