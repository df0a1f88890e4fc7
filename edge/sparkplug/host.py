"""What the primary host application says of itself on its STATE topic (Sparkplug 3.0, 5.4 and 5.5)."""

from typing import Literal

import msgspec

HostState = Literal["unknown", "online", "offline"]


class _StateMessage(msgspec.Struct):
    """The JSON of a STATE message: whether the host is there, and when it said so (ms since 1970)."""

    online: bool
    timestamp: int | float


_decoder = msgspec.json.Decoder(_StateMessage)


class PrimaryHost:
    """The host without which nothing is born. A STATE message older than the one before is passed over."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.state: HostState = "unknown"
        self.rejected_total = 0
        """Messages on its topic that were no STATE message, or older than the one before."""
        self._timestamp: float | None = None

    def connect(self) -> None:
        """A new MQTT session begins: what the broker retains is what counts now."""
        self.state, self._timestamp = "unknown", None

    def take(self, payload: bytes) -> bool:
        """Take a STATE message; return whether the host's state changed."""
        try:
            message = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.rejected_total += 1
            return False
        if self._timestamp is not None and message.timestamp < self._timestamp:
            self.rejected_total += 1
            return False
        self._timestamp = message.timestamp
        before, self.state = self.state, "online" if message.online else "offline"
        return self.state != before
