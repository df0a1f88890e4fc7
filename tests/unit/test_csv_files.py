"""CSV files into a store and out of it: exact, bounded, and repeatable after a break."""

from pathlib import Path

import pytest

from cloud import csv_files, file_exchange
from cloud.csv_files import export_file, import_file, read_pieces
from cloud.file_exchange import FileRejected
from cloud.stores import Block, Rejection, StoreUnavailable
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from models.recordings import RecordingRejected
from models.telemetry import Frame, MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
NOON = 1_583_064_000_000_000_000  # 2020-03-01T12:00:00Z
SECOND = 1_000_000_000


def write_file(folder: Path, text: str) -> Path:
    """Return a file with `text`."""
    file = folder / "pump.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_rows_out_of_order_and_repeats(tmp_path: Path) -> None:
    """Rows are put in order; of rows with one instant the last counts, and they are counted."""
    file = write_file(tmp_path, "timestamp,x\n1583064001,1\n1583064000,2\n1583064001,3\n")
    (piece,) = read_pieces(file, None)
    assert (piece.where, piece.rows, piece.repeats) == (f"{file}:4", 2, 1)
    (frame,) = piece.frames
    assert frame == Frame([NOON, NOON + SECOND], {"x": [2.0, 3.0]})


def test_a_mistake_in_the_file_stores_nothing_more(tmp_path: Path) -> None:
    """The reader's error passes through; a tag's values are not stored in part."""
    file = write_file(tmp_path, "timestamp,x\n1583064000,1\n1583064001,abc\n")
    writer = EmbeddedWriter(tmp_path / "store.sqlite")
    with pytest.raises(RecordingRejected, match=r":3 column 'x': 'abc' is not a number: mend the line"):
        import_file(file, PUMP, writer, None, lambda rows: None)
    writer.close()
    with pytest.raises(FileRejected, match="the store has no values of riverside/hall-1/water/pump-7"):
        export_file(tmp_path / "out.csv", PUMP, EmbeddedReader(tmp_path / "store.sqlite"), None, None, {})


def test_a_file_survives_the_way_through_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported in parts, exported in spans, imported again: the same file, every digit."""
    monkeypatch.setattr(csv_files, "PART_VALUES_MAX", 200)
    monkeypatch.setattr(file_exchange, "FIRST_SPAN_NS", 7 * SECOND)
    monkeypatch.setattr(file_exchange, "READ_VALUES_MAX", 300)
    lines = ["timestamp,flow,level"]
    for row in range(1000):
        level = "" if row % 7 == 0 else repr(row / 3)
        lines.append(f"2020-03-01T12:{row // 60:02}:{row % 60:02}.{row:09}Z,{row / 10!r},{level}")
    text = "\r\n".join(lines) + "\r\n"
    writer, reader = EmbeddedWriter(tmp_path / "store.sqlite"), EmbeddedReader(tmp_path / "store.sqlite")
    seen: list[int] = []
    stored = import_file(write_file(tmp_path, text), PUMP, writer, None, seen.append)
    assert seen == list(range(100, 1001, 100))
    assert (stored.rows, stored.values, stored.repeats) == (1000, 1000 + 1000 - 143, 0)
    assert export_file(tmp_path / "out.csv", PUMP, reader, None, None, {}) == 1000
    assert (tmp_path / "out.csv").read_bytes() == text.encode()
    again = NOON + 10 * SECOND
    assert export_file(tmp_path / "part.csv", PUMP, reader, again, again + 5 * SECOND, {}) == 5
    writer.close()
    reader.close()


class _FailingStore:
    """Takes one write, then raises or rejects."""

    def __init__(self, answer: StoreUnavailable | Rejection) -> None:
        self.answer = answer
        self.writes = 0

    def write(self, blocks: list[Block]) -> list[Rejection]:
        """Store the first blocks only."""
        self.writes += 1
        if self.writes == 1:
            return []
        if isinstance(self.answer, StoreUnavailable):
            raise self.answer
        return [self.answer]

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("answer", [StoreUnavailable("the disk is full"), Rejection(0, "the disk is full")])
def test_an_import_that_breaks_off_says_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: StoreUnavailable | Rejection
) -> None:
    """The message has the store's reason and how far it came."""
    monkeypatch.setattr(csv_files, "PART_VALUES_MAX", 2)
    file = write_file(tmp_path, "timestamp,x\n" + "".join(f"{1583064000 + row},1\n" for row in range(4)))
    with pytest.raises(
        (StoreUnavailable, FileRejected), match="disk is full\nthe first 2 rows are stored: run the same"
    ):
        import_file(file, PUMP, _FailingStore(answer), None, lambda rows: None)
