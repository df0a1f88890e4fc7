"""A small MQTT 5 server that answers as a test tells it: for what Mosquitto cannot be made to say."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from models.link import BrokerSettings

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
CONNACK, PUBACK, SUBACK, PINGRESP, DISCONNECT = 0x20, 0x40, 0x90, 0xD0, 0xE0
RECEIVE_MAX, MAXIMUM_QOS, RETAIN_AVAILABLE, PACKET_BYTES_MAX = 0x21, 0x24, 0x25, 0x27


class Published(NamedTuple):
    """A message that came in; `size` is that of its whole packet."""

    topic: str
    payload: bytes
    mid: int
    retain: bool
    size: int


class ScriptedBroker:
    """Listens on a port of its own from the start; `stop` ends it.

    `connack`: reason code of the answer to each CONNECT, in order, the last for all others. `properties`: of
    the CONNACK. `puback(message)`: its reason code, None for no answer. `goodbye`: reason code with which
    each connection is ended as soon as it stands.
    """

    def __init__(
        self,
        properties: dict[int, int] | None = None,
        *,
        connack: tuple[int, ...] = (0,),
        puback: Callable[[Published], int | None] = lambda _: 0,
        goodbye: int | None = None,
    ) -> None:
        self.puback = puback
        self.published: list[Published] = []
        self.connects: list[bytes] = []
        self.pings = 0
        self._properties = b"".join(_write_property(*one) for one in (properties or {}).items())
        self._connack = connack
        self._goodbye = goodbye
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def settings(self) -> BrokerSettings:
        """How a link reaches it."""
        return BrokerSettings(host="127.0.0.1", port=self._listener.getsockname()[1])

    def acknowledge(self, message: Published, code: int = 0) -> None:
        """Answer for a message later."""
        self._send(self._connections[-1], PUBACK, message.mid.to_bytes(2, "big") + bytes([code, 0]))

    def babble(self, octets: bytes) -> None:
        """Send what is no answer to anything."""
        self._connections[-1].sendall(octets)

    def stop(self) -> None:
        """End the server and its connections."""
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
            while True:
                kind, flags, body, size = _read_packet(stream.read)
                if kind == CONNECT:
                    self._greet(connection, body)
                elif kind == PUBLISH:
                    self._take(connection, flags, body, size)
                elif kind == SUBSCRIBE:
                    self._send(connection, SUBACK, body[:2] + b"\0" + b"\1")
                elif kind == PINGREQ:
                    self.pings += 1
                    self._send(connection, PINGRESP, b"")

    def _greet(self, connection: socket.socket, body: bytes) -> None:
        self.connects.append(body)
        code = self._connack[min(len(self.connects), len(self._connack)) - 1]
        properties = b"" if code else self._properties
        self._send(connection, CONNACK, bytes([0, code, len(properties)]) + properties)
        if self._goodbye is not None:
            self._send(connection, DISCONNECT, bytes([self._goodbye, 0]))
        if code or self._goodbye is not None:
            raise EOFError

    def _take(self, connection: socket.socket, flags: int, body: bytes, size: int) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        has_id = bool(flags & 0b0110)
        mid = int.from_bytes(body[end : end + 2], "big") if has_id else 0
        at = end + (2 if has_id else 0)
        payload = body[at + 1 + body[at] :]  # no test sends more than 127 bytes of properties
        message = Published(body[2:end].decode(), payload, mid, bool(flags & 1), size)
        self.published.append(message)
        code = self.puback(message)
        if has_id and code is not None:
            self._send(connection, PUBACK, mid.to_bytes(2, "big") + bytes([code, 0]))

    def _send(self, connection: socket.socket, first: int, body: bytes) -> None:
        connection.sendall(bytes([first, len(body)]) + body)


def _write_property(identifier: int, value: int) -> bytes:
    sizes = {RECEIVE_MAX: 2, MAXIMUM_QOS: 1, RETAIN_AVAILABLE: 1, PACKET_BYTES_MAX: 4}
    return bytes([identifier]) + value.to_bytes(sizes[identifier], "big")


def _read_packet(read: Callable[[int], bytes]) -> tuple[int, int, bytes, int]:
    """Return type, flags, body and size of the next packet; raise EOFError at the end."""
    first = read(1)
    if not first:
        raise EOFError
    length = shift = 0
    while True:
        (byte,) = read(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    body = read(length)
    if len(body) < length:
        raise EOFError
    return first[0] >> 4, first[0] & 0x0F, body, 1 + shift // 7 + length
