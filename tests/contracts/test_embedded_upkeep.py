"""The embedded store's work beside its writes: merges by the hour, deletion by age, the look for damage."""

import sqlite3
import threading
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.stores import Block, NeedsUpkeep
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.columns import Group, group_frames
from cloud.stores.compaction import HOUR_NS, cut_hours
from cloud.stores.embedded import EmbeddedStoreSettings, EmbeddedWriter
from cloud.stores.merging import merge_groups
from models.telemetry import Frame
from tests.contracts.embedded_rig import FOREVER, MOTOR, PUMP, SECOND, make_frame, read_all, tidy_up

DAY = 86_400 * SECOND
HOUR = 1_795_334_400_000_000_000  # a whole hour


def write_rows(
    writer: EmbeddedWriter, start_ns: int, rows: int, tags: int = 10, step_ns: int = SECOND
) -> None:
    """Write single rows, one block each, a hundred a write."""
    blocks = [
        Block(
            "telemetry",
            PUMP,
            [Frame([start_ns + row * step_ns], {f"t{tag}": [row + tag / 10] for tag in range(tags)})],
        )
        for row in range(rows)
    ]
    for first in range(0, rows, 100):
        writer.write(blocks[first : first + 100])


def list_chunks(path: Path) -> list[tuple[int, int, int, int]]:
    """Return (level, start, end, count) of every chunk, by start."""
    with sqlite3.connect(path) as connection:
        return connection.execute(
            "SELECT level, start_ns, end_ns, count FROM chunk ORDER BY start_ns, id"
        ).fetchall()


def test_a_chunk_is_an_hour_of_a_machine(tmp_path: Path) -> None:
    """At a row a second each whole hour ends as one chunk, whenever within an hour the values began."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    begin = HOUR + 2_000 * SECOND
    write_rows(writer, begin, 5 * 3600)
    tidy_up(writer)
    writer.close()
    large = [chunk for chunk in list_chunks(path) if chunk[0] == 2]
    assert all(start // HOUR_NS == end // HOUR_NS for _, start, end, _ in large)
    assert [count for _, _, _, count in large] == [16_000, 36_000, 36_000, 36_000, 36_000]
    table = read_all(path)
    assert table.timestamps.tolist() == [begin + row * SECOND for row in range(5 * 3600)]
    assert table.values["t3"].tolist() == [row + 0.3 for row in range(5 * 3600)]


def test_hours_of_few_values_share_a_chunk(tmp_path: Path) -> None:
    """A machine that says ten values a minute does not end as a thousand tiny chunks."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    write_rows(writer, HOUR, 64 * 66, step_ns=60 * SECOND)
    tidy_up(writer)
    writer.close()
    large = [count for level, _, _, count in list_chunks(path) if level == 2]
    assert min(large) >= 2_048
    assert sum(large) > 38_000
    assert read_all(path).values["t0"].tolist() == [float(row) for row in range(64 * 66)]


def list_instants(groups: Iterable[Group]) -> list[tuple[int, int]]:
    """Return (tag, instant) of every reading."""
    return sorted((tag, int(at)) for group in groups for tag in group.tags for at in group.timestamps)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(1, 5_000), st.sampled_from(["ab", "b", "c"])),
        min_size=1,
        max_size=4,
    )
)
def test_cutting_at_hours_loses_nothing(spans: list[tuple[int, int, str]]) -> None:
    """Every reading is in exactly one piece, and pieces follow each other in time."""
    frames = [make_frame(first, rows, tags) for first, rows, tags in spans]
    groups = merge_groups(group_frames(frames, {"a": 0, "b": 1, "c": 2}))
    pieces = cut_hours(groups)
    assert list_instants(group for piece in pieces for group in piece) == list_instants(groups)
    ends = [
        (min(int(group.timestamps[0]) for group in piece), max(int(group.timestamps[-1]) for group in piece))
        for piece in pieces
    ]
    assert all(before[1] < after[0] for before, after in pairwise(ends))


def test_values_are_there_throughout_while_chunks_are_merged(tmp_path: Path) -> None:
    """A thread writes, a thread tidies, a reader reads: no instant is missing or doubled at any time."""
    path = tmp_path / "store.sqlite"
    writer, reader = EmbeddedWriter(path), EmbeddedReader(path)
    assert isinstance(writer, NeedsUpkeep)
    ended = threading.Event()

    def tidy() -> None:
        while not ended.is_set():
            tidy_up(writer)

    thread = threading.Thread(target=tidy)
    thread.start()
    try:
        for row in range(600):
            writer.write([Block("telemetry", PUMP, [make_frame(row, 1)])])
            if row % 20 == 19:
                values = reader.read("telemetry", PUMP, 0, FOREVER).values["a"].tolist()
                assert values == [at / 10 for at in range(row + 1)]
    finally:
        ended.set()
        thread.join(30)
    tidy_up(writer)
    writer.close()
    reader.close()
    assert len(list_chunks(path)) < 100


