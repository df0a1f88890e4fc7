"""The broker alone: messages a second from one program's link to another's, acknowledged at once.

`python -m tests.bench.broker_ceiling PORT COUNT` is the program that receives.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

from models.link import BrokerSettings, Link, LinkMessage

TOPIC = "ceiling/there"
ANSWERS = "ceiling/back"
UNDER_WAY_MAX = 800  # a broker drops what it cannot queue
ANSWER_EVERY = 100
PATIENCE_S = 60.0


def receive(port: int, count: int) -> None:
    """Take `count` messages in, say so after every hundred, end."""
    done = threading.Event()
    taken = 0

    def take(message: LinkMessage) -> None:
        nonlocal taken
        link.acknowledge(message)
        if not message.payload:  # asks whether somebody is here
            link.publish(ANSWERS, b"")
            return
        taken += 1
        if taken % ANSWER_EVERY == 0:
            link.publish(ANSWERS, b"%d" % taken)
        if taken == count:
            done.set()

    link = Link(BrokerSettings(port=port), "ceiling-in", on_message=take, subscriptions=[TOPIC])
    link.start()
    done.wait(PATIENCE_S)
    time.sleep(0.2)  # the last answer leaves
    link.stop()


def measure_messages_per_s(port: int, payload: bytes, count: int) -> float:
    """Return how many messages a second pass from this program to the other; `count` in whole hundreds."""
    ready, room, answered = threading.Event(), threading.Semaphore(UNDER_WAY_MAX), threading.Event()

    def take(message: LinkMessage) -> None:
        link.acknowledge(message)
        if not message.payload:
            ready.set()
            return
        for _ in range(ANSWER_EVERY):
            room.release()
        if int(message.payload) == count:
            answered.set()

    command = [sys.executable, "-m", "tests.bench.broker_ceiling", str(port), str(count)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]):
        link = Link(BrokerSettings(port=port), "ceiling-out", on_message=take, subscriptions=[ANSWERS])
        link.start()
        while not ready.wait(0.05):
            if link.is_connected():
                link.publish(TOPIC, b"")
        begun = time.monotonic()
        for _ in range(count):
            assert room.acquire(timeout=PATIENCE_S), "the broker lost messages"
            link.publish(TOPIC, payload)
        assert answered.wait(PATIENCE_S), "the broker lost messages"
        took = time.monotonic() - begun
        link.stop()
    return count / took


if __name__ == "__main__":
    receive(int(sys.argv[1]), int(sys.argv[2]))
