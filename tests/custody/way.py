"""The way between gateways and their broker: what the faults need of it, and which one there is here."""

from collections.abc import Sequence
from typing import Literal, Protocol

Mode = Literal["ok", "cut", "drop_answers", "slow"]
LATENCY_S = 0.150
LOSS = 0.1


class Way(Protocol):
    """Between the gateways and the broker. `host` and `port` are where gateways find it.

    `words` say how faults are made. `prefix` stands before the words of each program on the gateways' side,
    `broker_lines` go into the broker's configuration.
    """

    words: str
    host: str
    port: int
    broker_lines: Sequence[str]

    @property
    def prefix(self) -> Sequence[str]:
        """See above."""

    def start(self, broker_port: int) -> None:
        """Lead to the broker, which is there now."""

    def stop(self) -> None:
        """End it."""

    def set(self, mode: Mode) -> None:
        """From now on: carry everything, nothing, nothing of what the broker says, or be a bad line."""

    def heal(self) -> None:
        """Carry everything again."""

    def count_resent(self) -> int:
        """Return how much had to be sent again, or came that late, so far."""
