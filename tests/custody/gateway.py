"""A gateway that says, after each commit, what it accepted; and two that break the promise on purpose.

`forewarn edge run` with one line added behind `Outbox.put`. With `puback` the outbox is trimmed when the
broker acknowledges, as other gateways do; with `normal` SQLite commits without waiting for the disk.
"""

import os
import sys
from pathlib import Path

import edge.agent
import edge.carriers
from edge.outbox.outbox import Outbox, Put
from edge.publishing.limits import FAILURE_CODE_MIN, NO_SUBSCRIBERS_CODE
from edge.publishing.publisher import Publisher
from edge.settings import EdgeSettings
from forewarn.logs import set_up_logs
from models.settings import load_settings
from models.telemetry import decode_batch

NUMBER = "number"
PIPE_LINES = 40  # so many lines are written at once, whole: a pipe takes 4,096 bytes in one piece


class SayingOutbox(Outbox):
    """Says each number that it has committed, to the oracle."""

    pipe = -1

    def put(self, *arguments: object, **more: object) -> Put:
        """Commit, then say."""
        put = super().put(*arguments, **more)  # type: ignore[arg-type]
        lines = [
            b"%s %d\n" % (batch.machine.encode(), int(number))
            for batch in put.batches
            for frame in decode_batch(batch.payload).frames
            for number in frame.values.get(NUMBER, ())
            if number is not None
        ]
        for first in range(0, len(lines), PIPE_LINES):
            os.write(self.pipe, b"".join(lines[first : first + PIPE_LINES]))
        return put


class HastyOutbox(SayingOutbox):
    """Commits with synchronous=NORMAL: what it says is in the computer's memory, maybe not on the disk."""

    def open(self) -> None:
        """Open as ever, then wait less."""
        super().open()
        self._tables.connection.execute("PRAGMA synchronous=NORMAL")


class TrustingPublisher(Publisher):
    """Lets a batch go when the broker has acknowledged it."""

    def _take_delivery(self, mid: int, code: int) -> None:
        sequence = self._sending._by_mid.get(mid)
        super()._take_delivery(mid, code)
        if sequence is not None and code < FAILURE_CODE_MIN and code != NO_SUBSCRIBERS_CODE:
            self._sending.receive([(sequence, sequence)], self._loop.time())
            self._releasing.add([(sequence, sequence)])


def main() -> None:
    """`EDGE_YAML PIPE receipts|puback|normal`: run until told to stop."""
    file, pipe, custody = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    SayingOutbox.pipe = os.open(pipe, os.O_WRONLY)
    edge.agent.Outbox = HastyOutbox if custody == "normal" else SayingOutbox  # type: ignore[misc]
    if custody == "puback":
        edge.carriers.Publisher = TrustingPublisher  # type: ignore[misc]
    set_up_logs("json")
    edge.agent.run_edge(load_settings(file, EdgeSettings), file)


if __name__ == "__main__":
    main()
