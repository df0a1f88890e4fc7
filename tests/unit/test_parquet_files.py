"""Parquet files out of a store and into another: every value, every quality, in bounded row groups."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud import file_exchange, parquet_files
from cloud.file_exchange import FileRejected, choose_span
from cloud.parquet_files import export_file, import_file, read_pieces
from cloud.stores import Block, StoreUnavailable, Table
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from models.telemetry import Frame, MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
NOON = 1_583_064_000_000_000_000  # 2020-03-01T12:00:00Z
SECOND = 1_000_000_000
BAD, UNCERTAIN = 0x80000000, 0x40000000

numbers = st.floats(allow_nan=False, allow_infinity=True) | st.none()
codes = st.sampled_from([0, UNCERTAIN, BAD, 2**32 - 1])
# Names that collide with the file's own columns are the interesting ones.
tags = st.sampled_from(["flow", "flow.quality", "flow.quality.quality", "datetime", "Pressure °", 'a"b'])


@st.composite
def machine_frames(draw: st.DrawFn) -> list[Frame]:
    """Return frames of tags that come at instants of their own, some readings without a number."""
    frames = []
    for tag in draw(st.lists(tags, min_size=1, max_size=4, unique=True)):
        steps = draw(st.lists(st.integers(0, 3 * 10**12), min_size=1, max_size=8, unique=True))
        column = draw(st.lists(numbers, min_size=len(steps), max_size=len(steps)))
        said = {row: code for row in range(len(steps)) if (code := draw(codes))}
        frames.append(Frame(sorted(NOON + step for step in steps), {tag: column}, {tag: said}))
    return frames


class Stores:
    """A store to write into, with its reader."""

    def __init__(self, path: Path) -> None:
        self.writer, self.reader = EmbeddedWriter(path), EmbeddedReader(path)

    def fill(self, frames: list[Frame]) -> None:
        """Store the frames as the pump's."""
        assert self.writer.write([Block("telemetry", PUMP, frames)]) == []

    def read(self) -> Table:
        """Return all that is stored of the pump."""
        return self.reader.read("telemetry", PUMP, 0, 2**62)

    def close(self) -> None:
        """Close both."""
        self.writer.close()
        self.reader.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Stores]:
    """A store of its own."""
    stores = Stores(tmp_path / "store.sqlite")
    yield stores
    stores.close()


def assert_equal(one: Table, other: Table) -> None:
    """Fail unless both hold the same readings, bit by bit."""
    assert one.timestamps.tolist() == other.timestamps.tolist()
    assert one.values.keys() == other.values.keys()
    for tag, column in one.values.items():
        assert column.tobytes() == other.values[tag].tobytes()
    assert {tag: said.tolist() for tag, said in one.quality.items()} == {
        tag: said.tolist() for tag, said in other.quality.items()
    }


@settings(max_examples=60, deadline=None)
@given(frames=machine_frames(), part_values=st.integers(1, 40))
def test_what_goes_out_comes_back(
    tmp_path_factory: pytest.TempPathFactory, frames: list[Frame], part_values: int
) -> None:
    """A store exported and imported into an empty one is the same store, however small the parts are."""
    folder = tmp_path_factory.mktemp("stores")
    one, other = Stores(folder / "one.sqlite"), Stores(folder / "other.sqlite")
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (parquet_files, "PART_VALUES_MAX"),
            (parquet_files, "GROUP_VALUES_MAX"),
            (file_exchange, "READ_VALUES_MAX"),
        ):
            patch.setattr(module, name, part_values)
        one.fill(frames)
        rows = export_file(folder / "pump.parquet", PUMP, one.reader, None, None, {})
        stored = import_file(folder / "pump.parquet", PUMP, other.writer, None, lambda rows: None)
    before, after = one.read(), other.read()
    assert rows == stored.rows == len(before.timestamps)
    assert stored.values == sum(int((~np.isnan(column)).sum()) for column in before.values.values())
    assert_equal(before, after)
    one.close()
    other.close()


