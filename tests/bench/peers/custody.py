"""What gateways lose when the broker is killed, and when they are killed with it, value by value.

Every register of a machine holds the number of the poll, so a value that arrived names the poll it is of.
"""

import time
from collections.abc import Sequence

import msgspec

from tests.bench.peers.gateways import Gateway
from tests.bench.peers.listener import Arrivals, Listener
from tests.servers import Mosquitto


class Schedule(msgspec.Struct, frozen=True):
    """Seconds: to warm up, of the broker's absence, of calm after it, and until gateways are killed too."""

    warm_up_s: float = 25.0
    away_s: float = 10.0
    calm_s: float = 40.0
    kills: int = 2
    until_killed_s: float = 6.0


class Outcome(msgspec.Struct, frozen=True):
    """Values read and lost while the broker was killed, and in the time when the gateway was killed too."""

    title: str
    read_with_broker: int
    lost_to_broker: int
    repeated: int
    read_with_gateway: int
    lost_with_gateway: int


class Span(msgspec.Struct, frozen=True):
    """The polls from `first` to `last`: how many of their values arrived."""

    first: int
    last: int
    arrived: int

    def count_lost(self, tags: int) -> int:
        """Return how many values of these polls never came."""
        return (self.last - self.first + 1) * tags - self.arrived


def endure(broker: Mosquitto, gateways: Sequence[Gateway], tags: int, schedule: Schedule) -> list[Outcome]:
    """Put all gateways through the schedule at once; return what each lost."""
    listener = Listener(broker.port, keep=True)
    try:
        for gateway in gateways:
            gateway.start()
        time.sleep(schedule.warm_up_s)
        begin = find_last_polls(listener, gateways)
        for _ in range(schedule.kills):
            broker.kill()
            time.sleep(schedule.away_s)
            broker.start()
            time.sleep(schedule.calm_s)
        middle = find_last_polls(listener, gateways)
        spans = count_span(listener, gateways, begin, middle)
        repeated = {one.name: count_repeated(listener.arrivals[one.name]) for one in gateways}
        kill_both(broker, gateways, schedule)
        end = find_last_polls(listener, gateways)
        later = count_span(listener, gateways, middle, end)
    finally:
        for gateway in gateways:
            gateway.stop()
        listener.stop()
    return [
        Outcome(
            title=one.title,
            read_with_broker=(spans[one.name].last - spans[one.name].first + 1) * tags,
            lost_to_broker=spans[one.name].count_lost(tags),
            repeated=repeated[one.name],
            read_with_gateway=(later[one.name].last - later[one.name].first + 1) * tags,
            lost_with_gateway=later[one.name].count_lost(tags),
        )
        for one in gateways
    ]


def kill_both(broker: Mosquitto, gateways: Sequence[Gateway], schedule: Schedule) -> None:
    """Kill the broker, some seconds later every gateway; start the gateways first, then the broker."""
    broker.kill()
    time.sleep(schedule.until_killed_s)
    for gateway in gateways:
        gateway.kill()
    for gateway in gateways:
        gateway.start()
    time.sleep(schedule.away_s - schedule.until_killed_s)
    broker.start()
    time.sleep(schedule.warm_up_s + schedule.calm_s)


def find_last_polls(listener: Listener, gateways: Sequence[Gateway]) -> dict[str, int]:
    """Return the number of each machine's last poll of which something arrived, but for those under way."""
    found = {}
    for gateway in gateways:
        arrived = listener.arrivals.get(gateway.name)
        assert arrived is not None, f"nothing came from {gateway.name}:\n{gateway.log[-2000:]}"
        found[gateway.name] = int(max(number for _, number in list(arrived.distinct))) - 3
    return found


def count_span(
    listener: Listener, gateways: Sequence[Gateway], after: dict[str, int], until: dict[str, int]
) -> dict[str, Span]:
    """Return what arrived of the polls after the one, up to and with the other."""
    spans = {}
    for gateway in gateways:
        name = gateway.name
        numbers = [number for _, number in list(listener.arrivals[name].distinct)]
        arrived = sum(after[name] < number <= until[name] for number in numbers)
        spans[name] = Span(after[name] + 1, until[name], arrived)
    return spans


def count_repeated(arrivals: Arrivals) -> int:
    """Return how many values came more than once."""
    return arrivals.values - len(arrivals.distinct)


def describe(outcomes: Sequence[Outcome], tags: int) -> str:
    """Return a Markdown table."""
    columns = (
        "broker killed: values read | lost | came twice | broker, then gateway killed: values read | lost"
    )
    rows = [f"| {tags} registers at 1 s | {columns} |", "|---|---|---|---|---|---|"]
    for number, one in enumerate(outcomes):
        counts = (one.read_with_broker, one.lost_to_broker, one.repeated)
        later = (one.read_with_gateway, one.lost_with_gateway)
        title = f"**{one.title}**" if number == 0 else one.title
        rows.append(f"| {title} | {' | '.join(f'{count:,}' for count in counts + later)} |")
    return "\n".join(rows)
