"""The inbox: what the broker delivered and the writer has not taken yet, bounded in count and bytes."""

import threading
import time
from collections import deque

import msgspec

from models.link import LinkMessage

HALT_S = 0.02
MANY_PART = 4
"""A quarter of `enough` is many."""


class Delivery(msgspec.Struct, frozen=True):
    """A message as it came in. `connection` numbers the connection it came by: only there can it be acked."""

    message: LinkMessage
    connection: int
    arrived_s: float
    """`time.monotonic()`"""


class Inbox:
    """Hands deliveries from the link's thread to the writer's thread."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._enough = 1
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: Delivery) -> bool:
        """Take `delivery` in; return False, without it, when there is no room."""
        size = len(delivery.message.payload)
        with self._changed:
            # A lone message is taken whatever its size: it would never fit otherwise.
            full = len(self._waiting) >= self._messages_max or self._bytes + size > self._bytes_max
            if full and self._waiting:
                return False
            self._waiting.append(delivery)
            self._bytes += size
            many = -(-self._enough // MANY_PART)
            if len(self._waiting) in (1, many, self._enough):
                self._changed.notify()
            return True

    def forget_before(self, connection: int) -> None:
        """Drop what came by earlier connections: the broker, or the gateway, sends it again by this one."""
        with self._changed:
            self._waiting = deque(kept for kept in self._waiting if kept.connection >= connection)
            self._bytes = sum(len(kept.message.payload) for kept in self._waiting)

    def take(
        self, *, count_max: int, bytes_max: int, enough: int, linger_s: float, patience_s: float
    ) -> list[Delivery]:
        """Return what waits, oldest first, at most `count_max` messages and about `bytes_max` bytes.

        Waits `patience_s` for a first message, then until there are `enough` of them or the first is
        `linger_s` old: large writes cost a store far less than many small ones. Many that come to a halt are
        not waited for: gateways that have sent all they may send wait for our receipts.
        """
        with self._changed:
            self._enough = enough
            self._changed.wait_for(lambda: self._waiting, patience_s)
            while self._waiting and len(self._waiting) < enough:
                left_s = self._waiting[0].arrived_s + linger_s - time.monotonic()
                if len(self._waiting) * MANY_PART >= enough:
                    left_s = min(left_s, self._waiting[-1].arrived_s + HALT_S - time.monotonic())
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            taken: list[Delivery] = []
            taken_bytes = 0
            while self._waiting and len(taken) < count_max and (not taken or taken_bytes < bytes_max):
                delivery = self._waiting.popleft()
                taken_bytes += len(delivery.message.payload)
                taken.append(delivery)
            self._bytes -= taken_bytes
            return taken
