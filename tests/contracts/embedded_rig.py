"""Two machines, frames of theirs, and what an embedded store holds of them."""

from pathlib import Path

from cloud.stores import Table
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from models.telemetry import Frame, MachinePath

ROOT = Path(__file__).parent.parent.parent
PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
START = 1_795_337_912_000_000_000
SECOND = 1_000_000_000
FOREVER = 2**63 - 1


def make_frame(first: int, rows: int, tags: str = "ab") -> Frame:
    """Return rows from the instant `first` on, in seconds after START."""
    times = [START + (first + row) * SECOND for row in range(rows)]
    return Frame(times, {tag: [(first + row) / 10 for row in range(rows)] for tag in tags})


def tidy_up(writer: EmbeddedWriter, now_ns: int = START) -> int:
    """Tidy until nothing is due; return how many pieces of work that took."""
    pieces = 0
    while writer.tidy(now_ns):
        pieces += 1
    return pieces


def read_all(path: Path, machine: MachinePath = PUMP) -> Table:
    """Return all telemetry of a machine, read afresh."""
    reader = EmbeddedReader(path)
    try:
        return reader.read("telemetry", machine, 0, FOREVER)
    finally:
        reader.close()
