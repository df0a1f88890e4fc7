"""Where the simulator's servers listen: on this computer only, and a named error when the port is taken."""

import errno
import socket

from models.errors import ForewarnError

HOST = "127.0.0.1"


class PortTaken(ForewarnError):
    """A server cannot listen on its port: choose another."""

    exit_code = 3


def check_port(port: int, option: str) -> None:
    """Raise `PortTaken` when nothing can listen on `port` now; `option` is how a person chooses another."""
    with socket.socket() as probe:
        # As asyncio's servers have it: a port whose last connections linger may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            raise PortTaken(_describe(port, option, error)) from error


def _describe(port: int, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {HOST} is in use: choose another with {option}, or stop the other program"
    if error.errno == errno.EACCES:
        return f"port {port} on {HOST} needs the rights of root: choose one above 1023 with {option}"
    return f"port {port} on {HOST} cannot be listened on ({error.strerror}): choose another with {option}"
