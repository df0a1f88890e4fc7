"""Gaps: whatever happens between a machine and the disk, what is missing is covered, and nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.outbox.stored import Coverage
from edge.polling import gaps as module
from edge.polling.collector import Collector
from edge.polling.gaps import NS_PER_S, MachineGaps, Pace
from models.telemetry import Frame, Gap, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
NOW = 1_795_337_912 * NS_PER_S
Point = tuple[str, int]


class Plant:
    """A machine of two tags whose clock is the gateway's, a gateway that dies, and what its disk has."""

    def __init__(self) -> None:
        self.now_ns = NOW
        self.issued: list[Point] = []
        self.stored: set[Point] = set()
        self.gaps: dict[tuple[int, str, tuple[str, ...]], Gap] = {}
        self.reached: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """Begin to run, with what the disk says."""
        self.collector = Collector(12, lambda: (self.now_ns, self.now_ns - NOW + NS_PER_S))
        self.collector.gaps.load(self.reached)
        self.reached |= self.collector.expect([PUMP]).reached
        self.collector.begin(PUMP, Pace())
        self.is_connected = False

    def issue(self) -> list[Frame]:
        """The machine hands out its next values."""
        frames = [
            Frame([self.now_ns], {"a": [1.0]}),
            Frame([self.now_ns + 10, self.now_ns + 20], {"b": [1.0, 2.0]}),
        ]
        self.issued += [
            (tag, at) for frame in frames for tag, column in frame.values.items() for at in frame.timestamps
        ]
        return frames

    def act(self, what: str) -> None:
        """One thing happens, a second after the one before."""
        self.now_ns += NS_PER_S
        if what == "poll":
            if not self.is_connected:
                self.collector.connect(PUMP)
                self.is_connected = True
            self.collector.add(PUMP, self.issue())
        elif what == "fail":
            self.issue()
            self.is_connected = False
            self.collector.lose(PUMP, "connection_lost", "no answer")
        elif what == "kill":
            self.start()
        elif what == "wait":
            self.now_ns += 20 * NS_PER_S
        elif what == "late" and self.is_connected:
            self.now_ns += 3 * NS_PER_S
            self.collector.add(PUMP, self.issue())
            self.collector.miss(PUMP, 3, 1.0)
        else:
            self.flush(works=what != "refuse", at_end=what == "stop")
            if what == "stop":
                self.start()

    def flush(self, *, works: bool = True, at_end: bool = False) -> None:
        """Commit what is collected, or not."""
        taken = self.collector.take()
        coverage = self.collector.take_coverage(with_frames=bool(taken), at_end=at_end) or Coverage()
        if not works:
            self.now_ns += NS_PER_S
            self.collector.add(PUMP, self.issue() if self.is_connected else [])
            self.collector.give_back(taken)
            return
        self.reached |= coverage.reached
        for _, frames in taken:
            for frame in frames:
                self.stored |= {(tag, at) for tag in frame.values for at in frame.timestamps}
        for gap in (gap for _, gaps in coverage.gaps for gap in gaps):
            self.gaps[gap.first, gap.reason, tuple(gap.tags)] = gap
        self.collector.settle()

    def covering(self, tag: str, at: int) -> list[Gap]:
        """Return the gaps that say that this value was not acquired."""
        return [gap for gap in self.gaps.values() if gap.first < at < gap.last and tag in (gap.tags or "ab")]


ACTS = st.sampled_from(
    ["poll", "poll", "poll", "fail", "flush", "flush", "refuse", "kill", "stop", "wait", "late"]
)


@given(st.lists(ACTS, max_size=40))
@example(["poll", "refuse", "refuse", "refuse", "refuse", "poll", "flush"])
@example(["poll", "flush", "fail", "wait", "flush", "wait", "flush", "kill", "fail", "poll"])
@example(["poll", "flush", "poll", "kill", "poll", "late", "fail", "stop", "wait", "poll"])
def test_what_was_not_acquired_is_covered_and_nothing_else(acts: list[str]) -> None:
    """Losses, kills, stops, refusing disks, full memory: each missing value lies in a gap, no stored one."""
    plant = Plant()
    for what in acts:
        plant.act(what)
    plant.act("poll")
    plant.flush()
    for tag, at in plant.issued:
        if (tag, at) in plant.stored:
            assert plant.covering(tag, at) == [], f"{tag} at {at - NOW} is stored, and called missing"
        else:
            assert plant.covering(tag, at), f"{tag} at {at - NOW} is missing, and no gap says so"


