"""`forewarn cloud import` and `export` as a user runs them, with a real recording."""

import csv
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.stores.chunk_reader import EmbeddedReader
from models.telemetry import MachinePath

SETTINGS = """
namespace: forewarn
broker: {host: 127.0.0.1, port: 1883}
records: {url: "sqlite:///records.sqlite"}
store: {kind: embedded, path: store.sqlite}
bundles: bundles
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file with an embedded store beside it."""
    file = tmp_path / "cloud.yaml"
    file.write_text(SETTINGS)
    return file


def run_forewarn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the command said."""
    command = [sys.executable, "-c", "from forewarn.cli import main; main()", "cloud", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_real_recording_is_stored_and_given_back(settings: Path, tmp_path: Path, recordings: Path) -> None:
    """Every cell of the file is in the store and in the export, and only once after a second import."""
    file = recordings / "skab" / "other" / "1.csv"
    if not file.is_file():
        pytest.skip(f"the recording is not here ({file})")
    where = ("--machine", "rig/hall/water/pump", "--config", str(settings))
    for _ in range(2):
        said = run_forewarn("import", str(file), *where)
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.startswith("rig/hall/water/pump: 745 rows with 7,450 values")
    with file.open() as opened:
        rows = list(csv.DictReader(opened, delimiter=";"))
    table = EmbeddedReader(tmp_path / "store.sqlite").read(
        "telemetry", MachinePath.parse("rig/hall/water/pump"), 0, 2**63 - 1
    )
    instants = [datetime.fromisoformat(row.pop("datetime")).replace(tzinfo=UTC) for row in rows]
    assert table.timestamps.tolist() == [int(instant.timestamp()) * 1_000_000_000 for instant in instants]
    assert set(table.values) == set(rows[0])
    for tag, column in table.values.items():
        assert column.tolist() == [float(row[tag]) for row in rows]
    said = run_forewarn("export", str(tmp_path / "out.csv"), *where, "--from", "2020-03-01T15:45:00Z")
    assert said.returncode == 0, said.stderr
    with (tmp_path / "out.csv").open() as opened:
        exported = list(csv.DictReader(opened))
    assert exported[0]["timestamp"] == "2020-03-01T15:45:00.000000000Z"
    assert exported[-1]["Current"] == repr(float(rows[-1]["Current"]))


def test_a_mistake_is_one_line_without_a_stack_trace(settings: Path, tmp_path: Path) -> None:
    """File, line and column, exit code 3."""
    file = tmp_path / "pump.csv"
    file.write_text("timestamp,flow\n2020-03-01T12:00:00Z,1.5\n2020-03-01T12:00:01Z,much\n")
    said = run_forewarn("import", str(file), "--machine", "a/b/c/d", "--config", str(settings))
    assert said.returncode == 3
    assert said.stderr == (
        f"{file}:3 column 'flow': 'much' is not a number: "
        "mend the line, or leave the column out with --columns\n"
    )
