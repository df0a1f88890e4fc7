"""What durability costs: one transaction per flush against one per batch, and against a file per batch."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.outbox.outbox import Outbox
from models.telemetry import Batch, Frame, MachinePath, encode_batch

MACHINES = [MachinePath("site", "area", "line", f"machine-{number}") for number in range(10)]
FLUSHES = 60
REPEATS = 3


def make_frames() -> list[Frame]:
    """Return what one flush brings of one machine: ten tags, ten rows; about 1 kB."""
    timestamps = [1_795_337_912_000_000_000 + row * 100_000_000 for row in range(10)]
    return [Frame(timestamps, {f"tag_{tag}": [20.0 + row / 7 for row in range(10)] for tag in range(10)})]


def run_outbox(folder: Path, machines_per_put: int) -> None:
    """Put every flush and release it, in transactions of so many machines."""
    outbox = Outbox(folder / "outbox.sqlite", "pi-01", 10**9)
    outbox.open()
    for _ in range(FLUSHES):
        for start in range(0, len(MACHINES), machines_per_put):
            put = outbox.put(
                [(machine, make_frames()) for machine in MACHINES[start : start + machines_per_put]], 1
            )
            outbox.release([(put.batches[0].sequence, put.batches[-1].sequence)])
    assert outbox.totals().waiting == []
    outbox.close()


def run_files(folder: Path) -> None:
    """Do it the obvious way: a file per batch, synced with its folder, removed when receipted."""
    descriptor = os.open(folder, os.O_RDONLY)
    sequence = 0
    for _ in range(FLUSHES):
        for _ in MACHINES:
            sequence += 1
            path = folder / f"{sequence}.json"
            with path.open("wb") as file:
                file.write(encode_batch(Batch("pi-01", "epoch", sequence, make_frames())))
                file.flush()
                os.fsync(file.fileno())
            os.fsync(descriptor)
            path.unlink()
            os.fsync(descriptor)
    os.close(descriptor)


def measure(run: Callable[[Path], None], folder: Path) -> float:
    """Return batches a second."""
    folder.mkdir()
    start = time.perf_counter()
    run(folder)
    return FLUSHES * len(MACHINES) / (time.perf_counter() - start)


@pytest.mark.bench
def test_one_transaction_per_flush_pays(tmp_path: Path) -> None:
    """Batches put and released per second, all of them surviving a power cut."""
    ways: dict[str, Callable[[Path], None]] = {
        "a transaction per flush of 10": lambda folder: run_outbox(folder, 10),
        "a transaction per batch": lambda folder: run_outbox(folder, 1),
        "a synced file per batch": run_files,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS):  # interleaved, so that a slow moment of the disk meets all of them
        for number, (name, run) in enumerate(ways.items()):
            rates[name].append(measure(run, tmp_path / f"{repeat}-{number}"))
    medians = {name: sorted(found)[REPEATS // 2] for name, found in rates.items()}
    ours = medians["a transaction per flush of 10"]
    print("\noutbox, put and released, synchronous=FULL:")
    for name, rate in medians.items():
        print(f"  {name:32s} {rate:8.0f} batches/s  ours is {ours / rate:4.1f} x as fast")
