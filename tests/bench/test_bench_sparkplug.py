"""Sparkplug B: columns into metrics, against one metric after the other, and against Forewarn's own wire."""

import random
import statistics
import time
from collections.abc import Callable

import pytest

from edge.sparkplug.columns import encode_rows
from edge.sparkplug.decoding import decode_payload
from edge.sparkplug.keys import MetricKey, TagKeys
from edge.sparkplug.payload import DOUBLE, Metric, Payload, encode_payload, wrap_metrics
from models.telemetry import Batch, Frame, encode_batch
from models.telemetry import quality as status

START_MS = 1_795_337_912_000
REPEATS = 5
VALUES = 100_000


def make_frame(tags: int, rows: int, bad_tags: int) -> Frame:
    """Return readings that wander; the first `bad_tags` tags have none."""
    source = random.Random(1)
    columns: dict[str, list[float | None]] = {}
    for tag in range(tags):
        level = source.uniform(20, 90)
        columns[f"bearing_temperature_{tag}"] = [
            None if tag < bad_tags else round(level := level + source.gauss(0, 0.05), 3) for _ in range(rows)
        ]
    codes = {tag: dict.fromkeys(range(rows), status.BAD_TIMEOUT) for tag in list(columns)[:bad_tags]}
    return Frame([(START_MS + row * 500) * 1_000_000 for row in range(rows)], columns, codes)


def encode_plainly(frame: Frame, keys: TagKeys) -> bytes:
    """The obvious way: a metric object for each value, encoded one after the other."""
    return encode_payload(
        Payload(
            START_MS,
            [
                Metric(
                    alias=keys[tag].alias,
                    timestamp=at // 1_000_000,
                    value=column[row],
                    is_null=column[row] is None,
                )
                for row, at in enumerate(frame.timestamps)
                for tag, column in frame.values.items()
            ],
            3,
        )
    )


def encode_columns(frame: Frame, keys: TagKeys) -> bytes:
    """Our way."""
    [part] = encode_rows([frame], keys, bytes_max=10**9).parts
    return wrap_metrics(part, START_MS, 3)


def measure(sides: dict[str, Callable[[], bytes]], values: int) -> dict[str, list[float]]:
    """Return microseconds of CPU per value for each side, by repeat; the sides take turns."""
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(REPEATS + 1):  # the first is a warm-up
        for name, side in sides.items():
            begun = time.process_time()
            for _ in range(VALUES // values):
                side()
            if repeat:
                costs[name].append((time.process_time() - begun) / (VALUES // values * values) * 1e6)
    return costs


@pytest.mark.bench
@pytest.mark.parametrize(("tags", "rows", "bad"), [(10, 2, 0), (100, 10, 0), (1_000, 1, 0), (100, 10, 5)])
def test_columns_against_metrics(tags: int, rows: int, bad: int) -> None:
    """Prints microseconds a value each way, the ratios, and bytes a value; both ways say the same."""
    frame = make_frame(tags, rows, bad)
    keys = TagKeys({tag: MetricKey(DOUBLE, alias=alias) for alias, tag in enumerate(frame.values, 128)})
    ours, plain = encode_columns(frame, keys), encode_plainly(frame, keys)
    batch = Batch("pi-01", "9f2c0a5be1d84c70b1f6a3e2d4c5b697", 8812, [frame])
    said = sorted((m.timestamp, m.alias, m.value or 0) for m in decode_payload(ours).metrics)
    assert said == sorted((m.timestamp, m.alias, m.value or 0) for m in decode_payload(plain).metrics)
    found = measure(
        {
            "Sparkplug, columns": lambda: encode_columns(frame, keys),
            "Sparkplug, one by one": lambda: encode_plainly(frame, keys),
            "Forewarn's wire": lambda: encode_batch(batch),
        },
        tags * rows,
    )
    middle = {name: statistics.median(costs) for name, costs in found.items()}
    sizes = dict(zip(found, (ours, plain, encode_batch(batch)), strict=True))
    about = f"{tags} tags, {rows} rows" + (f", {bad} tags bad" if bad else "")
    print(f"\nencode, {about}: us of CPU per value (median of {REPEATS}, least to most), bytes per value:")
    for name, costs in found.items():
        ratio = middle["Sparkplug, one by one"] / middle[name]
        print(
            f"  {name:21} {middle[name]:6.3f}  ({min(costs):.3f} to {max(costs):.3f})  x {ratio:4.0f}  "
            f"{len(sizes[name]) / (tags * rows):5.1f} bytes"
        )
