"""CSV files into a store and out of it: exact, bounded, and every mistake with its line and column."""

from pathlib import Path

import pytest

from cloud import csv_files
from cloud.csv_files import CsvRejected, import_csv, parse_instant, read_frames
from cloud.stores import Block, Rejection, StoreUnavailable
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.stores.embedded import EmbeddedWriter
from models.telemetry import Frame, MachinePath

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
NOON = 1_583_064_000_000_000_000  # 2020-03-01T12:00:00Z
SECOND = 1_000_000_000


def write_file(folder: Path, text: str) -> Path:
    """Return a file with `text`."""
    file = folder / "pump.csv"
    file.write_text(text, encoding="utf-8")
    return file


def read_file(folder: Path, text: str, columns: list[str] | None = None) -> Frame:
    """Return the only part of a file with `text`."""
    ((_, frame, _),) = read_frames(write_file(folder, text), columns)
    return frame


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-03-01T12:00:00Z", NOON),
        ("2020-03-01 12:00:00", NOON),
        ("2020-03-01T13:00:00+01:00", NOON),
        ("2020-03-01T12:00:00.5", NOON + SECOND // 2),
        ("2020-03-01T12:00:00.123456789Z", NOON + 123_456_789),
        ("2020-03-01T12:00:00.1234567", NOON + 123_456_700),
        ("1583064000", NOON),
        ("1583064000123", NOON + 123_000_000),
        ("1583064000123456", NOON + 123_456_000),
        ("1583064000123456789", NOON + 123_456_789),
        (" 2020-03-01 12:00 ", NOON),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, instant: int) -> None:
    """ISO 8601 with and without a zone, and counts since 1970 of any usual unit."""
    assert parse_instant(text, "pump.csv:2") == instant


@pytest.mark.parametrize(
    "text", ["yesterday", "", "12", "1969-12-31T23:59:59Z", "2300-01-01", "8/28/2007 0:00"]
)
def test_what_is_no_time_is_named(text: str) -> None:
    """With its place."""
    with pytest.raises(CsvRejected, match=r"^pump.csv:2 column 'timestamp': "):
        parse_instant(text, "pump.csv:2 column 'timestamp'")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators_and_empty_cells(tmp_path: Path, delimiter: str) -> None:
    """The header tells the separator; an empty cell is a reading without a number."""
    text = "datetime;flow rate;level\n2020-03-01 12:00:00;1.5;\n2020-03-01 12:00:01;nan;-2e3\n\n"
    frame = read_file(tmp_path, text.replace(";", delimiter))
    assert frame == Frame([NOON, NOON + SECOND], {"flow rate": [1.5, None], "level": [None, -2000.0]})


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    """A column of words is no trouble when it is left out; the time may stand anywhere."""
    text = "state,flow,timestamp\nrunning,1,1583064000\nidle,2,1583064001\n"
    assert read_file(tmp_path, text, ["flow"]) == Frame([NOON, NOON + SECOND], {"flow": [1.0, 2.0]})


def test_rows_out_of_order_and_repeats(tmp_path: Path) -> None:
    """Rows are put in order; of rows with one instant the last counts, and they are counted."""
    file = write_file(tmp_path, "timestamp,x\n1583064001,1\n1583064000,2\n1583064001,3\n")
    ((line, frame, repeats),) = read_frames(file, None)
    assert (line, repeats) == (4, 1)
    assert frame == Frame([NOON, NOON + SECOND], {"x": [2.0, 3.0]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "timestamp,x\n1583064000,1\n1583064001,abc\n",
            ":3 column 'x': 'abc' is not a number: mend the line",
        ),
        (
            "timestamp;x\n1583064000;12,5\n",
            ":2 column 'x': '12,5' is not a number: write decimals with a point",
        ),
        ("timestamp,x\n1583064000,inf\n", ":2 column 'x': 'inf' is not a number"),
        (
            "timestamp,x\nmonday,1\n",
            ":2 column 'timestamp': 'monday' is not a time: write 2026-11-23T08:00:00Z",
        ),
        ("timestamp,x\n1583064000,1,2\n", ":2: has 3 columns, the header has 2"),
        ("x,y\n1,2\n", ":1: no column of times: call it timestamp (found: 'x', 'y')"),
        ("timestamp,x,x\n1583064000,1,2\n", ":1 column 3: 'x' stands twice"),
        (",timestamp,x\n0,1583064000,1\n", ":1 column 1: '' cannot be a tag"),
        ("timestamp\n1583064000\n", ":1: there is no column beside the times"),
        ("timestamp,x\n", ": has no rows below its header"),
        ("", ":1: no column of times"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """File, line, column, what is wrong, and the mend."""
    file = write_file(tmp_path, text)
    with pytest.raises(CsvRejected) as caught:
        import_csv(file, PUMP, EmbeddedWriter(tmp_path / "store.sqlite"), None, lambda rows: None)
    assert str(caught.value).startswith(f"{file}{said}")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Neither bytes nor a missing file end in a stack trace."""
    (tmp_path / "pump.csv").write_bytes(b"timestamp,x\n1583064000,\xff\n")
    with pytest.raises(CsvRejected, match="is not UTF-8 text"):
        list(read_frames(tmp_path / "pump.csv", None))
    with pytest.raises(CsvRejected, match="cannot be read"):
        list(read_frames(tmp_path / "none.csv", None))


def test_a_file_survives_the_way_through_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported in parts, exported in spans, imported again: the same file, every digit."""
    monkeypatch.setattr(csv_files, "PART_VALUES_MAX", 200)
    monkeypatch.setattr(csv_files, "SPAN_NS", 333 * SECOND)
    lines = ["timestamp,flow,level"]
    for row in range(1000):
        level = "" if row % 7 == 0 else repr(row / 3)
        lines.append(f"2020-03-01T12:{row // 60:02}:{row % 60:02}.{row:09}Z,{row / 10!r},{level}")
    text = "\r\n".join(lines) + "\r\n"
    writer, reader = EmbeddedWriter(tmp_path / "store.sqlite"), EmbeddedReader(tmp_path / "store.sqlite")
    seen: list[int] = []
    stored = import_csv(write_file(tmp_path, text), PUMP, writer, None, seen.append)
    assert seen == list(range(100, 1001, 100))
    assert (stored.rows, stored.values, stored.repeats) == (1000, 1000 + 1000 - 143, 0)
    assert csv_files.export_csv(tmp_path / "out.csv", PUMP, reader, None, None) == 1000
    assert (tmp_path / "out.csv").read_bytes() == text.encode()
    again = NOON + 10 * SECOND
    assert csv_files.export_csv(tmp_path / "part.csv", PUMP, reader, again, again + 5 * SECOND) == 5
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
        (StoreUnavailable, CsvRejected), match="disk is full\nthe first 2 rows are stored: run the same"
    ):
        import_csv(file, PUMP, _FailingStore(answer), None, lambda rows: None)