def make_gaps(reached_ns: int = 0, pace: Pace | None = None) -> MachineGaps:
    """Return the book of a machine that was acquired up to `reached_ns`."""
    book = MachineGaps(NOW, 0, reached_ns, pace)
    book.connect(0)
    return book


def frame(at_s: float, *tags: str) -> Frame:
    """Return one row."""
    return Frame([NOW + round(at_s * NS_PER_S)], {tag: [1.0] for tag in tags or ("a",)})


def spans(gaps: list[Gap]) -> list[tuple[float, float, str, list[str]]]:
    """Return gaps in seconds after `NOW`."""
    return [((gap.first - NOW) / NS_PER_S, (gap.last - NOW) / NS_PER_S, gap.reason, gap.tags) for gap in gaps]


def at(book: MachineGaps, second: float, *frames: Frame) -> list[Gap]:
    """Let frames, or silence, come at a second; return what is recorded."""
    now_ns = NOW + round(second * NS_PER_S)
    book.begin_round()
    if frames:
        book.admit(frames, now_ns, now_ns - NOW)
    else:
        book.hear(now_ns, now_ns - NOW)
    book.end_round()
    return book.take()


def test_a_lost_link_is_one_gap_from_the_last_timestamp_to_the_first_new_one() -> None:
    """Its reason is what lasted longest, its words hold all that was said."""
    book = make_gaps()
    assert at(book, 1, frame(1)) == []
    book.lose("connection_lost", "cable pulled", 2 * NS_PER_S)
    book.lose("polling_stopped", "the outbox is full", 3 * NS_PER_S)
    book.connect(60 * NS_PER_S)
    (gap,) = at(book, 60, frame(60))
    assert spans([gap]) == [(1, 60, "polling_stopped", [])]
    assert gap.detail == "the outbox is full; also: cable pulled"
    assert at(book, 61, frame(61)) == []
    assert book.take_ended() == [gap]


def test_tags_that_come_back_later_have_gaps_of_their_own() -> None:
    """A subscription's slower tags were away for longer."""
    book = make_gaps()
    at(book, 1, frame(1, "a", "b", "c"))
    book.lose("connection_lost", "gone", 2 * NS_PER_S)
    assert spans(at(book, 60, frame(60, "a"))) == [(1, 60, "connection_lost", [])]
    assert spans(at(book, 63, frame(63, "a", "b"))) == [(1, 63, "connection_lost", ["b"])]
    assert at(book, 90, frame(90, "c")) == [], "whoever is silent for so long had nothing new"


def test_news_of_slow_tags_may_be_lost_on_their_way() -> None:
    """With differing intervals a slow tag's gap begins at its own last value, but not long before."""
    book = make_gaps(pace=Pace(lag_ns=10 * NS_PER_S))
    at(book, 1, frame(1, "old"))
    at(book, 95, frame(95, "slow"))
    at(book, 100, frame(100, "fast"))
    book.lose("connection_lost", "gone", 101 * NS_PER_S)
    assert sorted(spans(at(book, 130, frame(130, "fast")))) == [
        (90, 130, "connection_lost", ["old"]),
        (95, 130, "connection_lost", ["slow"]),
        (100, 130, "connection_lost", []),
    ]


def test_silence_is_no_gap() -> None:
    """A subscription without news is acquired up to a moment ago; a loss later begins there."""
    book = make_gaps()
    at(book, 1, frame(1))
    for second in range(2, 500):
        assert at(book, second) == []
    book.lose("connection_lost", "gone", 500 * NS_PER_S)
    book.connect(600 * NS_PER_S)
    assert at(book, 601) == []
    (gap,) = at(book, 620)
    assert spans([gap]) == [(497, 600, "connection_lost", [])]
    assert at(book, 9_000, frame(8_999)) == [], "it had nothing to say until then"


def test_silence_without_a_sign_of_life_proves_nothing() -> None:
    """A cable that was pulled is silent, too: the gap begins where the machine was last heard."""
    book = make_gaps()
    at(book, 1, frame(1))
    for second in range(2, 60):
        book.hear(NOW + second * NS_PER_S, second * NS_PER_S, max(0, second - 30) * NS_PER_S)
    book.lose("connection_lost", "silent for 30 s", 60 * NS_PER_S)
    assert spans(at(book, 90, frame(90))) == [(28, 90, "connection_lost", [])]


