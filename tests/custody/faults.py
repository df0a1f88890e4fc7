"""What is done to the chain: each fault alone, with its beginning, its length and its end."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import paho.mqtt.publish as mqtt

from tests.custody.plant import QUEUE_MAX, Plant
from tests.integration.disk_rig import Hog

POISON_COUNT = 2_000
FILL_S_MAX = 90.0
SENT_AGAIN = "sent_again"
OUTBOX_FULL = "outbox_unwritable"
UNAVAILABLE = (503, {"Retry-After": "1"}, b'{"code":"unavailable","message":"try again later"}')


class Fault(msgspec.Struct, frozen=True):
    """`strike(plant)` begins it, takes its time and ends it; `needs_store` where it is one store's.

    `felt`: the program that must say this event meanwhile; a fault that nobody felt proves nothing.
    """

    name: str
    strike: Callable[[Plant], None]
    felt: tuple[str, str] = ("", "")
    needs_store: str = ""
    needs_root: bool = False


def kill_broker(plant: Plant, seconds: float = 2.0) -> None:
    """Kill -9 and restart without persistence: all it had queued is gone."""
    plant.broker.kill()
    time.sleep(seconds)
    plant.broker.start()


def kill_ingester(plant: Plant) -> None:
    """Kill -9 in mid-stream."""
    plant.ingesters[0].kill()
    time.sleep(2)
    plant.ingesters[0].start()


def kill_both(plant: Plant) -> None:
    """The order that loses what was acknowledged: nobody reads, then the broker forgets."""
    plant.ingesters[0].kill()
    time.sleep(4)
    kill_broker(plant, 1.0)
    plant.ingesters[0].start()


def kill_store(plant: Plant) -> None:
    """Kill -9 of the database."""
    assert plant.influx is not None
    plant.influx.database.kill()
    time.sleep(4)
    plant.influx.database.start()


def refuse_writes(plant: Plant, seconds: float = 30.0) -> None:
    """The database says 503 with Retry-After to every request."""
    assert plant.influx is not None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if len(plant.influx.front.upcoming) < 4:
            plant.influx.front.upcoming.append(UNAVAILABLE)
        time.sleep(0.05)
    plant.influx.front.upcoming.clear()


def kill_gateways(plant: Plant) -> None:
    """Kill -9 of both gateways, twice, the second time while they have just begun."""
    for pause_s in (0.5, 2.0):
        for gateway in plant.site.gateways.values():
            gateway.kill()
        time.sleep(pause_s)
        for gateway in plant.site.gateways.values():
            gateway.start()
        time.sleep(pause_s)


def freeze_broker(plant: Plant) -> None:
    """SIGSTOP for 12 s: connections stand and nothing answers."""
    plant.broker.freeze()
    time.sleep(12)
    plant.broker.thaw()


def overflow_the_queue(plant: Plant) -> None:
    """The ingester is away until the broker has queued more than it may, and drops."""
    sent = sum(plant.site.read_sequences().values())
    plant.ingesters[0].stop()
    until = time.monotonic() + 30
    while sum(plant.site.read_sequences().values()) < sent + 2 * QUEUE_MAX and time.monotonic() < until:
        time.sleep(0.2)
    plant.ingesters[0].start()


@contextmanager
def line_watched(plant: Plant) -> Iterator[None]:
    """Note whether anything on the gateways' side had to be sent again meanwhile."""
    before = plant.way.count_resent()
    yield
    if plant.way.count_resent() > before:
        plant.note("line", SENT_AGAIN)


def lose_answers(plant: Plant) -> None:
    """For 10 s what gateways send arrives, and no acknowledgement and no receipt comes back."""
    with line_watched(plant):
        plant.way.set("drop_answers")
        time.sleep(10)
        plant.way.heal()


def part(plant: Plant) -> None:
    """The link is down for 20 s: silence both ways, without an end of the connection."""
    plant.way.set("cut")
    time.sleep(20)
    plant.way.heal()


def slow_line(plant: Plant) -> None:
    """150 ms latency each way, and of each ten packets one is lost; TCP sends it again (the proxy: late)."""
    with line_watched(plant):
        plant.way.set("slow")
        time.sleep(6)
        plant.way.set("ok")


