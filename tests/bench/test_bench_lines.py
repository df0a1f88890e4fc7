"""Line protocol: whole columns at a time against influxdb-client's `Point`, in one run, same lines."""

import random
import statistics
import time
from collections.abc import Callable

import pytest
from influxdb_client import Point, WritePrecision

from cloud.stores import Block
from cloud.stores.lines import encode_block
from models.telemetry import Frame, MachinePath, quality

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
PLACE = {"site": "riverside", "area": "hall-1", "line": "water", "machine": "pump-7"}
START = 1_795_337_912_000_000_000
ROUNDS = 7


def make_frame(rows: int, tags: int) -> Frame:
    """Return readings with three decimals."""
    source = random.Random(1)
    times = [START + row * 100_000_000 for row in range(rows)]
    return Frame(
        times, {f"motor_{tag}": [round(source.gauss(50, 3), 3) for _ in range(rows)] for tag in range(tags)}
    )


def make_point(instant: int) -> Point:
    """Return a point of the pump without fields."""
    point = Point("telemetry").time(instant, WritePrecision.NS)
    for key, value in PLACE.items():
        point.tag(key, value)
    return point


def write_points_narrow(frame: Frame) -> list[str]:
    """The obvious way: one `Point` for each value."""
    return [
        make_point(instant).field(tag, value).to_line_protocol()
        for tag, column in frame.values.items()
        for instant, value in zip(frame.timestamps, column, strict=True)
    ]


def write_points_wide(frame: Frame) -> list[str]:
    """The better way with the library: one `Point` for each row."""
    lines = []
    for row, instant in enumerate(frame.timestamps):
        point = make_point(instant)
        for tag, column in frame.values.items():
            point.field(tag, column[row])
        lines.append(point.to_line_protocol())
    return lines


def measure(sides: dict[str, Callable[[], object]], values: int) -> dict[str, float]:
    """Return CPU microseconds a value of each side: medians of rounds that take turns."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            begun = time.process_time()
            side()
            spent[name].append((time.process_time() - begun) / values * 1e6)
    return {name: statistics.median(times) for name, times in spent.items()}


@pytest.mark.bench
@pytest.mark.parametrize(("rows", "tags"), [(1000, 10), (100, 10), (10, 10)])
def test_line_protocol_against_points(rows: int, tags: int) -> None:
    """Prints microseconds a value and the ratios; the lines say the same."""
    frame, repeat = make_frame(rows, tags), 10_000 // (rows * tags) + 1
    block = Block("telemetry", PUMP, [frame])
    ours = encode_block(block).decode().splitlines()
    assert sorted(map(read, ours)) == sorted(map(read, write_points_wide(frame)))
    gaps = Frame(
        frame.timestamps, frame.values | {"motor_0": [None] * rows}, {"motor_0": {0: quality.BAD_TIMEOUT}}
    )
    found = measure(
        {
            "ours": lambda: [encode_block(block) for _ in range(repeat)],
            "ours, one tag bad": lambda: [
                encode_block(Block("telemetry", PUMP, [gaps])) for _ in range(repeat)
            ],
            "Point a row": lambda: [write_points_wide(frame) for _ in range(repeat)],
            "Point a value": lambda: [write_points_narrow(frame) for _ in range(repeat)],
        },
        rows * tags * repeat,
    )
    print(f"\nline protocol, {rows} rows x {tags} tags, CPU us/value (times ours):")
    for name, cost in found.items():
        print(f"  {name:18} {cost:7.3f}  x {cost / found['ours']:.1f}   {1e6 / cost:12,.0f} values/s")


def read(line: str) -> tuple[str, frozenset[tuple[str, float]], str]:
    """Return a line without regard to the order of its fields."""
    head, fields, instant = line.split(" ")
    pairs = (pair.split("=") for pair in fields.split(","))
    return head, frozenset((key, float(value)) for key, value in pairs), instant
