"""Gaps that wait to be filled from a machine's history: in order, few, each counted as far as it came."""

import asyncio

from structlog.testing import capture_logs

from edge.polling.collector import Collector
from edge.polling.gaps import NS_PER_S, Pace
from edge.polling.history import FILLS_WAITING_MAX, HISTORY_S_MAX, HistoryFiller
from models.telemetry import Frame, Gap, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
NOW = 1_795_337_912 * NS_PER_S


class Machine:
    """Remembers one value in each page, and is slow with the second page it is asked for."""

    interval_s = 1.0

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.may_answer = asyncio.Event()

    async def connect(self) -> None:
        """It is there."""

    async def read(self) -> list[Frame]:
        """Say nothing new."""
        return []

    async def close(self) -> None:
        """It stays there."""

    async def read_history(self, first_ns: int, last_ns: int) -> list[Frame]:
        """Return one value of the span."""
        self.asked.append(first_ns)
        if len(self.asked) == 2:
            await self.may_answer.wait()
        return [Frame([first_ns + 1], {"flow": [1.0]})]


class Gateway:
    """Loses the machine again and again, for 70 s each time: a gap of two pages."""

    def __init__(self) -> None:
        self.now_ns = NOW
        self.lost: list[int] = []
        self.machine = Machine()
        self.collector = Collector(read_clocks=lambda: (self.now_ns, self.now_ns - NOW + NS_PER_S))
        self.collector.begin(PUMP, Pace())
        self.filler = HistoryFiller(PUMP, self.machine, self.collector, HISTORY_S_MAX)

    def lose(self) -> None:
        """A value, a loss, a value."""
        self.lost.append(self.now_ns)
        self.collector.add(PUMP, [Frame([self.now_ns], {"flow": [1.0]})])
        self.collector.lose(PUMP, "connection_lost", "gone")
        self.now_ns += 70 * NS_PER_S
        self.collector.connect(PUMP)
        self.collector.add(PUMP, [Frame([self.now_ns], {"flow": [1.0]})])
        self.now_ns += NS_PER_S
        self.filler.look()

    async def asks(self, count: int) -> None:
        """Wait until the machine was asked so often."""
        async with asyncio.timeout(30):
            while len(self.machine.asked) < count:
                await asyncio.sleep(0.01)

    def take_filled(self) -> list[Gap]:
        """Return the gaps that were recorded with values that came back."""
        coverage = self.collector.take_coverage(with_frames=True)
        assert coverage is not None
        return [gap for _, gaps in coverage.gaps for gap in gaps if gap.filled]


async def test_of_too_many_gaps_the_oldest_that_wait_are_left_and_said() -> None:
    """The one that is being filled goes on; every other has its turn, and each value counts in its gap."""
    gateway = Gateway()
    with capture_logs() as said:
        async with gateway.filler.running():
            gateway.lose()
            await gateway.asks(2)
            for _ in range(FILLS_WAITING_MAX + 3):
                gateway.lose()
            gateway.machine.may_answer.set()
            await gateway.asks(2 + FILLS_WAITING_MAX)
    assert [line["event"] for line in said].count("history_left") == 3
    left = gateway.lost[1:4]
    assert [first for first in gateway.lost if first not in gateway.machine.asked] == left
    filled = {gap.first: gap.filled for gap in gateway.take_filled()}
    assert sum(filled.values()) == gateway.filler.values_total
    assert filled[gateway.lost[0]] == 2


async def test_a_gap_goes_on_where_the_connection_ended() -> None:
    """What it has is recorded at the loss; the next connection asks for the rest, before the newer gap."""
    gateway = Gateway()
    async with gateway.filler.running():
        gateway.lose()
        await gateway.asks(2)
        gateway.lose()
    (part,) = gateway.take_filled()
    assert (part.first, part.filled) == (gateway.lost[0], 1)
    async with gateway.filler.running():
        await gateway.asks(4)
    assert gateway.machine.asked[1] == gateway.machine.asked[2] > gateway.lost[0]
    assert gateway.machine.asked[3] == gateway.lost[1]
    assert {gap.first: gap.filled for gap in gateway.take_filled()}[gateway.lost[0]] == 2
