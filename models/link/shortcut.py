"""Takes the packets that pass all day long past paho, which spends ten times their worth on each.

paho stays for all else: connecting, subscribing, pings, goodbyes, messages of other kinds, odd packets.
"""

import ssl
from collections.abc import Callable
from time import monotonic

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from models.link.messages import LinkMessage
from models.link.wire import (
    PUBACK,
    PUBLISH,
    TYPE_MASK,
    Malformed,
    find_packet,
    make_puback,
    make_publish,
    read_puback,
    read_publish,
)

READ_BYTES = 65_536


class ShortcutClient(paho.Client):
    """A client for one thread; `take` reads for it instead of `loop_read`.

    `on_taken(message)` and `on_answered(mid, code)` are called for what went by the short way. Both ways
    share one connection: a packet that the socket took in part is finished before anything else is written,
    and never more is unacknowledged, by both ways together, than `limit_inflight` allows.
    """

    def __init__(
        self,
        client_id: str,
        *,
        on_taken: Callable[[LinkMessage], None],
        on_answered: Callable[[int, int], None],
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True)
        self._on_taken = on_taken
        self._on_answered = on_answered
        self._inflight_max = 1
        self._sent: set[int] = set()
        self._unsent: memoryview | None = None
        """The rest of a packet of which the socket has taken a part."""
        self._pieces: list[bytes] = []
        """Of packets that have not come whole; `_missing` bytes at least are still to come."""
        self._missing = 0
        self._fed = b""
        """A packet for paho, and below whether nothing will ever come after it."""
        self._is_lost = False

    def begin_anew(self) -> None:
        """A connection was opened: whatever the one before left unanswered is its sender's to send again."""
        self._sent.clear()
        self._out_messages.clear()
        self._inflight_messages = 0
        self._pieces.clear()
        self._unsent, self._missing, self._fed, self._is_lost = None, 0, b"", False

    def is_connected(self) -> bool:
        """Return whether a connection stands; paho says so, too, when a broker has left in order."""
        return self._sock is not None and super().is_connected()

    def limit_inflight(self, messages_max: int) -> None:
        """Let so many messages be unacknowledged."""
        self._inflight_max = messages_max
        self._share_inflight()

    def send_message(self, topic: str, payload: bytes, *, retain: bool) -> int | None:
        """Publish at QoS 1; return the message's id, None where it must go by paho.

        That is while paho has messages or packets under way, which it would overtake.
        """
        if self._out_messages or self._is_blocked() or len(self._sent) + 1 >= self._inflight_max:
            return None
        mid = self._mid_generate()
        self._sent.add(mid)
        self._share_inflight()
        self._send(make_publish(topic.encode(), mid, payload, retain=retain))
        return mid

    def send_acks(self, mids: list[int]) -> None:
        """Acknowledge messages of QoS 1, in order; those of a connection that is gone it has forgotten."""
        if not self.is_connected():
            return
        if self._is_blocked():
            for mid in mids:
                self.ack(mid, 1)
        else:
            self._send(b"".join(map(make_puback, mids)))

    def take(self) -> None:
        """Read once from the socket, and take care of all packets that have come whole."""
        if self._sock is None:
            return
        try:
            came = self._sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            came = b""
        if not came:
            self._is_lost = True
            self._feed(b"")
            return
        self._last_bytes_received = monotonic()
        self._missing -= len(came)
        if self._pieces or self._missing > 0:
            self._pieces.append(came)
            if self._missing > 0:
                return
            came = b"".join(self._pieces)
            self._pieces.clear()
        self._take_packets(came)

    def want_write(self) -> bool:
        """Return whether anything waits to be written, by either way."""
        return self._is_blocked()

    def loop_write(self) -> MQTTErrorCode:
        """Write what waits, the rest of a packet first."""
        return super().loop_write() if self._drain() and self._out_packet else paho.MQTT_ERR_SUCCESS

    # -- inside -----------------------------------------------------------------------------------------

    def _take_packets(self, received: bytes) -> None:
        """Take care of the packets that are whole; keep what is left."""
        at, self._missing = 0, 0
        while at < len(received) and self._sock is not None:
            try:
                bounds = find_packet(received, at)
            except Malformed:
                self._is_lost = True  # paho ends the connection over that, however little of it has come
                self._feed(received[at:])
                return
            begin, end = bounds or (0, len(received) + 1)
            if end > len(received):
                self._pieces.append(received[at:])
                self._missing = end - len(received)
                return
            if not self._take_packet(received, at, begin, end):
                self._feed(received[at:end])
            at = end

    def _take_packet(self, received: bytes, at: int, begin: int, end: int) -> bool:
        """Return whether the packet was one for the short way."""
        kind = received[at] & TYPE_MASK
        if kind == PUBACK:
            answer = read_puback(received, begin, end)
            if answer is None or answer[0] not in self._sent:
                return False
            self._sent.discard(answer[0])
            self._share_inflight()
            self._on_answered(*answer)
            return True
        if kind == PUBLISH:
            message = read_publish(received, at, begin, end)
            if message is None:
                return False
            self._on_taken(LinkMessage(*message))
            return True
        return False

    def _feed(self, packet: bytes) -> None:
        """Have paho read this packet, or learn that the connection is lost."""
        self._fed = packet
        self.loop_read()

    def _mid_generate(self) -> int:
        # Both ways number by this: after 65,535 messages one may still be without an answer.
        while (mid := super()._mid_generate()) in self._sent or mid in self._out_messages:
            pass
        return mid

    def _share_inflight(self) -> None:
        """Leave paho what the short way does not use; at least one, for nought is no limit to it."""
        self._max_inflight_messages = max(1, self._inflight_max - len(self._sent))
        if self._out_messages:
            with self._out_message_mutex:
                self._update_inflight()

    def _is_blocked(self) -> bool:
        return self._unsent is not None or len(self._out_packet) > 0

    def _send(self, packet: bytes) -> None:
        self._unsent = memoryview(packet)
        self._drain()
        self._last_msg_out = monotonic()

    def _drain(self) -> bool:
        """Return whether the socket has taken all that the short way had for it."""
        if self._unsent is None:
            return True
        if self._sock is None:
            return False
        try:
            taken = self._sock.send(self._unsent)  # type: ignore[arg-type]  # sockets take any buffer
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            taken = len(self._unsent)  # into the void: whoever reads next learns that the connection is lost
        self._unsent = self._unsent[taken:] if taken < len(self._unsent) else None
        return self._unsent is None

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._fed and not self._is_lost:
            raise BlockingIOError
        taken, self._fed = self._fed[:bufsize], self._fed[bufsize:]
        return taken
