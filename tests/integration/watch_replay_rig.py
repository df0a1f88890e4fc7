"""Several machines over a real store, the same telemetry brought to watchers that are restarted or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cloud.ingest.gaps import record_gaps
from cloud.ingest.sorting import Accepted
from cloud.records import open_records
from cloud.stores import Block, Table
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.transactions import begin_write
from cloud.watch.training import train_machine
from cloud.watch.watcher import Watcher
from cloud.watch.watching import WatchSettings
from models.telemetry import Batch, Frame, Gap, MachinePath
from tests.integration.watcher_rig import NOW_NS, SECOND, RecordingBook

MACHINES = [MachinePath.parse(f"riverside/hall-1/water/pump-{n}") for n in (1, 2, 3)]
PAST_ROWS = 900
SETTINGS = WatchSettings(grid_s=1.0, lateness_s=3.0, bundle_check_s=0.001, history_after_s=4.0)


def make_columns(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Return three tags that follow a load, from `PAST_ROWS` before the start on."""
    noise = np.random.default_rng(seed).normal(size=(rows, 4))
    load = np.convolve(noise[:, 3], np.ones(40) / 6.0, mode="same")
    return {
        "flow": 30.0 + load + 0.2 * noise[:, 0],
        "current": 12.0 + 0.5 * load + 0.1 * noise[:, 1],
        "temperature": 60.0 + 2.0 * load + 0.3 * noise[:, 2],
    }


def cut(columns: dict[str, np.ndarray], first: int, rows: int) -> Frame:
    """Return seconds first.. after the start as a frame."""
    places = slice(first + PAST_ROWS, first + PAST_ROWS + rows)
    stamps = [NOW_NS + (first + row) * SECOND + 300_000_000 for row in range(rows)]
    return Frame(stamps, {tag: values[places].tolist() for tag, values in columns.items()})


class ReplayRig:
    """A store and records in a folder; `restart` begins a watcher anew over what both know."""

    def __init__(self, folder: Path) -> None:
        store = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
        self.writer, self.reader, self.scores = (
            store.build_writer(),
            store.build_reader(),
            store.build_writer(),
        )
        self.engine = open_records(f"sqlite:///{folder}/records.sqlite")
        self.bundles = folder / "bundles"
        self.book = RecordingBook()
        self.clock_s = 1_000.0
        self.sequence = 0
        self.restart()

    def restart(self) -> None:
        """Begin a watcher that knows only what is kept."""
        self.watcher = Watcher(
            self.reader,
            self.scores,
            self.bundles,
            self.book,
            self.engine,
            SETTINGS,
            clock_ns=lambda: NOW_NS + 3_600 * SECOND,
        )

    def learn(self, machine: MachinePath, *frames: Frame) -> None:
        """Store the past of a machine and train it."""
        self.writer.write([Block("telemetry", machine, list(frames))])
        train_machine(self.reader, self.bundles, machine, (None, NOW_NS), SETTINGS)

    def bring(self, blocks: Sequence[tuple[MachinePath, Frame]], passed_s: float = 2.0) -> None:
        """Store frames, feed them, and let a turn pass."""
        made = [Block("telemetry", machine, [frame]) for machine, frame in blocks]
        assert self.writer.write(made) == []
        self.watcher.feed(made)
        self.turn(passed_s)

    def turn(self, passed_s: float = 2.0) -> None:
        """Let a turn pass."""
        self.clock_s += passed_s
        self.watcher.turn(self.clock_s)

    def record(self, machine: MachinePath, gap: Gap) -> None:
        """Write a gap down as the ingester does."""
        self.sequence += 1
        batch = Batch("pi-01", "e", self.sequence, [], [gap])
        accepted = Accepted(self.sequence, ("pi-01", "e"), self.sequence, machine, batch, 0)
        with begin_write(self.engine) as connection:
            record_gaps(connection, [accepted])

    def read(self, machine: MachinePath, measurement: str = "score") -> Table:
        """Return what is stored of a machine's judgement."""
        return self.reader.read(measurement, machine, NOW_NS, NOW_NS + 4_000 * SECOND)

    def close(self) -> None:
        """Let go of the files."""
        for part in (self.writer, self.scores, self.reader):
            part.close()
        self.engine.dispose()
