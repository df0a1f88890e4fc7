"""Recorded data of a real machine through edge, broker, ingester and store, unchanged."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.stores import Table
from cloud.stores.embedded import EmbeddedStoreSettings
from models.telemetry import MachinePath
from tests.end_to_end.programs_rig import Command, run_command
from tests.servers import Mosquitto, wait_until

RIG = MachinePath("skoltech", "lab", "loop", "pump-rig")
LABELS = ("datetime", "anomaly", "changepoint")
SPEED = 40


class Recording:
    """One file of the SKAB benchmark: `times` in ns since 1970, `columns` by tag."""

    def __init__(self, file: Path) -> None:
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter=";"))
        moments = [datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC) for row in rows]
        self.times = np.array([int(moment.timestamp()) * 10**9 for moment in moments], dtype=np.int64)
        self.columns = {
            tag: np.array([float(row[tag]) for row in rows]) for tag in rows[0] if tag not in LABELS
        }


@contextmanager
def cloud_and_edge(folder: Path, broker: Mosquitto) -> Iterator[None]:
    """Run `forewarn cloud run` and `forewarn edge run` on machines.yaml; leave when all is stored."""
    link = f"broker: {{host: 127.0.0.1, port: {broker.port}}}\n"
    (folder / "cloud.yaml").write_text(
        f"{link}roles: [ingest]\nrecords: {{path: records.sqlite}}\n"
        "store: {kind: embedded, path: store.sqlite}\n"
    )
    (folder / "edge.yaml").write_text(
        f"gateway: rig\n{link}outbox: {{path: outbox.sqlite, flush_s: 0.2}}\n"
        "health: {port: null}\n" + (folder / "machines.yaml").read_text()
    )
    cloud = Command(folder, "cloud", "cloud", "run", "--config", "cloud.yaml")
    edge = Command(folder, "edge", "edge", "run", "--config", "edge.yaml")
    try:
        yield
        assert edge.end() == 0, edge.log.read_text()
        assert cloud.end() == 0, cloud.log.read_text()
    finally:
        edge.kill()
        cloud.kill()


def read_stored(folder: Path) -> Table:
    """Return everything that is stored of the machine."""
    reader = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite").build_reader()
    try:
        return reader.read("telemetry", RIG, 0, 2**62)
    finally:
        reader.close()


def pick(table: Table, tag: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the times and values of one tag where it has a value."""
    values = table.values[tag]
    there = ~np.isnan(values)
    return table.timestamps[there], values[there]


def replay(folder: Path, recordings: Path, protocol: str, file: str) -> tuple[Command, Path]:
    """Start the replay of a recording; return it once it waits for a client."""
    source = recordings / "skab" / file
    arguments = ["--machine", str(RIG), "--protocol", protocol, "--speed", str(SPEED)]
    command = Command(
        folder, "replay", "simulate", "--replay", str(source), *arguments, "--edge-config", "machines.yaml"
    )
    command.wait_for_line('"ready":true')
    return command, source


def assert_nothing_is_missing(folder: Path, values: int) -> None:
    """The ledger agrees: all that was produced is stored."""
    told = run_command(folder, "cloud", "verify", "--json", "--config", "cloud.yaml")
    assert told.returncode == 0, told.stdout + told.stderr
    account = json.loads(told.stdout)["gateways"][0]
    told_values = [account[f"values_{word}"] for word in ("produced", "stored", "missing")]
    assert told_values == [values, values, 0]


def test_opcua_brings_every_value_with_its_own_time(
    tmp_path: Path, mosquitto: Mosquitto, recordings: Path
) -> None:
    """Every value of the file is stored once, exactly, at its own time shifted by one constant."""
    replaying, source = replay(tmp_path, recordings, "opcua", "other/1.csv")
    recorded = Recording(source)
    with cloud_and_edge(tmp_path, mosquitto):
        assert replaying.wait(90) == 0
    facts = replaying.read_json_lines()[-1]
    assert facts["served"] == len(recorded.times)
    stored = read_stored(tmp_path)
    assert stored.values.keys() == recorded.columns.keys()
    for tag, column in recorded.columns.items():
        times, values = pick(stored, tag)
        assert np.array_equal(times, recorded.times + facts["shift_ns"]), tag
        assert np.array_equal(values, column), tag
    assert_nothing_is_missing(tmp_path, len(recorded.times) * len(recorded.columns))


def test_modbus_brings_every_row_once_and_in_order(
    tmp_path: Path, mosquitto: Mosquitto, recordings: Path
) -> None:
    """Every row is stored once, exactly, in the file's order; after the last one nothing is made up."""
    replaying, source = replay(tmp_path, recordings, "modbus", "other/3.csv")
    recorded = Recording(source)
    with cloud_and_edge(tmp_path, mosquitto):
        assert replaying.wait(90) == 0
    assert replaying.read_json_lines()[-1]["served"] == len(recorded.times)
    stored = read_stored(tmp_path)
    assert stored.values.keys() == recorded.columns.keys()
    for tag, column in recorded.columns.items():
        times, values = pick(stored, tag)
        assert np.array_equal(values, column), tag
        assert np.all(np.diff(times) > 0), tag
    assert_nothing_is_missing(tmp_path, len(recorded.times) * len(recorded.columns))


@pytest.mark.parametrize("protocol", ["opcua", "modbus"])
def test_a_broker_killed_on_the_way_loses_nothing(
    tmp_path: Path, mosquitto: Mosquitto, recordings: Path, protocol: str
) -> None:
    """With the broker killed (-9) for some seconds in mid-replay the file still arrives whole, once."""
    replaying, source = replay(tmp_path, recordings, protocol, "other/1.csv")
    recorded = Recording(source)
    with cloud_and_edge(tmp_path, mosquitto):
        store = tmp_path / "store.sqlite"
        wait_until(store.exists, "the first values are stored", 30)
        wait_until(lambda: len(read_stored(tmp_path).timestamps) > 100, "100 rows are stored", 30)
        mosquitto.kill()
        wait_until(lambda: "broker_lost" in (tmp_path / "edge.log").read_text(), "the edge notices", 30)
        mosquitto.start()
        assert replaying.wait(90) == 0
    stored = read_stored(tmp_path)
    for tag, column in recorded.columns.items():
        assert np.array_equal(pick(stored, tag)[1], column), tag
    assert_nothing_is_missing(tmp_path, len(recorded.times) * len(recorded.columns))