def test_small_chunks_do_not_pile_up_where_nobody_tidies(tmp_path: Path) -> None:
    """An import has no upkeep: its writes merge on their way what has become too much."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    write_rows(writer, HOUR, 3_000, tags=2)
    writer.close()
    assert len(list_chunks(path)) < 500
    assert len(read_all(path).timestamps) == 3_000


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """Chunks older than the retention are deleted, a bounded number at a time; the rest is as it was."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path, retention_days=30)
    now = HOUR + 100 * DAY
    for day in (0, 1, 69, 71, 100):
        writer.write([Block("telemetry", PUMP, [Frame([HOUR + day * DAY], {"a": [float(day)]})])])
    writer.write([Block("telemetry", MOTOR, [Frame([HOUR + DAY], {"a": [1.0]})])])
    tidy_up(writer, now)
    assert read_all(path).values["a"].tolist() == [71.0, 100.0]
    (pump,) = EmbeddedReader(path).list_machines()
    assert (pump.machine, pump.first_ns) == (PUMP, HOUR + 71 * DAY)
    writer.write([Block("telemetry", MOTOR, [Frame([now], {"a": [2.0], "b": [3.0]})])])
    motor, _ = EmbeddedReader(path).list_machines()
    assert (motor.machine, motor.first_ns, motor.last_ns, motor.tags) == (MOTOR, now, now, ["a", "b"])
    tidy_up(writer, now + 3_600 * SECOND)
    assert read_all(path, MOTOR).values["a"].tolist() == [2.0]
    writer.close()


def test_much_that_is_too_old_goes_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retention that is set late deletes years: each piece is one short transaction."""
    monkeypatch.setattr("cloud.stores.retention.CHUNKS_DELETED_MAX", 10)
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path, retention_days=1)
    for row in range(45):
        writer.write([Block("telemetry", PUMP, [make_frame(row, 1)])])
    assert tidy_up(writer, HOUR + 300 * DAY) == 4
    assert list_chunks(path) == []
    assert EmbeddedReader(path).list_machines() == []
    writer.close()


def test_without_a_retention_nothing_goes(tmp_path: Path) -> None:
    """Values are kept for ever unless the settings say otherwise."""
    writer = EmbeddedWriter(tmp_path / "store.sqlite")
    writer.write([Block("telemetry", PUMP, [make_frame(0, 5)])])
    tidy_up(writer, HOUR + 40_000 * DAY)
    writer.close()
    assert len(read_all(tmp_path / "store.sqlite").timestamps) == 5


def test_a_whole_file_is_whole_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    """The look through the file counts chunks and readings, and names machine and span of what is damaged."""
    path = tmp_path / "store.sqlite"
    store = EmbeddedStoreSettings(kind="embedded", path=path)
    assert store.check().lines == [f"{path}: nothing is stored yet"]
    assert "is made" in store.set_up()[0]
    assert "was there" in store.set_up()[0]
    writer = EmbeddedWriter(path)
    for hour in range(3):
        writer.write([Block("telemetry", one, [make_frame(hour * 3600, 60)]) for one in (PUMP, MOTOR)])
    writer.close()
    found = store.check()
    assert not found.damaged
    assert "6 chunks with 720 readings" in found.lines[0]
    with sqlite3.connect(path) as connection:
        number, blob = connection.execute(
            "SELECT id, blob FROM chunk ORDER BY id LIMIT 1 OFFSET 3"
        ).fetchone()
        broken = blob[:100] + bytes([blob[100] ^ 1]) + blob[101:]
        connection.execute("UPDATE chunk SET blob = ? WHERE id = ?", (broken, number))
        connection.execute("UPDATE chunk SET count = 1 WHERE id = 1")
    found = store.check()
    assert found.damaged
    assert "2 DAMAGED" in found.lines[0]
    assert "it does not hold its 1 readings" in found.lines[1]
    assert (
        f"telemetry of {MOTOR}, 2026-11-22T09:58:32Z to 2026-11-22T09:59:31Z: its checksum" in found.lines[2]
    )


def test_damaged_pages_are_found(tmp_path: Path) -> None:
    """A torn page of the file itself is named too, or the file cannot be opened at all."""
    path = tmp_path / "store.sqlite"
    writer = EmbeddedWriter(path)
    for row in range(300):
        writer.write([Block("telemetry", PUMP, [make_frame(row * 50, 50)])])
    writer.close()
    content = bytearray(path.read_bytes())
    content[8192 * 20 : 8192 * 21] = b"\xff" * 8192
    path.write_bytes(content)
    found = EmbeddedStoreSettings(kind="embedded", path=path).check()
    assert found.damaged
    assert any(line.startswith("SQLite: ") for line in found.lines)
