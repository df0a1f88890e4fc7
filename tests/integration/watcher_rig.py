"""A store with a past of normal running, a watcher over it, and a book that keeps what it is told."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cloud.records import open_records
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.transactions import RecordsUnavailable
from cloud.watch.observations import Observation
from cloud.watch.training import train_machine
from cloud.watch.watcher import Watcher
from cloud.watch.watching import WatchSettings
from models.telemetry import Frame, MachinePath

MACHINE = MachinePath.parse("riverside/hall-1/water/pump-7")
OTHER = MachinePath.parse("riverside/hall-1/water/pump-8")
SECOND = 1_000_000_000
PAST_ROWS = 1_200
NOW_NS = 1_795_337_912 * SECOND
SCRIPT = "<script>alert(1)</script>"
SETTINGS = WatchSettings(grid_s=1.0, lateness_s=1.0, bundle_check_s=0.001)


def make_rows(first: int, rows: int) -> dict[str, np.ndarray]:
    """Return values of second `first` on of a machine whose tags follow a load; a second has one value."""
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(6_000, 4))
    load = np.convolve(noise[:, 3], np.ones(40) / 6.0, mode="same")
    columns = {
        "flow": 30.0 + load + 0.2 * noise[:, 0],
        SCRIPT: 12.0 + 0.5 * load + 0.1 * noise[:, 1],
        "temperature": 60.0 + 2.0 * load + 0.3 * noise[:, 2],
    }
    return {tag: values[first + PAST_ROWS : first + PAST_ROWS + rows] for tag, values in columns.items()}


def make_frame(first: int, rows: int, change: Callable[[dict], None] = lambda _columns: None) -> Frame:
    """Return the rows of seconds first.. after the start, changed as told."""
    columns = {tag: values.copy() for tag, values in make_rows(first, rows).items()}
    change(columns)
    stamps = [NOW_NS + (first + row) * SECOND + 300_000_000 for row in range(rows)]
    return Frame(stamps, {tag: values.tolist() for tag, values in columns.items()})


class RecordingBook:
    """A book that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.troubles: dict[MachinePath, str] = {}
        self.away = False

    def observe(self, observations: Sequence[Observation]) -> None:
        """Keep them, unless the records are away."""
        if self.away:
            raise RecordsUnavailable("the records are away")
        self.seen += observations

    def note_models(self, troubles: Mapping[MachinePath, str]) -> None:
        """Keep them, unless the records are away."""
        if self.away:
            raise RecordsUnavailable("the records are away")
        self.troubles.update(troubles)

    def judged(self) -> list[Observation]:
        """Return those with a score."""
        return [seen for seen in self.seen if seen.state == "judged"]

    def strange(self) -> list[Observation]:
        """Return those above their limit."""
        return [seen for seen in self.judged() if (seen.score or 0) > (seen.limit or 0)]


class Rig:
    """A store with a past, a watcher over it, and the way of a block through both."""

    def __init__(self, folder: Path, settings: WatchSettings = SETTINGS) -> None:
        store = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
        self.writer, self.reader = store.build_writer(), store.build_reader()
        self.score_writer = store.build_writer()
        self.engine = open_records(f"sqlite:///{folder}/records.sqlite")
        self.bundles = folder / "bundles"
        self.settings = settings
        self.clock_s = 1_000.0
        self.watch()

    def watch(self) -> None:
        """Start a watcher anew, as after a restart."""
        self.book = RecordingBook()
        self.watcher = Watcher(
            self.reader,
            self.score_writer,
            self.bundles,
            self.book,
            self.engine,
            self.settings,
            clock_ns=lambda: NOW_NS + 3_600 * SECOND,
        )

    def store(self, *frames: Frame) -> list[Block]:
        """Put frames into the store; return them as blocks."""
        blocks = [Block("telemetry", MACHINE, list(frames))]
        assert self.writer.write(blocks) == []
        return blocks

    def bring(self, *frames: Frame) -> None:
        """Store frames, feed them, and let a turn of two seconds pass."""
        self.watcher.feed(self.store(*frames))
        self.turn()

    def turn(self, passed_s: float = 2.0) -> None:
        """Let the watcher take a turn."""
        self.clock_s += passed_s
        self.watcher.turn(self.clock_s)

    def train(self) -> None:
        """Learn from the past."""
        train_machine(self.reader, self.bundles, MACHINE, (None, NOW_NS), self.settings)

    def close(self) -> None:
        """Let go of the files."""
        for part in (self.writer, self.score_writer, self.reader):
            part.close()
        self.engine.dispose()
