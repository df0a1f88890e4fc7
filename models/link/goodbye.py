"""Closes a connection so that the other side reads our goodbye."""

import asyncio
import os
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


def keep_open(connection: Any) -> socket.socket:
    """Return a second hold on a connection (below its TLS): it ends with that, not with the first."""
    return socket.socket(fileno=os.dup(connection.fileno()))


async def hear_out(connection: socket.socket, seconds_max: float = LINGER_S_MAX) -> None:
    """Do what `await_close` does, in the loop; and close `connection`."""
    with connection, suppress(OSError):  # TimeoutError is one
        connection.setblocking(False)
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(seconds_max):
            while await asyncio.get_running_loop().sock_recv(connection, PIECE_BYTES):
                pass