def cut_power(plant: Plant) -> None:
    """Gateway 1 loses its power: what had not reached its disk is gone, nothing is ended in order."""
    plant.broker.kill()  # so that the outbox holds the only copy
    time.sleep(4)
    site, cut = plant.site, plant.folder / "cut.img"
    for gateway in site.on_disk:
        gateway.freeze()
    shutil.copy(site.disk_image, cut)
    for gateway in site.on_disk:
        gateway.kill()
    site.unmount()
    shutil.copy(cut, site.disk_image)
    site.mount()
    for gateway in site.on_disk:
        gateway.start()
    plant.broker.start()


def fill_disk(plant: Plant) -> None:
    """Another program takes all room on gateway 1's disk while nothing can be delivered; then both end.

    What an outbox has ever been large for it can fill again, so it takes a while until it is full as well.
    """
    hog, said = Hog(plant.site.disk), len(plant.read_log("gateway-1"))
    plant.way.set("cut")
    hog.fill()
    until = time.monotonic() + FILL_S_MAX
    while OUTBOX_FULL not in plant.read_log("gateway-1")[said:] and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(4)
    plant.way.heal()
    time.sleep(2)
    hog.leave()


def move_clock(plant: Plant) -> None:
    """Gateway 2's clock goes 3 s back, an hour ahead, and right again."""
    for offset_s in (-3, 3600, 0):
        plant.site.clock_offset.write_text(str(offset_s))
        time.sleep(2)


def flood_poison(plant: Plant) -> None:
    """2,000 messages that can never be stored, on a good gateway's topic."""
    topic = f"forewarn/v1/gateway-1/data/{plant.machines[0]}"
    payloads = (b"{", b'{"v":9}', b"\xff" * 200, b"[" * 5000)
    for first in range(0, POISON_COUNT, 500):
        messages = [
            {"topic": topic, "payload": payloads[index % len(payloads)], "qos": 1}
            for index in range(first, first + 500)
        ]
        mqtt.multiple(messages, hostname="127.0.0.1", port=plant.broker.port)


def run_two_ingesters(plant: Plant) -> None:
    """A second ingester shares the work; the first is killed under it, comes back, and the second ends."""
    plant.ingesters[1].start()
    time.sleep(4)
    plant.ingesters[0].kill()
    time.sleep(3)
    plant.ingesters[0].start()
    time.sleep(2)
    plant.ingesters[1].stop()


DIRECTED = (
    # First: once the outbox has been large, its freed pages take values in for half a minute more.
    Fault("disk full at a gateway", fill_disk, ("gateway-1", OUTBOX_FULL), needs_root=True),
    Fault("broker kill -9", kill_broker, ("gateway-1", "broker_lost")),
    Fault("ingester kill -9", kill_ingester, ("cloud-a", "link_up")),
    Fault("ingester down, then broker kill -9", kill_both, ("cloud-a", "link_up")),
    Fault("store kill -9", kill_store, ("cloud-a", "store_lost"), needs_store="influxdb"),
    Fault("store answers 503 for 30 s", refuse_writes, ("cloud-a", "store_lost"), needs_store="influxdb"),
    Fault("gateways kill -9, twice", kill_gateways, ("gateway-1", "edge_started")),
    Fault("broker stopped for 12 s", freeze_broker, ("gateway-1", "broker_lost")),
    Fault("ingester away beyond the broker's queue", overflow_the_queue, ("cloud-a", "link_up")),
    Fault("no answers for 10 s", lose_answers, ("line", SENT_AGAIN)),
    Fault("partition of 20 s", part, ("gateway-1", "broker_")),
    Fault("150 ms and 10 % loss", slow_line, ("line", SENT_AGAIN)),
    Fault("power cut at a gateway", cut_power, ("gateway-1", "edge_started"), needs_root=True),
    Fault("clock -3 s, +1 h at a gateway", move_clock, ("gateway-2", "clock_stepped")),
    Fault("2,000 poison messages", flood_poison, ("cloud-a", "dead_lettered")),
    Fault("two ingesters, one killed", run_two_ingesters, ("cloud-b", "link_up")),
)


@contextmanager
def healed(plant: Plant) -> Iterator[None]:
    """Leave with every fault off, whatever happened."""
    try:
        yield
    finally:
        plant.way.set("ok")
