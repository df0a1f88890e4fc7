"""What a link may keep to itself: how long its socket may be silent, and what its library may log."""

import logging
import socket
from typing import Any


def limit_silence(sock: Any, keepalive_s: int) -> None:
    """Let the kernel give up on unanswered packets within two keepalives, not after a quarter of an hour."""
    if hasattr(socket, "TCP_USER_TIMEOUT") and hasattr(sock, "setsockopt"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * keepalive_s)


def make_quiet_logger() -> logging.Logger:
    """Return a logger that lets through errors in our callbacks; of the link itself `on_state` tells once."""
    logger = logging.getLogger("forewarn.link")
    logger.setLevel(logging.ERROR)
    if not logger.filters:
        logger.addFilter(lambda record: str(record.msg).startswith("Caught exception"))
    return logger
