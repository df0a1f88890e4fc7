"""The least of a cloud: receipts whatever a gateway sends, so that the gateway alone is measured.

`python -m tests.bench.receipting_cloud PORT GATEWAY`: until it is ended.
"""

import re
import sys
import threading

from models.link import BrokerSettings, Link, LinkMessage
from models.telemetry import Receipt, SequenceRanges, Topics, encode_receipt
from models.telemetry.batch import SCHEMA_VERSION

RECEIPT_S = 0.05
HEAD = re.compile(rb'"epoch":"(\w+)","sequence":(\d+)')


def run(port: int, gateway: str) -> None:
    """Receipt for ever, all that came since the last receipt at once."""
    topics, taken, lock = Topics(), dict[str, list[int]](), threading.Lock()

    def take(message: LinkMessage) -> None:
        link.acknowledge(message)
        found = HEAD.search(message.payload[:200])
        assert found is not None, message.payload[:200]
        with lock:
            taken.setdefault(found[1].decode(), []).append(int(found[2]))

    link = Link(
        BrokerSettings(port=port), "receipting", on_message=take, subscriptions=[topics.all_batches()]
    )
    link.start()
    while True:
        threading.Event().wait(RECEIPT_S)
        with lock:
            fresh, taken = taken, {}
        for epoch, numbers in fresh.items():
            ranges = list(SequenceRanges.of(numbers))
            link.publish(topics.receipt(gateway), encode_receipt(Receipt(SCHEMA_VERSION, epoch, ranges)))


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2])
