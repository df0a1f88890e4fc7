"""Gaps of a subscription: slow tags' news come behind fast ones', and may be lost on their way."""

from hypothesis import given
from hypothesis import strategies as st

from edge.polling.gaps import NS_PER_S, MachineGaps, Pace
from models.telemetry import Frame, Gap

NOW = 1_795_337_912 * NS_PER_S
SLOW_S = 5


class Server:
    """Tells of tag `fast` every second, of tag `slow` every five; both change every second."""

    def __init__(self) -> None:
        self.second = 0
        self.issued: list[tuple[str, int]] = []
        self.acquired: set[tuple[str, int]] = set()
        self.gaps: list[Gap] = []
        self.waiting: list[int] = []
        self.is_up = False
        self.book = MachineGaps(NOW, 0, 0, Pace(lag_ns=SLOW_S * NS_PER_S))

    def act(self, what: str) -> None:
        """A second passes."""
        self.second += 1
        now_ns = NOW + self.second * NS_PER_S
        self.issued += [("fast", now_ns), ("slow", now_ns + 1)]
        if what == "cut":
            self.book.lose("connection_lost", "gone", self.second * NS_PER_S)
            self.is_up, self.waiting = False, []
        elif what == "kill":
            self.book = MachineGaps(
                NOW, self.second * NS_PER_S, self.book.mark_ns, Pace(lag_ns=SLOW_S * NS_PER_S)
            )
            self.book.lose("gateway_down", "killed", self.second * NS_PER_S)
            self.is_up, self.waiting = False, []
        elif not self.is_up:
            # A new subscription tells at first what every tag is now.
            self.is_up = True
            self.book.connect(now_ns - NOW)
            self.take(now_ns, {"fast": [now_ns], "slow": [now_ns + 1]})
        else:
            self.waiting.append(now_ns + 1)
            slow = self.waiting if self.second % SLOW_S == 0 else []
            if slow:
                self.waiting = []
            self.take(now_ns, {"fast": [now_ns], "slow": slow})

    def take(self, now_ns: int, told: dict[str, list[int]]) -> None:
        """News come in."""
        frames = [Frame(times, {tag: [1.0] * len(times)}) for tag, times in told.items() if times]
        self.book.admit(frames, now_ns, now_ns - NOW)
        self.gaps += self.book.take()
        self.acquired |= {(tag, time) for tag, times in told.items() for time in times}


@given(st.lists(st.sampled_from(["tell"] * 4 + ["cut", "kill"]), max_size=60))
def test_news_that_were_lost_on_their_way_are_covered(acts: list[str]) -> None:
    """Each value that was never told lies in a gap of its tag; what was told lies in none."""
    server = Server()
    server.act("tell")
    for what in acts:
        server.act(what)
    for _ in range(SLOW_S + 1):
        server.act("tell")
    end = NOW + (server.second - SLOW_S) * NS_PER_S
    for tag, time in server.issued:
        covering = [gap for gap in server.gaps if gap.first < time < gap.last and tag in (gap.tags or [tag])]
        if (tag, time) not in server.acquired and time <= end:
            assert covering, f"{tag} at {(time - NOW) / NS_PER_S} was never told, and no gap says so"
        # After a kill nobody knows which tag was behind: the gap then begins early for all of them.
        if (tag, time) in server.acquired and "kill" not in acts:
            assert covering == [], f"{tag} at {(time - NOW) / NS_PER_S} was told, and is called missing"
