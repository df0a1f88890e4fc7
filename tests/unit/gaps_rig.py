"""A gateway of one machine whose two clocks a test moves: a wall clock that is set, and a steady one."""

from edge.polling.clock import Timeline
from edge.polling.clock_doubt import ClockJudge
from edge.polling.clock_keeper import ClockKeeper
from edge.polling.collector import Collector
from edge.polling.gaps import NS_PER_S, Pace
from models.telemetry import Frame, Gap, GapReason, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
NOW = 1_795_337_912 * NS_PER_S


class Gateway:
    """Its machine is stamped by the wall clock, as Modbus is; seconds are those of the steady clock.

    `taken` are the timestamps that were acquired, in order; `gaps` what was recorded, `reached` how far it
    was. Nothing of that is forgotten by a new start. A disk that keeps values for the clock is not there:
    they wait in memory, for at most `values_max` values. With `machine_ns` the machine has a clock of its
    own, which shows so much more than the steady one and is never set.
    """

    def __init__(
        self,
        *,
        wall_ns: int = NOW,
        reached_ns: int = 0,
        is_synchronised: bool | None = None,
        values_max: int = 10_000,
        machine_ns: int | None = None,
    ) -> None:
        self.second = 100.0
        self.wall_ns = wall_ns - 100 * NS_PER_S
        """What the wall clock shows more than the steady one."""
        self.taken: list[int] = []
        self.gaps: list[Gap] = []
        self.reached = {str(PUMP): reached_ns} if reached_ns else {}
        self.is_synchronised = is_synchronised
        self.values_max = values_max
        self.machine_ns = machine_ns
        self.start()

    def start(self) -> None:
        """Begin to run, with what the disk says and nothing else."""
        self.collector = Collector(self.values_max, self.read_clocks)
        judge = ClockJudge(is_synchronised=lambda: self.is_synchronised)
        judge.look(*self.read_clocks())
        self.collector.keeper = ClockKeeper(judge)
        self.collector.gaps.load(self.reached)
        self.reached |= self.collector.expect([PUMP]).reached
        self.begin()

    def begin(self) -> None:
        """Begin to read the machine, with settings that are new."""
        self.collector.begin(PUMP, Pace(), comes_whole=True)
        self.timeline = Timeline()

    def read_clocks(self) -> tuple[int, int]:
        """Return both clocks."""
        steady_ns = round(self.second * NS_PER_S)
        return self.wall_ns + steady_ns, steady_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.second += seconds

    def set_clock(self, by_s: float) -> None:
        """Set the wall clock, forward or back."""
        self.wall_ns += round(by_s * NS_PER_S)

    def poll(self, took_s: float = 0.0, *, half_stepped_s: float = 0.0) -> None:
        """Read the machine; its value is stamped in the middle, as by the clock `half_stepped_s` before."""
        self.wait(took_s)
        now_ns = self.read_clocks()[0]
        stamp = now_ns - round((took_s + half_stepped_s) / 2 * NS_PER_S)
        if self.machine_ns is not None:
            stamp += self.machine_ns - self.wall_ns
        frames = self.timeline.admit(Frame([stamp], {"a": [1.0]}), now_ns)
        self.collector.add(PUMP, frames)

    def read_nothing_new(self, took_s: float) -> None:
        """Read the machine; its value is within the deadband."""
        self.wait(took_s)
        self.collector.add(PUMP, [], self.read_clocks()[0] - round(took_s / 2 * NS_PER_S))

    def poll_late(self, took_s: float, cycles: int, *, half_stepped_s: float = 0.0) -> None:
        """Read it so slowly that some polls, one a second, fall out."""
        self.poll(took_s, half_stepped_s=half_stepped_s)
        self.collector.miss(PUMP, cycles, 1.0)

    def lose(self, reason: GapReason = "connection_lost") -> None:
        """The machine answers no more."""
        self.collector.lose(PUMP, reason, "no answer")

    def connect(self) -> None:
        """It answers again."""
        self.collector.connect(PUMP)

    def flush(self, *, at_end: bool = False) -> list[Gap]:
        """Commit all that waits; return the gaps among it."""
        taken = self.collector.take()
        self.taken += [at for _, frames in taken for frame in frames for at in frame.timestamps]
        coverage = self.collector.take_coverage(with_frames=bool(taken), at_end=at_end)
        if coverage is None:
            return []
        found = [gap for _, gaps in coverage.gaps for gap in gaps]
        self.gaps += found
        self.reached |= coverage.reached
        self.collector.settle()
        return found

    def refuse(self) -> None:
        """Try to commit all that waits; the disk takes nothing, for a second."""
        taken = self.collector.take()
        self.collector.take_coverage(with_frames=bool(taken))
        self.wait(1)
        self.collector.give_back(taken)

    def list_known(self) -> list[Gap]:
        """Return the gaps as the cloud knows them: one told again under the same beginning counts once."""
        return list({(gap.first, gap.reason, tuple(gap.tags)): gap for gap in self.gaps}.values())


def measure(gaps: list[Gap], reason: GapReason = "cycles_missed") -> list[float]:
    """Return how many seconds the gaps of a reason last, to the millisecond."""
    return [round((gap.last - gap.first) / NS_PER_S, 3) for gap in gaps if gap.reason == reason]


def list_covered(gateway: Gateway) -> list[tuple[int, Gap]]:
    """Return which acquired timestamps some gap calls missing."""
    return [(at, gap) for gap in gateway.list_known() for at in gateway.taken if gap.first < at < gap.last]
