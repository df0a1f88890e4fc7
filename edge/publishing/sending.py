"""Decides which batch goes out next: live first, the backlog behind, never more than the cloud keeps up with.

Pure: times (monotonic seconds) come in as arguments, batches and message ids too; nothing here waits.
"""

from collections import deque
from collections.abc import Iterable

from edge.outbox.outbox import StoredBatch
from edge.publishing.limits import (
    FAILURE_CODE_MIN,
    NO_SUBSCRIBERS_CODE,
    PROBE_S_MAX,
    PROBE_S_MIN,
    RECEIPT_TIMEOUT_S_MAX,
    RECONNECT_GRACE_S,
    SendingLimits,
    Trouble,
    UnderWay,
)
from models.telemetry import SequenceRanges


class Sending:
    """The state of every batch in the outbox: live, backlog, fetched, under way. Receipts take it out."""

    def __init__(self, waiting: Iterable[tuple[int, int]], limits: SendingLimits) -> None:
        self.limits = limits
        self.trouble: Trouble = ""
        self.refusal_code = 0
        """Of the last PUBACK that named a failure."""
        self.receipt_timeout_s = limits.receipt_timeout_s
        self.resent_total = 0
        self.sent_total = 0
        self._connected = False
        self._live: deque[StoredBatch] = deque()
        self._live_bytes = 0
        self._backlog = SequenceRanges(waiting)
        self._fetched: deque[StoredBatch] = deque()
        self._fetching = SequenceRanges()
        self._gone = SequenceRanges()
        self._by_mid: dict[int, int] = {}
        self._under_way: dict[int, UnderWay] = {}
        self._under_way_bytes = 0
        self._backlog_under_way = 0
        self._since_backlog = 0
        self._probe_s = PROBE_S_MIN
        self._probe_at = 0.0
        self._latency_s = 0.0
        self._heard_at = 0.0

    @property
    def backlog_total(self) -> int:
        """How many batches wait for their turn behind the live ones."""
        return self._backlog.total + len(self._fetched)

    @property
    def unanswered(self) -> int:
        """How many messages the broker has not answered yet."""
        return len(self._by_mid)

    @property
    def is_idle(self) -> bool:
        """Whether nothing fresh waits or is under way."""
        return not self._live and not self._under_way

    # -- what happens outside ---------------------------------------------------------------------------

    def connect(self, now: float) -> None:
        """The broker is there. What it was given before may be lost with it: soon sent again."""
        self._connected = True
        self._heard_at = now
        # Mosquitto ends a TLS connection whose batch it refused: with a full window that would go on and on.
        if self.trouble != "refused":
            self._end_trouble()
        soon = now - self.receipt_timeout_s + RECONNECT_GRACE_S
        for batch in self._under_way.values():
            batch.sent_at = min(batch.sent_at, soon)

    def disconnect(self) -> None:
        """The broker is gone, and with it what it has not answered for; the rest may still be receipted."""
        self._connected = False
        self._by_mid.clear()
        for sequence in [one for one, batch in self._under_way.items() if not batch.delivered]:
            self._take_back(sequence)
        self._set_back(self._live)
        self._live_bytes = 0
        self._set_back(self._fetched)

    def reset(self) -> None:
        """The link was made anew: its message ids mean nothing any more."""
        self.disconnect()
        for sequence in list(self._under_way):
            self._take_back(sequence)

    def add_live(self, batches: Iterable[StoredBatch]) -> None:
        """These were just committed to the outbox."""
        for batch in batches:
            if not self._connected or self.trouble:
                self._backlog.add(batch.sequence)
                continue
            self._live.append(batch)
            self._live_bytes += len(batch.payload)
            while (
                len(self._live) > self.limits.live_batches_max
                or self._live_bytes > self.limits.live_bytes_max
            ):
                self._backlog.add(self._pop_live().sequence)

    def forget(self, gone: Iterable[tuple[int, int]]) -> None:
        """These are the cloud's now (or were dropped): never send them again."""
        out = SequenceRanges(gone)
        if len(self._backlog):
            self._backlog = self._backlog.minus(out)
        if len(self._fetching):
            self._gone.update(out)
        for first, last in out:
            span = range(first, last + 1)
            sequences = span if len(span) < len(self._under_way) else list(self._under_way)
            for sequence in sequences:
                if sequence in span and sequence in self._under_way:
                    self._end_way(sequence)
        if self._fetched:
            self._fetched = deque(batch for batch in self._fetched if batch.sequence not in out)
        # Live batches were not sent yet and are the newest: a receipt hardly ever reaches them, a drop may.
        if self._live and any(last >= self._live[0].sequence for _, last in out):
            self._live = deque(batch for batch in self._live if batch.sequence not in out)
            self._live_bytes = sum(len(batch.payload) for batch in self._live)

    def receive(self, receipted: Iterable[tuple[int, int]], now: float) -> None:
        """A receipt came: the cloud lives and keeps up."""
        ranges = SequenceRanges(receipted)
        waited = [
            now - self._under_way[first].sent_at for first, _ in list(ranges)[:8] if first in self._under_way
        ]
        self.forget(ranges)
        self._heard_at = now
        if waited:
            self._latency_s += 0.2 * (max(waited) - self._latency_s)
        self.receipt_timeout_s = min(
            RECEIPT_TIMEOUT_S_MAX, max(self.limits.receipt_timeout_s, 4 * self._latency_s)
        )
        self._end_trouble()

    def deliver(self, mid: int, code: int, now: float) -> None:
        """The broker answered for message `mid` with this PUBACK reason code."""
        sequence = self._by_mid.pop(mid, None)
        if sequence is None:
            return
        failed = code >= FAILURE_CODE_MIN or code == NO_SUBSCRIBERS_CODE
        batch = self._under_way.get(sequence)
        if failed:
            if batch is not None:
                self._take_back(sequence)
            self.refusal_code = code
            self._meet_trouble("no_subscribers" if code == NO_SUBSCRIBERS_CODE else "refused", now)
            return
        if batch is not None:
            batch.delivered = True
        if self.trouble in ("no_subscribers", "refused"):
            self._end_trouble()

    def expire(self, now: float) -> int:
        """Put what was not receipted in time back into the backlog; return how many that were."""
        if not self._connected:
            return 0
        late = [
            sequence
            for sequence, batch in self._under_way.items()
            if batch.delivered and now - batch.sent_at >= self.receipt_timeout_s
        ]
        for sequence in late:
            self._take_back(sequence)
        if late:
            self.resent_total += len(late)
            if now - self._heard_at >= self.receipt_timeout_s:
                self._meet_trouble("silent", now)
            self.receipt_timeout_s = min(RECEIPT_TIMEOUT_S_MAX, 2 * self.receipt_timeout_s)
        return len(late)

    # -- what to do -------------------------------------------------------------------------------------

    def plan_fetch(self) -> list[tuple[int, int]]:
        """Return which old batches to read from the outbox now (none: an empty list); then `add_fetched`."""
        if not self._connected or len(self._fetching) or not len(self._backlog):
            return []
        if len(self._fetched) >= self.limits.fetch_batches_max // 2:
            return []
        wanted, left = SequenceRanges(), 1 if self.trouble else self.limits.fetch_batches_max
        if self.trouble and self._fetched:
            return []
        for first, last in self._backlog:
            last = min(last, first + left - 1)  # noqa: PLW2901  # the range is cut to what may be fetched
            wanted.add(first, last)
            left -= last - first + 1
            if left <= 0:
                break
        self._backlog = self._backlog.minus(wanted)
        self._fetching = wanted
        self._gone = SequenceRanges()
        return list(wanted)

    def add_fetched(self, batches: list[StoredBatch], *, complete: bool) -> None:
        """Here is what `plan_fetch` asked for, in order; unless `complete`, the rest stays in the backlog."""
        if not complete:
            read_to = batches[-1].sequence if batches else 0
            read = SequenceRanges([(1, read_to)] if read_to else [])
            self._backlog.update(self._fetching.minus(read).minus(self._gone))
        found = [batch for batch in batches if batch.sequence not in self._gone]
        self._fetching = SequenceRanges()
        if self._connected:
            self._fetched.extend(found)
        else:
            self._set_back(found)

    def choose(self, now: float) -> tuple[StoredBatch, bool] | None:
        """Return the batch to send now and whether it is an old one; None: wait for what happens next."""
        limits = self.limits
        if not self._connected or len(self._by_mid) >= limits.unacknowledged_max:
            return None
        if self.trouble:
            return self._choose_probe(now)
        if (
            len(self._under_way) >= limits.unreceipted_batches_max
            or self._under_way_bytes >= limits.unreceipted_bytes_max
        ):
            return None
        return self._choose_open()

    def sent(self, batch: StoredBatch, mid: int, now: float, *, backlog: bool) -> None:
        """`batch` was handed to the link as message `mid`."""
        self.sent_total += 1
        self._by_mid[mid] = batch.sequence
        self._under_way[batch.sequence] = UnderWay(len(batch.payload), now, backlog)
        self._under_way_bytes += len(batch.payload)
        self._backlog_under_way += backlog

    def give_back(self, batch: StoredBatch, now: float = 0.0, code: int = 0) -> None:
        """`batch` could not be handed to the link; with a `code`, because the broker would refuse it."""
        self._backlog.add(batch.sequence)
        if code:
            self.refusal_code = code
            self._meet_trouble("refused", now)

    # -- inside -----------------------------------------------------------------------------------------

    def _choose_open(self) -> tuple[StoredBatch, bool] | None:
        limits = self.limits
        may_backlog = (
            bool(self._fetched)
            and self._backlog_under_way < limits.backlog_share * limits.unreceipted_batches_max
        )
        if self._live and not (may_backlog and self._since_backlog >= limits.backlog_every - 1):
            self._since_backlog += 1
            return self._pop_live(), False
        # With nothing live now, places stay free for what the next flush brings.
        if may_backlog and (
            self._live or len(self._by_mid) < limits.backlog_share * limits.unacknowledged_max
        ):
            self._since_backlog = 0
            return self._fetched.popleft(), True
        return None

    def _choose_probe(self, now: float) -> tuple[StoredBatch, bool] | None:
        """While nobody takes batches, one now and then finds out when that is over."""
        if now < self._probe_at or not self._fetched:
            return None
        self._probe_at = now + self._probe_s
        self._probe_s = min(PROBE_S_MAX, 2 * self._probe_s)
        return self._fetched.popleft(), True

    def _meet_trouble(self, trouble: Trouble, now: float) -> None:
        if not self.trouble:
            self._probe_at = now + self._probe_s
            self._set_back(self._live)
            self._live_bytes = 0
        self.trouble = trouble

    def _end_trouble(self) -> None:
        self.trouble = ""
        self._probe_s = PROBE_S_MIN

    def _pop_live(self) -> StoredBatch:
        batch = self._live.popleft()
        self._live_bytes -= len(batch.payload)
        return batch

    def _set_back(self, batches: "deque[StoredBatch] | list[StoredBatch]") -> None:
        self._backlog.update((batch.sequence, batch.sequence) for batch in batches)
        batches.clear()

    def _end_way(self, sequence: int) -> None:
        batch = self._under_way.pop(sequence)
        self._under_way_bytes -= batch.size
        self._backlog_under_way -= batch.backlog

    def _take_back(self, sequence: int) -> None:
        self._end_way(sequence)
        self._backlog.add(sequence)
