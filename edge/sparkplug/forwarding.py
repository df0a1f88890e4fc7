"""Which batches wait for Sparkplug's hosts, which are with the broker, and which may be let go.

Pure: times (monotonic seconds) come in as arguments; nothing here waits.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from models.telemetry import SequenceRanges

FETCH_BATCHES_MAX = 64
FETCH_BYTES_MAX = 256_000  # some milliseconds of work between two turns of the event loop
UNCONFIRMED_BYTES_MAX = 8_000_000


class _Sent(msgspec.Struct, frozen=True):
    """A batch that was handed to the link, and how many bytes that took."""

    sequence: int
    size: int


class _Settling(msgspec.Struct, frozen=True):
    """A batch that the broker has read, and when it said so."""

    sequence: int
    confirmed_at: float


class Forwarding:
    """A QoS 0 message has no acknowledgement. What was sent counts as taken once the broker answers a
    question that was asked after it, and is let go `settle_s` later, if session and host stand until then.
    """

    def __init__(self, waiting: Iterable[tuple[int, int]], settle_s: float) -> None:
        self._settle_s = settle_s
        self._waiting = SequenceRanges(waiting)
        self._stuck = SequenceRanges()
        self._sent: deque[_Sent] = deque()
        self._unconfirmed_bytes = 0
        self._asked: tuple[int, int] | None = None
        self._settling: deque[_Settling] = deque()

    @property
    def waiting_total(self) -> int:
        """How many batches have yet to be sent, or sent again."""
        return self._waiting.total + self._stuck.total

    @property
    def has_room(self) -> bool:
        """Whether more may be sent before the broker answers for what was."""
        return self._unconfirmed_bytes < UNCONFIRMED_BYTES_MAX

    @property
    def is_idle(self) -> bool:
        """Whether the broker has answered for everything that was sent."""
        return not self._sent

    def hold(self, sequence: int) -> None:
        """Keep a batch for later: it goes out as history."""
        self._waiting.add(sequence)

    def set_aside(self, sequence: int) -> None:
        """Keep a batch that this broker cannot be given until the next session."""
        self._waiting = self._waiting.minus(SequenceRanges([(sequence, sequence)]))
        self._stuck.add(sequence)

    def send(self, sequence: int, size: int) -> None:
        """A batch was handed to the link."""
        if len(self._waiting):
            self._waiting = self._waiting.minus(SequenceRanges([(sequence, sequence)]))
        self._sent.append(_Sent(sequence, size))
        self._unconfirmed_bytes += size

    def wants_answer(self) -> bool:
        """Return whether to ask the broker now."""
        return bool(self._sent) and self._asked is None

    def ask(self, mid: int) -> None:
        """The broker was asked, as message `mid`, after all that was sent so far."""
        self._asked = mid, len(self._sent)

    def answer(self, mid: int, now: float) -> None:
        """The broker answered: it has read what was sent before."""
        if self._asked is None or self._asked[0] != mid:
            return
        for _ in range(self._asked[1]):
            sent = self._sent.popleft()
            self._unconfirmed_bytes -= sent.size
            self._settling.append(_Settling(sent.sequence, now))
        self._asked = None

    def lose(self) -> None:
        """The session or the host is gone: whatever is not let go yet goes out again."""
        self._waiting.update((batch.sequence, batch.sequence) for batch in self._sent)
        self._waiting.update((batch.sequence, batch.sequence) for batch in self._settling)
        self._waiting.update(self._stuck)
        self._stuck = SequenceRanges()
        self._sent.clear()
        self._settling.clear()
        self._unconfirmed_bytes, self._asked = 0, None

    def forget(self, gone: Iterable[tuple[int, int]]) -> None:
        """These were dropped: never send them again."""
        out = SequenceRanges(gone)
        self._waiting, self._stuck = self._waiting.minus(out), self._stuck.minus(out)
        # What is sent keeps its place, which the broker's answer counts; letting go twice does no harm.

    def take_settled(self, now: float) -> list[tuple[int, int]]:
        """Return what may be let go now, and forget it."""
        settled = SequenceRanges()
        while self._settling and now - self._settling[0].confirmed_at >= self._settle_s:
            settled.add(self._settling.popleft().sequence)
        return list(settled)

    def plan_fetch(self) -> list[tuple[int, int]]:
        """Return the oldest batches that wait, to be read and sent now; empty where there are none."""
        wanted, left = SequenceRanges(), FETCH_BATCHES_MAX
        for first, last in self._waiting:
            end = min(last, first + left - 1)
            wanted.add(first, end)
            left -= end - first + 1
            if left <= 0:
                break
        return list(wanted)

    def is_waiting(self, sequence: int) -> bool:
        """Return whether the batch has yet to be sent."""
        return sequence in self._waiting
