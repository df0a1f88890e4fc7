"""The batch codec: columnar JSON against row-wise JSON of the standard library, one object for each value."""

import json
import random
import statistics
import time
from collections.abc import Callable

import pytest
import zstandard

from models.telemetry import Batch, Frame, MachinePath, decode_batch, encode_batch

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
TAGS = 10
START_NS = 1_795_337_912_000_000_000
VALUES = 200_000
REPEATS = 5
FLOOR = 10e6


def make_batch(rows: int) -> Batch:
    """Return readings that wander, with three decimals."""
    source = random.Random(1)
    times = [START_NS + row * 500_000_000 for row in range(rows)]
    columns: dict[str, list[float | None]] = {}
    for tag in range(TAGS):
        level = source.uniform(20, 90)
        columns[f"bearing_temperature_{tag}"] = [
            round(level := level + source.gauss(0, 0.05), 3) for _ in range(rows)
        ]
    return Batch("pi-01", "9f2c0a5be1d84c70b1f6a3e2d4c5b697", 8812, [Frame(times, columns)])


def encode_rows(batch: Batch) -> bytes:
    """The obvious way: an object that says everything for each value."""
    rows = [
        {"machine": str(PUMP), "tag": tag, "timestamp": at, "value": value}
        for frame in batch.frames
        for tag, column in frame.values.items()
        for at, value in zip(frame.timestamps, column, strict=True)
    ]
    return json.dumps(rows).encode()


def decode_rows(payload: bytes) -> list[tuple[str, int, float]]:
    """Read them again."""
    return [(row["tag"], row["timestamp"], row["value"]) for row in json.loads(payload)]


def measure(sides: dict[str, tuple[Callable[[], object], int]], values: int) -> dict[str, list[float]]:
    """Return values per second of CPU for each side, by repeat; the sides take turns."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(REPEATS + 1):  # the first is a warm-up
        for name, (side, calls) in sides.items():
            begun = time.process_time()
            for _ in range(calls):
                side()
            if repeat:
                rates[name].append(values * calls / (time.process_time() - begun))
    return rates


@pytest.mark.bench
@pytest.mark.parametrize("values", [100, 1_000])
def test_columns_against_rows(values: int) -> None:
    """Prints values a second each way, the ratios, and bytes a value; what is decoded is what was encoded."""
    batch = make_batch(values // TAGS)
    ours, rows = encode_batch(batch), encode_rows(batch)
    assert decode_batch(ours) == batch
    assert len(decode_rows(rows)) == values
    calls = VALUES // values
    found = measure(
        {
            "encode, columns": (lambda: encode_batch(batch), calls),
            "encode, rows": (lambda: encode_rows(batch), calls // 10),
            "decode, columns": (lambda: decode_batch(ours), calls),
            "decode, rows": (lambda: decode_rows(rows), calls // 10),
        },
        values,
    )
    middle = {name: statistics.median(rates) for name, rates in found.items()}
    print(f"\ncodec, {values} values a batch, values/s of CPU time (median of {REPEATS}, least to most):")
    for name, rates in found.items():
        way, layout = name.split(", ")
        ratio = f"x {middle[name] / middle[f'{way}, rows']:.0f}" if layout == "columns" else ""
        spread = f"({min(rates) / 1e6:5.2f} to {max(rates) / 1e6:5.2f} M)"
        floor = f"floor {FLOOR / 1e6:.0f} M" if layout == "columns" else ""
        print(f"  {name:16} {middle[name] / 1e6:6.2f} M  {spread}  {ratio:5} {floor}".rstrip())
    compressor = zstandard.ZstdCompressor(level=3)
    for name, payload in (("columns", ours), ("rows", rows)):
        small = len(compressor.compress(payload)) / values
        print(
            f"  {name:16} {len(payload) / values:6.1f} bytes/value, with zstd {small:.1f} (the wire is plain)"
        )
