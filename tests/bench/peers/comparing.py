"""Gateways side by side: started together and measured over the same seconds of one noisy computer."""

import os
import statistics
import time
from collections.abc import Sequence

import msgspec

from tests.bench.peers.gateways import Gateway
from tests.bench.peers.listener import Listener
from tests.bench.peers.meter import measure

WARM_UP_S = 25.0
ROUNDS = 3
ROUND_S = 20.0


class Round(msgspec.Struct, frozen=True):
    """What one gateway spent in one round."""

    values: int
    cpu_s: float
    wall_s: float
    rss_mb: float
    pss_mb: float
    threads: int
    delays_s: list[float]
    wire_bytes: int


class Finding(msgspec.Struct, frozen=True):
    """A gateway's rounds, in order."""

    name: str
    title: str
    rounds: list[Round]

    @property
    def cost_us(self) -> float:
        """CPU microseconds a value that arrived, the median of the rounds."""
        return statistics.median(1e6 * one.cpu_s / one.values for one in self.rounds)

    @property
    def core_percent(self) -> float:
        """The part of one core that it takes."""
        return statistics.median(100 * one.cpu_s / one.wall_s for one in self.rounds)

    @property
    def rss_mb(self) -> float:
        """Resident memory at the end."""
        return self.rounds[-1].rss_mb

    @property
    def values_per_s(self) -> float:
        """Values a second that arrived."""
        return statistics.median(one.values / one.wall_s for one in self.rounds)

    def delay_ms(self, share: float) -> float:
        """Return the delay, from timestamp to listener, that this `share` of the rows keep within."""
        delays = sorted(delay for one in self.rounds for delay in one.delays_s)
        return 1e3 * delays[min(len(delays) - 1, int(share * len(delays)))]


def compare(gateways: Sequence[Gateway], listener: Listener) -> list[Finding]:
    """Run all of them at once; return what each spent for what arrived of it."""
    try:
        for gateway in gateways:
            gateway.start()
        time.sleep(WARM_UP_S)
        rounds = [run_round(gateways, listener) for _ in range(ROUNDS)]
    finally:
        for gateway in gateways:
            gateway.stop()
    return [
        Finding(gateway.name, gateway.title, [one[gateway.name] for one in rounds]) for gateway in gateways
    ]


def run_round(gateways: Sequence[Gateway], listener: Listener) -> dict[str, Round]:
    """Return what each gateway spent in the next seconds."""
    listener.forget()
    before, begun = {one.name: measure(one.pid) for one in gateways}, time.monotonic()
    time.sleep(ROUND_S)
    after, wall_s = {one.name: measure(one.pid) for one in gateways}, time.monotonic() - begun
    arrived = dict(listener.arrivals)
    found = {}
    for one in gateways:
        assert one.name in arrived, f"nothing came from {one.name}:\n{one.log[-3000:]}"
        spent = after[one.name]
        found[one.name] = Round(
            values=arrived[one.name].values,
            cpu_s=spent.cpu_s - before[one.name].cpu_s,
            wall_s=wall_s,
            rss_mb=spent.rss_mb,
            pss_mb=spent.pss_mb,
            threads=spent.threads,
            delays_s=list(arrived[one.name].delays_s),
            wire_bytes=arrived[one.name].wire_bytes,
        )
    return found


def render_table(findings: Sequence[Finding], against: str) -> str:
    """Return a Markdown table; the ratio is how often the first one's CPU per value goes into the others'."""
    ours = findings[0].cost_us
    columns = (
        "CPU us/value | times ours | of a core | RSS MB (PSS) | delay p50 / p99 ms | bytes/value | values/s"
    )
    head = [f"| | {columns} |", "|---|---|---|---|---|---|---|---|"]
    rows = [render_row(one, ours, is_first=number == 0) for number, one in enumerate(findings)]
    load = f"\n{against}; {ROUNDS} rounds of {ROUND_S:g} s at once, load average {os.getloadavg()[0]:.1f}."
    return "\n".join([*head, *rows, load])


def render_row(found: Finding, ours: float, *, is_first: bool) -> str:
    """Return a gateway's row."""
    last = found.rounds[-1]
    wire = sum(one.wire_bytes for one in found.rounds) / sum(one.values for one in found.rounds)
    cells = [
        f"**{found.title}**" if is_first else found.title,
        f"{found.cost_us:.1f}",
        f"{found.cost_us / ours:.1f}",
        f"{found.core_percent:.2f} %",
        f"{last.rss_mb:.0f} ({last.pss_mb:.0f})",
        f"{found.delay_ms(0.5):.0f} / {found.delay_ms(0.99):.0f}",
        f"{wire:.1f}",
        f"{found.values_per_s:.0f}",
    ]
    return f"| {' | '.join(cells)} |"
