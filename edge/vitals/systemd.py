"""Tells systemd how the gateway fares (sd_notify(3)): ready, alive, stopping, and one line for people."""

import os
import socket
from collections.abc import Mapping

STATUS_CHARS_MAX = 400


class ServiceNotices:
    """Datagrams to the address in NOTIFY_SOCKET; without one nothing is sent. Never raises, never blocks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _read_watchdog(environment)
        """How often systemd wants to hear `alive` at least; None when it does not watch."""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def tell_ready(self) -> None:
        """The start is over."""
        self._send("READY=1")

    def tell_alive(self) -> None:
        """Values move: do not restart."""
        self._send("WATCHDOG=1")

    def tell_stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def tell_status(self, words: str) -> None:
        """Say the line that `systemctl status` shows."""
        line = " ".join(words.split())
        self._send(f"STATUS={line[:STATUS_CHARS_MAX]}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notices:
                notices.sendto(message.encode(), address)
        except OSError:
            # Whoever supervises us is away or slow: the next notice comes within seconds.
            return


def _read_watchdog(environment: Mapping[str, str]) -> float | None:
    micros = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", "")
    if not micros.isdecimal() or int(micros) == 0 or (meant_for and meant_for != str(os.getpid())):
        return None
    return int(micros) / 1e6