def test_silence_is_not_trusted_beyond_the_next_news() -> None:
    """A gateway's clock that is set ahead in a silence does not hide what is lost after it."""
    book = make_gaps()
    at(book, 1, frame(1))
    at(book, 2_000)
    assert book.reached_ns > NOW + 1_900 * NS_PER_S
    at(book, 2_001, frame(20))
    book.lose("connection_lost", "gone", 21 * NS_PER_S)
    assert spans(at(book, 2_050, frame(60))) == [(20, 60, "connection_lost", [])]


def test_an_open_gap_grows_on_record() -> None:
    """What never ends is recorded, too: again and again under the same beginning; the end replaces it."""
    book = make_gaps()
    at(book, 1, frame(1))
    book.lose("connection_lost", "gone", 2 * NS_PER_S)
    told: list[Gap] = []
    for second in range(2, 3_602):
        book.grow(NOW + second * NS_PER_S, second * NS_PER_S)
        told += book.take()
    assert {(gap.first, gap.reason) for gap in told} == {(NOW + NS_PER_S, "connection_lost")}
    assert [round((gap.last - NOW) / NS_PER_S) - 2 for gap in told][:4] == [15, 30, 60, 120]
    assert len(told) <= 14
    book.grow(NOW + 4_000 * NS_PER_S, 4_000 * NS_PER_S, at_once=True)
    assert spans(book.take()) == [(1, 4_000, "connection_lost", [])]
    assert book.reached_ns == NOW + 4_000 * NS_PER_S - 1, "the next start goes on from here"
    book.lose("polling_stopped", "full", 4_001 * NS_PER_S)
    assert spans(at(book, 9_000, frame(9_000))) == [(1, 9_000, "connection_lost", [])]


def test_missed_polls_lie_around_the_late_one() -> None:
    """The value that came late is no part of the gaps."""
    book = make_gaps()
    at(book, 0, frame(0.001))
    at(book, 3.5, frame(1.75))
    book.miss(2, NS_PER_S)
    assert spans(at(book, 3.6, frame(3.5))) == [
        (0.001, 1.75, "cycles_missed", []),
        (1.75, 3.5, "cycles_missed", []),
    ]


def test_a_machine_that_never_answered_is_missing_since_it_should_have() -> None:
    """From the moment when the gateway first wanted to read it."""
    book = MachineGaps(NOW, 0)
    book.lose("connection_lost", "refused", NS_PER_S)
    assert spans(at(book, 60, frame(60))) == [(0, 60, "connection_lost", [])]


def test_a_clock_that_was_ahead_does_not_hide_a_gap() -> None:
    """A last timestamp of the far future counts for nothing: the steady clock says when that value came."""
    book = make_gaps()
    at(book, 1, frame(3_601))
    book.lose("connection_lost", "gone", 2 * NS_PER_S)
    ((first, last, reason, _),) = spans(at(book, 42, frame(42)))
    assert (round(first), last, reason) == (1, 42, "connection_lost")
    assert book.reached_ns == NOW + 42 * NS_PER_S


def test_what_waits_for_the_clock_is_no_part_of_the_gap() -> None:
    """Values that are held until the clock is set end the gap when they were read."""
    book = MachineGaps(0, 0, NOW)
    book.lose("gateway_down", "not running", 0)
    book.hold(5 * NS_PER_S, 6 * NS_PER_S)
    book.believe(NOW + 100 * NS_PER_S, 100 * NS_PER_S)
    assert spans(at(book, 100, frame(100))) == [(0, 4.999, "gateway_down", [])]
    assert book.reached_ns == NOW + 100 * NS_PER_S


def test_too_many_kinds_of_gaps_become_fewer_that_cover_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of gaps of one return is bounded, and every tag stays covered."""
    monkeypatch.setattr(module, "GROUPS_MAX", 5)
    book = make_gaps()
    at(book, 1, frame(1, *(f"t{n}" for n in range(100))))
    book.lose("connection_lost", "gone", 2 * NS_PER_S)
    found = at(book, 61, *(frame(60 + n / 200, f"t{n}") for n in range(100)))
    assert len(found) <= 6
    for n in range(100):
        told = [gap for gap in found if not gap.tags or f"t{n}" in gap.tags]
        assert max(gap.last for gap in told) >= NOW + round((60 + n / 200) * NS_PER_S)
