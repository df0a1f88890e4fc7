"""Closes a connection so that the other side reads our goodbye."""

import socket
import time
from contextlib import suppress
from typing import Any

LINGER_S_MAX = 2.0
PIECE_BYTES = 65_536


def await_close(connection: Any, seconds_max: float = LINGER_S_MAX) -> None:
    """Say no more on `connection` and read until the other side closes it, or `seconds_max` are over.

    A socket that is closed with something unread in it resets the connection, and a reset throws away what
    the other side has not read yet: an MQTT broker would never hear the DISCONNECT, and keep the session.
    """
    until = time.monotonic() + seconds_max
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left_s := until - time.monotonic()) > 0:
            connection.settimeout(left_s)
            if not connection.recv(PIECE_BYTES):
                return
