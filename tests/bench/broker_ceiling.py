"""The broker alone: messages a second from one program's link to another's, acknowledged at once.

`python -m tests.bench.broker_ceiling PORT COUNT` is the program that receives.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

from models.link import BrokerSettings, Link, LinkMessage

TOPIC = "ceiling/v1"
IN_FLIGHT = 20  # where paho is fastest


def receive(port: int, count: int) -> None:
    """Say when ready, take `count` messages in, end."""
    done = threading.Event()
    ready = threading.Event()
    left = count

    def take(message: LinkMessage) -> None:
        nonlocal left
        link.acknowledge(message)
        if message.payload == b"":
            ready.set()
            return
        left -= 1
        if left == 0:
            done.set()

    link = Link(BrokerSettings(port=port), "ceiling-in", on_message=take, subscriptions=[TOPIC])
    link.start()
    while not ready.wait(0.05):  # heard through the broker: so the subscription stands
        if link.is_connected():
            link.publish(TOPIC, b"")
    print("ready", flush=True)
    done.wait(60)
    link.stop()


def measure_messages_per_s(port: int, payload: bytes, count: int) -> float:
    """Return how many messages a second pass from this program to the other."""
    command = [sys.executable, "-m", "tests.bench.broker_ceiling", str(port), str(count)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as receiver:
        room = threading.Semaphore(IN_FLIGHT)
        link = Link(BrokerSettings(port=port), "ceiling-out", on_delivered=lambda _mid, _code: room.release())
        link.start()
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        begun = time.monotonic()
        for _ in range(count):
            room.acquire()
            link.publish(TOPIC, payload)
        receiver.wait(60)
        took = time.monotonic() - begun
        link.stop()
    return count / took


if __name__ == "__main__":
    receive(int(sys.argv[1]), int(sys.argv[2]))
