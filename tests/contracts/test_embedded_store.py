"""What the embedded store promises beyond its shelf: merges, damage, locks, full disks, other files."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block, StoreUnavailable
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedStoreSettings, EmbeddedWriter
from models.telemetry import Frame
from tests.contracts.embedded_rig import FOREVER, MOTOR, PUMP, SECOND, START, make_frame, read_all, tidy_up


def count_levels(path: Path) -> dict[int, int]:
    """Return how many chunks of each level the file holds."""
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT level, COUNT(*) FROM chunk GROUP BY level").fetchall())


def test_small_chunks_become_large_ones_and_read_the_same(tmp_path: Path) -> None:
    """Two hours of single rows end as few chunks of about two bytes a value, with nothing changed."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    generator = np.random.default_rng(7)
    rows = 64 * 66
    walk = np.round(50 + np.cumsum(generator.normal(0, 0.05, (10, rows)), axis=1), 2)
    blocks = []
    for row in range(rows):
        values: dict[str, list[float | None]] = {f"tag-{tag}": [float(walk[tag, row])] for tag in range(10)}
        blocks.append(Block("telemetry", PUMP, [Frame([START + row * SECOND], values)]))
    for first in range(0, rows, 10):
        writer.write(blocks[first : first + 10])
        writer.tidy(START)
    tidy_up(writer)
    writer.close()
    levels = count_levels(path)
    assert levels[2] == 1
    assert sum(levels.values()) < 130
    table = read_all(path)
    assert table.timestamps.tolist() == [START + row * SECOND for row in range(rows)]
    assert np.array_equal(np.array([table.values[f"tag-{tag}"] for tag in range(10)]), walk)
    with sqlite3.connect(path) as connection:
        stored, size = connection.execute(
            "SELECT SUM(count), SUM(LENGTH(blob)) FROM chunk WHERE level > 0"
        ).fetchone()
    assert stored == 64 * 66 * 10
    assert size / stored < 2.0


def test_compaction_keeps_the_order_of_writing(tmp_path: Path) -> None:
    """A value that was corrected before, between or after merges stays corrected."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    generator = np.random.default_rng(11)
    expected: dict[int, float] = {}
    for step in range(3000):
        instant = START + int(generator.integers(0, 40)) * SECOND
        expected[instant] = float(step)
        writer.write([Block("telemetry", PUMP, [Frame([instant], {"x": [float(step)]})])])
        if step % 700 == 350:  # a large block in between, which is a large chunk at once
            times = [START + row * SECOND for row in range(40_000)]
            writer.write([Block("telemetry", PUMP, [Frame(times, {"x": [float(-step)] * len(times)})])])
            expected.update(dict.fromkeys(times, float(-step)))
        if step % 90 == 0:
            writer.tidy(START)
    tidy_up(writer)
    writer.close()
    assert count_levels(path)[0] < 64
    table = read_all(path)
    assert dict(zip(table.timestamps.tolist(), table.values["x"].tolist(), strict=True)) == expected


def test_a_damaged_chunk_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    """The error says machine and span; other machines and other spans are there, and writing goes on."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    for hour in range(3):
        writer.write(
            [Block("telemetry", machine, [make_frame(hour * 3600, 60)]) for machine in (PUMP, MOTOR)]
        )
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT c.id, blob FROM chunk c JOIN series s ON s.id = series WHERE machine = ? ORDER BY c.id",
            (str(PUMP),),
        ).fetchall()
        number, blob = found[1]
        broken = blob[:100] + bytes([blob[100] ^ 1]) + blob[101:]
        connection.execute("UPDATE chunk SET blob = ? WHERE id = ?", (broken, number))
    with pytest.raises(StoreUnavailable) as caught:
        read_all(path)
    assert (
        "telemetry of riverside/hall-1/water/pump-7 from 2026-11-22T09:58:32Z to 2026-11-22T09:59:31Z"
        in str(caught.value)
    )
    assert "restore the file from a backup" in str(caught.value)
    assert len(read_all(path, MOTOR).timestamps) == 180
    reader = EmbeddedReader(path)
    assert len(reader.read("telemetry", PUMP, 0, START + 3600 * SECOND).timestamps) == 60
    for row in range(200):
        writer.write([Block("telemetry", PUMP, [make_frame(4 * 3600 + row, 1)])])
    tidy_up(writer)
    assert len(reader.read("telemetry", PUMP, START + 2 * 3600 * SECOND, FOREVER).timestamps) == 260
    assert count_levels(path)[9] == 1
    reader.close()
    writer.close()


def test_a_full_disk_is_unavailable_and_heals(tmp_path: Path) -> None:
    """A write without space changes nothing, says what to do, and works again when there is space."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    writer.write([Block("telemetry", PUMP, [make_frame(0, 10)])])
    connection = writer._connection
    assert connection is not None
    connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
    large = Frame(
        [START + row for row in range(1, 20_001)],
        {"x": np.random.default_rng(1).normal(size=20_000).tolist()},
    )
    with pytest.raises(StoreUnavailable, match="free space on its disk"):
        writer.write([Block("telemetry", MOTOR, [large])])
    assert [stored.machine for stored in EmbeddedReader(path).list_machines()] == [PUMP]
    assert writer.write([Block("telemetry", MOTOR, [large])]) == []
    assert len(read_all(path, MOTOR).timestamps) == 20_000
    writer.close()


def test_a_store_that_another_program_locks_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer waits for a lock, then says so."""
    monkeypatch.setattr("cloud.stores.chunk_file.BUSY_TIMEOUT_S", 0.2)
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    writer.write([Block("telemetry", PUMP, [make_frame(0, 1)])])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program has locked it"):
        writer.write([Block("telemetry", PUMP, [make_frame(1, 1)])])
    other.execute("ROLLBACK")
    assert writer.write([Block("telemetry", PUMP, [make_frame(1, 1)])]) == []
    assert len(read_all(path).timestamps) == 2
    writer.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"these are no chunks, and no database either" * 50, "not a store of Forewarn: check store.path"),
        (None, "newer Forewarn"),
    ],
)
def test_a_file_that_is_no_store_of_ours_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Neither another file nor a newer store is touched."""
    path = tmp_path / "store.sqlite"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    writer = EmbeddedStoreSettings(kind="embedded", path=path).build_writer()
    for call in (
        lambda: writer.write([Block("telemetry", PUMP, [make_frame(0, 1)])]),
        EmbeddedReader(path).list_machines,
    ):
        with pytest.raises(StoreUnavailable, match=said):
            call()
    assert path.read_bytes()[:50] == before[:50]
