"""Recorded machines as CSV files: exact, in bounded parts, and every mistake with its place and mend."""

import random
from pathlib import Path

import pytest

from models.recordings import NotAnInstant, Part, RecordingRejected, parse_instant, read_parts
from models.recordings.header import NAME_CHARS_MAX
from models.telemetry.batch import TAG_NAME_CHARS_MAX, TIMESTAMP_NS_MAX

NOON = 1_583_064_000_000_000_000  # 2020-03-01T12:00:00Z
SECOND = 1_000_000_000


def write_file(folder: Path, text: str) -> Path:
    """Return a file with `text`."""
    file = folder / "pump.csv"
    file.write_text(text, encoding="utf-8")
    return file


def read_part(folder: Path, text: str, columns: list[str] | None = None) -> Part:
    """Return the only part of a file with `text`."""
    (part,) = read_parts(write_file(folder, text), columns)
    return part


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-03-01T12:00:00Z", NOON),
        ("2020-03-01t12:00:00z", NOON),
        ("2020-03-01 12:00:00", NOON),
        ("2020-03-01T13:00:00+01:00", NOON),
        ("2020-03-01 07:30:00.25 -0430", NOON + SECOND // 4),
        ("2020-03-01T12:00:00.5", NOON + SECOND // 2),
        ("2020-03-01T12:00:00,5Z", NOON + SECOND // 2),
        ("2020-03-01T12:00:00.123456789Z", NOON + 123_456_789),
        ("2020-03-01T12:00:00.1234567", NOON + 123_456_700),
        ("2020-03-01T13:00:00.123456789+01:00", NOON + 123_456_789),
        ("2020-03-01", NOON - 12 * 3600 * SECOND),
        ("1583064000", NOON),
        ("1583064000.5", NOON + SECOND // 2),
        ("1583064000.123456789", NOON + 123_456_789),
        ("1583064000.0", NOON),
        ("1583064000123", NOON + 123_000_000),
        ("1583064000123.25", NOON + 123_250_000),
        ("1583064000123456", NOON + 123_456_000),
        ("1583064000123456789", NOON + 123_456_789),
        (" 2020-03-01 12:00 ", NOON),
        ("9223372036854775807", TIMESTAMP_NS_MAX),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, instant: int) -> None:
    """ISO 8601 with and without a zone, and counts since 1970 of any usual unit."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("yesterday", "write 2026-11-23T08:00:00Z, or nanoseconds since 1970"),
        ("", "write 2026-11-23T08:00:00Z"),
        ("-1583064000", "write 2026-11-23T08:00:00Z"),
        ("1.583064e9", "write 2026-11-23T08:00:00Z"),
        ("12", "is not between 1973 and 2262: the clock was not set"),
        ("1970-01-01T00:00:12Z", "is not between 1973 and 2262: the clock was not set"),
        ("1969-12-31T23:59:59Z", "is not between 1973 and 2262"),
        ("2300-01-01", "is not between 1973 and 2262: mend the line"),
        ("9999999999999999999", "is not between 1973 and 2262: mend the line"),
        ("2020-02-30", "day is out of range"),
        ("2020-03-01T25:00:00", "hour must be in 0..23"),
        ("0001-01-01T00:00:00+14:00", "is not a time"),
        ("8/28/2007 0:00", "can be meant in several ways"),
        ("01.03.2020 12:00:00", "can be meant in several ways"),
        ("03-01-20", "can be meant in several ways"),
        ("20200301", "can be meant in several ways"),
        ("20200301120000", "can be meant in several ways"),
        ("2020-03-01+01:00", "can be meant in several ways"),
        ("12:00:00", "its date stands elsewhere: join the two columns"),
    ],
)
def test_what_is_no_time_or_could_be_two_is_refused(text: str, mend: str) -> None:
    """Nothing is guessed: which is the day and which the month, or what a small number counts."""
    with pytest.raises(NotAnInstant) as caught:
        parse_instant(text)
    assert str(caught.value).startswith(repr(text))
    assert mend in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators_and_cells_without_a_number(tmp_path: Path, delimiter: str) -> None:
    """The header tells the separator; an empty cell is a reading without a number; blank lines are none."""
    text = "datetime;flow rate;level\n2020-03-01 12:00:00;1.5;\n;;\n2020-03-01 12:00:01;nan;-2e3\n\n"
    part = read_part(tmp_path, text.replace(";", delimiter))
    columns = {"flow rate": [1.5, None], "level": [None, -2000.0]}
    assert part == Part([2, 4], [NOON, NOON + SECOND], columns)


def test_every_number_is_the_nearest_float_of_its_text(tmp_path: Path) -> None:
    """Also in a column with gaps, which is read cell by cell."""
    draw = random.Random(7)
    texts = [
        f"{draw.uniform(-1, 1) * 10 ** draw.randint(-300, 300):.{draw.randint(0, 20)}g}" for _ in range(500)
    ]
    texts += ["1e308", "1e308", "5e-324", "-0", "0.1", "9007199254740993"]
    rows = [f"{1583064000 + row},{text}, {text}\n" for row, text in enumerate(texts)]
    part = read_part(tmp_path, "timestamp,x,y\n" + "".join(rows) + "1583070000,1,\n")
    expected = [float(text) for text in texts]
    assert part.columns == {"x": [*expected, 1.0], "y": [*expected, None]}


def test_only_the_columns_asked_for_in_that_order(tmp_path: Path) -> None:
    """A column of words is no trouble when it is left out; the time may stand anywhere."""
    text = "state,flow,Timestamp,level\nrunning,1,1583064000,7\nidle,2,1583064001,8\n"
    assert list(read_part(tmp_path, text, ["level", "flow"]).columns.items()) == [
        ("level", [7.0, 8.0]),
        ("flow", [1.0, 2.0]),
    ]


def test_labels_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    """`left_out` is what the caller does not take for a tag, however it is spelt."""
    file = write_file(tmp_path, "time,x,Anomaly\n1583064000,1,0\n")
    labels = {"anomaly"}
    (part,) = read_parts(file, left_out=labels)
    assert list(part.columns) == ["x"]
    (part,) = read_parts(file, ["Anomaly"], left_out=labels)
    assert list(part.columns) == ["Anomaly"]


def test_the_first_column_is_the_time_if_it_has_dates(tmp_path: Path) -> None:
    """A column called `when` needs no other name; numbers in a first column are not taken for times."""
    assert read_part(tmp_path, "when,x\n2020-03-01 12:00,1\n").timestamps == [NOON]
    with pytest.raises(
        RecordingRejected, match=r":1: no column of times: call it timestamp \(found: 'when', 'x'\)"
    ):
        read_part(tmp_path, "when,x\n1583064000,1\n")


def test_a_file_is_read_in_parts_of_bounded_size(tmp_path: Path) -> None:
    """No more rows at once than `values_max` values have; the rows go on where the last part ended."""
    rows = "".join(f"{1583064000 + row},{row},{-row}\n" for row in range(25))
    file = write_file(tmp_path, "timestamp,x,y\n" + rows)
    parts = list(read_parts(file, values_max=20))
    assert [len(part.lines) for part in parts] == [10, 10, 5]
    assert [line for part in parts for line in part.lines] == list(range(2, 27))
    assert [value for part in parts for value in part.columns["x"]] == list(range(25))


def test_a_quoted_cell_of_two_lines_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    """The line named is the file's."""
    text = 'timestamp,note,x\n1583064000,"a\nb",1\n1583064001,c,abc\n'
    with pytest.raises(RecordingRejected, match=r":4 column 'x': 'abc'"):
        read_part(tmp_path, text, ["x"])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    assert read_part(tmp_path, "\ufefftimestamp,x\n1583064000,1\n").columns == {"x": [1.0]}


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
        ("timestamp,x\n,1\n", ":2 column 'timestamp': '' is not a time"),
        (
            "Date;Time;x\n01.03.2020;12:00:00;1\n",
            ":2 column 'Time': '12:00:00' is not a time: its date stands",
        ),
        ("timestamp,x\n1583064000,1,2\n", ":2: has 3 cells, the header has 2"),
        ("timestamp,x\n1583064000\n", ":2: has 1 cells, the header has 2"),
        ("x,y\n1,2\n", ":1: no column of times: call it timestamp (found: 'x', 'y')"),
        ("timestamp,x,x\n1583064000,1,2\n", ":1 column 3: 'x' stands twice: rename one of the columns"),
        ("time,x,time\n1583064000,1,2\n", ":1 column 3: 'time' stands twice"),
        (",timestamp,x\n0,1583064000,1\n", ":1 column 1: '' cannot be a tag"),
        ("timestamp\n1583064000\n", ":1: there is no column beside the times (found: 'timestamp')"),
        ("timestamp,x\n", ": has no rows below its header"),
        ("\ntimestamp,x\n", ":1: has no header: it names a column of times, and one per tag"),
        ("", ":1: has no header"),
        ('timestamp,x\n1583064000,"' + "1" * 200_000, ":2: is not CSV (field larger than field limit"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """File, line, column, what is wrong, and the mend."""
    file = write_file(tmp_path, text)
    with pytest.raises(RecordingRejected) as caught:
        list(read_parts(file))
    assert str(caught.value).startswith(f"{file}{said}")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("Flow", "there is no column 'Flow', did you mean 'flow'? (found: 'time', 'flow')"),
        ("pressure", "there is no column 'pressure' (found: 'time', 'flow')"),
        ("time", "'time' is the time, not a tag: leave it out"),
    ],
)
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, wanted: str, said: str) -> None:
    """The message lists what there is, and what may have been meant."""
    with pytest.raises(RecordingRejected) as caught:
        read_part(tmp_path, "time,flow\n1583064000,2\n", [wanted])
    assert said in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Neither bytes nor a missing file end in a stack trace."""
    file = tmp_path / "pump.csv"
    file.write_bytes(b"timestamp,x\n1583064000,1\n1583064001,\xff\n")
    with pytest.raises(RecordingRejected, match=r"pump\.csv:3: is not UTF-8 text: save it as UTF-8"):
        list(read_parts(file))
    with pytest.raises(RecordingRejected, match=r"none\.csv: cannot be read \(No such file"):
        list(read_parts(tmp_path / "none.csv"))


def test_a_column_may_be_called_what_a_tag_may_be_called() -> None:
    """The reader knows nothing of the wire, but the same bounds."""
    assert (NAME_CHARS_MAX, parse_instant(str(TIMESTAMP_NS_MAX))) == (TAG_NAME_CHARS_MAX, TIMESTAMP_NS_MAX)