def test_a_person_finds_times_units_and_quality(store: Stores, tmp_path: Path) -> None:
    """Times are UTC, an absent number is null and never NaN, quality stands beside, units in the fields."""
    frame = Frame([NOON, NOON + 1], {"flow": [1.5, None]}, {"flow": {1: BAD}})
    store.fill([frame, Frame([NOON + 1], {"level": [7.0]})])
    file = tmp_path / "pump.parquet"
    assert export_file(file, PUMP, store.reader, None, None, {"flow": "l/min"}) == 2
    table = pq.read_table(file)
    assert table.schema.metadata[b"machine"] == b"riverside/hall-1/water/pump-7"
    assert str(table.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]"
    assert table.schema.field("flow").metadata == {b"unit": b"l/min"}
    assert table.column("timestamp").cast(pa.int64()).to_pylist() == [NOON, NOON + 1]
    assert table.column("flow").to_pylist() == [1.5, None]
    assert table.column("flow.quality").to_pylist() == [0, BAD]
    assert table.column("level").to_pylist() == [None, 7.0]
    assert table.column("level.quality").to_pylist() == [None, 0]
    assert not list(tmp_path.glob("*.part"))


def test_row_groups_are_bounded(store: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is stored, a row group holds so many values; a span may be chosen as well."""
    monkeypatch.setattr(parquet_files, "GROUP_VALUES_MAX", 1_000)
    monkeypatch.setattr(file_exchange, "READ_VALUES_MAX", 3_000)
    instants = [NOON + row * SECOND for row in range(5_000)]
    store.fill([Frame(instants, {"flow": [row / 3 for row in range(5_000)], "level": [0.5] * 5_000})])
    file = tmp_path / "pump.parquet"
    assert export_file(file, PUMP, store.reader, None, None, {}) == 5_000
    shape = pq.ParquetFile(file).metadata
    assert max(shape.row_group(at).num_rows for at in range(shape.num_row_groups)) == 500
    assert shape.num_rows == 5_000
    assert export_file(file, PUMP, store.reader, instants[10], instants[15], {}) == 5


@pytest.mark.parametrize(
    ("values", "expected"), [(4_000_000, 150), (600_000, 600), (100, 1200), (0, 1200), (10**12, 1)]
)
def test_the_span_follows_what_was_found(values: int, expected: int) -> None:
    """Too much: shorter in proportion, never under a second. Little: twice as long."""
    assert choose_span(600 * SECOND, values) == expected * SECOND


def write_table(folder: Path, **columns: object) -> Path:
    """Return a file as another program would have written it."""
    file = folder / "other.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_files_of_other_programs(tmp_path: Path) -> None:
    """Microseconds without a zone are UTC, text is left out; rows get in order, the last repeat counts."""
    times = pa.array([1583064001_000000, 1583064000_000000, 1583064001_000000], pa.timestamp("us"))
    file = write_table(
        tmp_path, datetime=times, x=[1, 2, 3], on=[True, None, False], words=["a", "b", "c"], y=[math.nan] * 3
    )
    (piece,) = read_pieces(file, None)
    assert (piece.rows, piece.repeats) == (2, 1)
    assert piece.frames == [
        Frame([NOON, NOON + SECOND], {"x": [2.0, 3.0]}),
        Frame([NOON + SECOND], {"on": [0.0]}),
    ]
    (chosen,) = read_pieces(file, ["x"])
    assert [list(frame.values) for frame in chosen.frames] == [["x"]]


def test_quality_is_known_by_its_name_where_the_notes_are_lost(tmp_path: Path) -> None:
    """A program that rewrote our file kept the columns and dropped their metadata."""
    times = pa.array([NOON, NOON + 1], pa.timestamp("ns", tz="UTC"))
    quality = pa.array([0, BAD], pa.uint32())
    (piece,) = read_pieces(
        write_table(tmp_path, timestamp=times, x=[1.0, None], **{"x.quality": quality}), None
    )
    assert piece.frames == [Frame([NOON, NOON + 1], {"x": [1.0, None]}, {"x": {1: BAD}})]


TIMES = pa.array([NOON, NOON + 1], pa.timestamp("ns"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"when": ["noon", "later"], "x": [1, 2]},
            "has no column 'timestamp' of type timestamp; it has 'when'",
        ),
        ({"timestamp": TIMES, "x": ["a", "b"]}, "has no column of numbers"),
        (
            {"timestamp": pa.array([NOON, None], TIMES.type), "x": [1, 2]},
            "row 2: 1 rows up to here have no time",
        ),
        ({"timestamp": pa.array([NOON, -1], TIMES.type), "x": [1, 2]}, "is before 1970"),
        ({"timestamp": TIMES, "x": [1, 2], "x.quality": [0, -3]}, "'x.quality' holds no OPC UA status codes"),
        ({"timestamp": TIMES[:0], "x": pa.array([], pa.float64())}, "has no rows"),
        ({"timestamp": TIMES, "x": [None, math.nan]}, "no column of numbers|no number at any of them"),
    ],
)
def test_a_mistake_is_named(store: Stores, tmp_path: Path, columns: dict[str, object], words: str) -> None:
    """The message says what is wrong, and nothing is stored."""
    with pytest.raises(FileRejected, match=words):
        import_file(write_table(tmp_path, **columns), PUMP, store.writer, None, lambda rows: None)
    assert len(store.read().timestamps) == 0


def test_a_file_that_is_none_and_a_column_that_is_not_there(tmp_path: Path) -> None:
    """Both are told with the file's name."""
    file = tmp_path / "broken.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(FileRejected, match=r"broken\.parquet: is no Parquet file that can be read"):
        list(read_pieces(file, None))
    with pytest.raises(FileRejected, match=r"absent\.parquet: cannot be read \(No such file"):
        list(read_pieces(tmp_path / "absent.parquet", None))
    with pytest.raises(FileRejected, match=r"no column of numbers 'z' \(it has 'x'\): say which with --col"):
        list(read_pieces(write_table(tmp_path, timestamp=TIMES, x=[1, 2]), ["z"]))


def test_an_export_that_breaks_off_leaves_no_file(store: Stores, tmp_path: Path) -> None:
    """Half a Parquet file cannot be read: it is taken away, and an older one stays."""
    store.fill([Frame([NOON], {"flow": [1.0]})])
    file = tmp_path / "pump.parquet"
    file.write_text("older")

    class Failing(EmbeddedReader):
        def read(self, *asked: object, **more: object) -> Table:
            raise StoreUnavailable("the disk fails")

    reader = Failing(tmp_path / "store.sqlite")
    with pytest.raises(StoreUnavailable):
        export_file(file, PUMP, reader, None, None, {})
    reader.close()
    assert file.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir() if "parquet" in path.name) == ["pump.parquet"]
    with pytest.raises(FileRejected, match="cannot be written"):
        export_file(tmp_path / "nowhere" / "pump.parquet", PUMP, store.reader, None, None, {})


def test_without_pyarrow_the_message_has_the_mend(tmp_path: Path) -> None:
    """Who has not installed it is told how, and that CSV needs nothing."""
    (tmp_path / "cloud.yaml").write_text(
        "records: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\n"
    )
    program = "import sys; sys.modules['pyarrow'] = None; from forewarn.cli import main; main()"
    arguments = ["cloud", "export", "out.parquet", "--machine", str(PUMP), "--config", "cloud.yaml"]
    said = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert said.returncode == 3
    assert "pip install 'forewarn[cloud,parquet]', or say out.csv" in said.stderr
    assert "Traceback" not in said.stderr
