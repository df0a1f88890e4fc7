"""The order of acknowledgements: MQTT asks for PUBACKs in the order in which the messages came."""

import threading
from collections import deque

import msgspec


class _Waiting(msgspec.Struct):
    """A message that came in; `settled` once its receiver is done with it."""

    mid: int
    settled: bool = False


class AckOrder:
    """Holds an acknowledgement back until every message that came before is acknowledged too.

    [MQTT-4.6.0-2] asks for it, and rumqttd ends a connection that does otherwise. Several threads may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._by_mid: dict[int, _Waiting] = {}

    def arrive(self, mid: int) -> None:
        """Message `mid` came in."""
        with self._lock:
            self._by_mid[mid] = waiting = _Waiting(mid)
            self._waiting.append(waiting)

    def settle(self, mid: int) -> list[int]:
        """Message `mid` is taken care of; return the messages to acknowledge now, in order."""
        with self._lock:
            waiting = self._by_mid.get(mid)
            if waiting is None:
                return []
            waiting.settled = True
            due: list[int] = []
            while self._waiting and self._waiting[0].settled:
                due.append(self._waiting.popleft().mid)
                del self._by_mid[due[-1]]
            return due

    def clear(self) -> None:
        """The connection is a new one: what came by the old one cannot be acknowledged any more."""
        with self._lock:
            self._waiting.clear()
            self._by_mid.clear()
