"""Files of values: read, learned from and scored by the command line."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forewarn.cli import app
from models.anomaly.tables import TableRejected, find_step_s, read_table
from models.errors import ForewarnError

BEGIN = np.datetime64("2026-11-23T08:00:00")


def write_table(path: Path, rows: int = 600, offset: float = 0.0) -> Path:
    """Write a machine of three tags, one row a second; the last is `offset` too high at the end."""
    rng = np.random.default_rng(4)
    load = np.convolve(rng.normal(size=rows + 30), np.ones(30) / 5.0, mode="valid")[:rows]
    pressure = 4.0 + 0.2 * load + 0.02 * rng.normal(size=rows)
    pressure[-40:] += offset
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["when", "flow", "volume, dry", "pressure"])
        for row in range(rows):
            flow, volume = 30.0 + load[row] + 0.1 * rng.normal(), 9.0 - load[row] + 0.1 * rng.normal()
            writer.writerow([str(BEGIN + row), *(f"{value:.6f}" for value in (flow, volume, pressure[row]))])
    return path


def test_a_table_keeps_the_columns_asked_for(tmp_path: Path) -> None:
    """In the order asked for; its usual step is that of its rows."""
    table = read_table(write_table(tmp_path / "t.csv", rows=5), ["pressure", "flow"])
    assert list(table.values) == ["pressure", "flow"]
    assert table.timestamps[0] == 1_795_420_800_000_000_000
    assert find_step_s(table) == 1.0
    assert 25.0 < table.values["flow"][0] < 35.0


def test_rows_are_put_in_order_and_the_last_of_an_instant_counts(tmp_path: Path) -> None:
    """Over the whole file; an empty cell is NaN."""
    file = tmp_path / "t.csv"
    file.write_text("time,a\n1583064002,1\n1583064001,\n1583064002,3\n1583064000,4\n")
    table = read_table(file, None)
    assert (table.timestamps // 10**9).tolist() == [1583064000, 1583064001, 1583064002]
    np.testing.assert_array_equal(table.values["a"], [4.0, np.nan, 3.0])


def test_one_row_teaches_nothing(tmp_path: Path) -> None:
    """A step needs two rows."""
    with pytest.raises(TableRejected, match="fewer than two rows"):
        find_step_s(read_table(write_table(tmp_path / "t.csv", rows=1), None))


def test_from_a_file_to_a_bundle_to_scores(tmp_path: Path) -> None:
    """`models train` learns, `models show` says what, `models score` finds the change and names the tag."""
    healthy = write_table(tmp_path / "healthy.csv")
    sick = write_table(tmp_path / "sick.csv", offset=1.5)
    bundle = str(tmp_path / "bundles")
    machine = "riverside/hall-1/water/pump-7"
    trained = CliRunner().invoke(
        app,
        ["models", "train", str(healthy), "--bundle", bundle, "--machine", machine],
        catch_exceptions=False,
    )
    assert f"{machine}: 600 rows of 3 tags, one every 1 s" in trained.stdout
    assert "provisional" in trained.stdout
    shown = CliRunner().invoke(app, ["models", "show", bundle], catch_exceptions=False)
    assert shown.stdout.splitlines()[0] in trained.stdout
    scored = CliRunner().invoke(
        app, ["models", "score", str(sick), "--bundle", bundle], catch_exceptions=False
    )
    rows = list(csv.DictReader(io.StringIO(scored.stdout)))
    strange = [row for row in rows if row["strange"] == "1"]
    assert strange[0]["tags"].split("; ")[0] == "pressure"
    assert "2026-11-23T08:09:20" <= strange[0]["time"] <= "2026-11-23T08:09:35"
    assert float(strange[0]["score"]) > float(strange[0]["limit"])


def test_a_file_without_the_bundles_tags_is_refused(tmp_path: Path) -> None:
    """The missing column is named."""
    bundle = str(tmp_path / "bundles")
    healthy = write_table(tmp_path / "healthy.csv")
    CliRunner().invoke(app, ["models", "train", str(healthy), "--bundle", bundle], catch_exceptions=False)
    other = tmp_path / "other.csv"
    other.write_text("when,flow\n2026-11-23T08:00:00,1\n")
    with pytest.raises(ForewarnError, match="no column 'pressure'"):
        CliRunner().invoke(app, ["models", "score", str(other), "--bundle", bundle], catch_exceptions=False)
