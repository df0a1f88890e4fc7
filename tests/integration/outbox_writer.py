"""A program that puts numbered batches into an outbox and says each number once it is committed."""

import os
import sys
from pathlib import Path

from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Outbox
from models.telemetry import Frame, MachinePath

TRIES_MAX = 200
MACHINE = MachinePath.parse("site/area/line/pump")


def main(path: str, count: int) -> None:
    """Put `count` batches (0: for ever); whatever the disk refuses is tried again, as the agent does."""
    outbox = Outbox(Path(path), "pi-01", 10**9)
    tries = 0
    while tries < TRIES_MAX:
        try:
            outbox.open()
            break
        except OutboxUnavailable:
            tries += 1
    number = 1
    while tries < TRIES_MAX and (number <= count or count == 0):
        try:
            outbox.put([(MACHINE, [Frame([number], {"count": [float(number)]})])], number)
        except OutboxUnavailable:
            tries += 1
            continue
        os.write(1, b"%d\n" % number)
        number += 1
    os._exit(0)  # no orderly end, which would mend things


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
