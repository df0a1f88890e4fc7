"""Recordings replayed as a machine's tags: every row once and in order, over both protocols."""

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from edge.simulator.recording import Recording, read_recording
from tests.integration.simulator_rig import END_S_MAX, Start, gather, keep_simulators


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts simulators, which are ended with the test."""
    yield from keep_simulators(tmp_path)


def write_recording(folder: Path, rows: int = 300) -> Path:
    """Write a recording whose values often repeat, as real ones do."""
    lines = ["datetime;Volume Flow RateRMS;Pressure;<script>alert(1)</script>;anomaly"]
    for row in range(rows):
        second = f"2020-03-01 15:{row // 60:02d}:{row % 60:02d}"
        lines.append(f"{second};{math.sin(row) / 3};{row // 50};0.1;0.0")
    file = folder / "recording.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


class Hearer:
    """What a subscription is told, in order."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[int, float]]] = {}

    def datachange_notification(self, node: Any, value: float | None, notice: Any) -> None:
        """Keep one value with its source timestamp."""
        if value is not None:
            stamp = notice.monitored_item.Value.SourceTimestamp
            tag = node.nodeid.Identifier.partition(".")[2]
            self.rows.setdefault(tag, []).append((round(stamp.timestamp() * 1e6) * 1000, value))


async def test_every_row_reaches_an_opcua_subscriber_with_its_own_time(start: Start, tmp_path: Path) -> None:
    """A subscriber that asks for timestamps gets all rows, equal ones too, shifted by one constant."""
    recording = read_recording(write_recording(tmp_path))
    simulator = start(
        *("--replay", str(tmp_path / "recording.csv"), "--machine", "a/b/c/rig-1", "--speed", "200"),
        *("--linger-s", "2"),
    )
    hearer = Hearer()
    async with Client(simulator.ready["opcua"]) as client:
        namespace = await client.get_namespace_index("urn:forewarn:plant")
        subscription = await client.create_subscription(100, hearer)
        items = [
            make_item(handle, ua.NodeId(f"rig-1.{tag}", namespace))
            for handle, tag in enumerate(recording.columns, start=1)
        ]
        results = await subscription.create_monitored_items(items)
        assert all(isinstance(result, int) for result in results)
        last = await asyncio.to_thread(simulator.read_line)
        await asyncio.sleep(0.5)
    assert last["rows"] == last["served"] == 300
    assert 0 <= time.time_ns() - (recording.timestamps[-1] + last["shift_ns"]) < END_S_MAX * 1e9
    assert hearer.rows == shift(recording, last["shift_ns"])
    assert simulator.program.wait(END_S_MAX) == 0


def make_item(handle: int, node_id: ua.NodeId) -> ua.MonitoredItemCreateRequest:
    """Return the request of a client that wants every row: each new timestamp is news, the queue is long."""
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node_id, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=0,
            Filter=ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp),
            QueueSize=10_000,
            DiscardOldest=True,
        ),
    )


def shift(recording: Recording, shift_ns: int) -> dict[str, list[tuple[int, float]]]:
    """Return (timestamp, value) of each tag as they must arrive."""
    stamps = [timestamp + shift_ns for timestamp in recording.timestamps]
    return {tag: list(zip(stamps, values, strict=True)) for tag, values in recording.columns.items()}


async def test_every_row_of_a_real_recording_reaches_the_opcua_driver(start: Start, recordings: Path) -> None:
    """The pair that the edge relies on: nothing missing, nothing twice, values and times exact."""
    file = recordings / "skab" / "other" / "1.csv"
    recording = read_recording(file)
    simulator = start("--replay", str(file), "--machine", "a/b/c/rig-1", "--speed", "200", "--linger-s", "3")
    driver = simulator.load_machines()["rig-1"].build()
    rows = len(recording)
    seen = await gather(driver, lambda seen: bool(seen) and min(map(len, seen.values())) >= rows)
    last = await asyncio.to_thread(simulator.read_line)
    assert seen == shift(recording, last["shift_ns"])


async def test_each_modbus_poll_reads_the_next_row_exactly_once(start: Start, tmp_path: Path) -> None:
    """Through the driver: all rows in order, exact doubles, then a busy unit, and the simulator ends."""
    recording = read_recording(write_recording(tmp_path))
    simulator = start(
        *("--replay", str(tmp_path / "recording.csv"), "--machine", "a/b/c/rig-1", "--protocol", "modbus"),
        *("--speed", "200", "--linger-s", "1"),
    )
    driver = simulator.load_machines()["rig-1"].build()
    polls = 0

    def is_over(_: dict[str, Any]) -> bool:
        nonlocal polls
        polls += 1
        return polls > len(recording) + 3

    seen = await gather(driver, is_over)
    assert {tag: [value for _, value in pairs] for tag, pairs in seen.items()} == {
        tag: list(values) for tag, values in recording.columns.items()
    }
    assert simulator.read_line() == {"rows": 300, "served": 300, "shift_ns": None}
    assert simulator.program.wait(END_S_MAX) == 0
