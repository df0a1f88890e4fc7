"""Line protocol: what is written is what an independent reader of the grammar reads."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.stores import Block
from cloud.stores.lines import encode_block, escape_key, name_codes, store_key, tag_name
from models.telemetry import Frame, MachinePath, quality

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
START = 1_795_337_912_000_000_000

names = st.one_of(
    st.text(
        st.characters(categories=("L", "N", "P", "S", "Zs"), include_characters=" "), min_size=1, max_size=12
    ),
    st.text(st.sampled_from(" ,=\\\"%57C2t#'"), min_size=1, max_size=8),
    st.sampled_from(["time", "%74ime", "%", "%25", "%255C", "a\\", "\\=", "<script>alert(1)</script>"]),
).filter(str.isprintable)
numbers = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(width=32, allow_nan=False)
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame that the wire lets through, with hostile names."""
    instants = sorted(draw(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=6, unique=True)))
    rows = len(instants)
    values = draw(
        st.dictionaries(names, st.lists(numbers, min_size=rows, max_size=rows), min_size=1, max_size=4)
    )
    code = st.dictionaries(st.integers(0, rows - 1), st.integers(1, 2**32 - 1), max_size=2)
    return Frame(instants, values, {tag: codes for tag in values if (codes := draw(code))})


def split_unescaped(text: str, separator: str) -> list[str]:
    """Cut `text` where `separator` stands without a backslash before it, as InfluxDB's scanner does."""
    parts, at = [""], 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            parts[-1] += text[at : at + 2]
            at += 2
        elif text[at] == separator:
            parts.append("")
            at += 1
        else:
            parts[-1] += text[at]
            at += 1
    return parts


def unescape(key: str) -> str:
    """Take the backslash from before commas, equals signs, quotes and spaces, as InfluxDB does."""
    plain, at = "", 0
    while at < len(key):
        if key[at] == "\\" and key[at + 1 : at + 2] in (",", "=", " ", '"'):
            at += 1
        plain += key[at]
        at += 1
    return plain


Point = tuple[str, dict[str, str], dict[str, str], int]


def parse_line(line: str) -> Point:
    """Return measurement, tags, fields and time of one line, by the book."""
    series, fields, instant = split_unescaped(line, " ")
    measurement, *tags = split_unescaped(series, ",")
    pairs = [split_unescaped(pair, "=") for pair in split_unescaped(fields, ",")]
    assert all(len(pair) == 2 for pair in pairs), line
    keys = dict(split_unescaped(tag, "=") for tag in tags)
    return unescape(measurement), keys, {unescape(key): text for key, text in pairs}, int(instant)


def parse_block(block: Block) -> list[Point]:
    """Return the points of an encoded block."""
    lines = encode_block(block).decode()
    assert not lines or lines.endswith("\n")
    return [parse_line(line) for line in lines.split("\n")[:-1]]


def bits(number: float) -> bytes:
    """Return a number so that -0.0 differs from 0.0."""
    return struct.pack("<d", number)


@given(frames())
def test_an_independent_parser_reads_what_was_written(frame: Frame) -> None:
    """Every number as the same float under its tag, every code in its measurement, nothing else."""
    expected = {}
    for tag, column in frame.values.items():
        for row, number in enumerate(column):
            code = frame.quality.get(tag, {}).get(row, 0)
            if number is not None and math.isfinite(number):
                expected["telemetry", tag, frame.timestamps[row]] = bits(number)
                if code:
                    expected["quality", tag, frame.timestamps[row]] = bits(code)
            else:
                unsaid = quality.BAD if number is None else quality.BAD_OUT_OF_RANGE
                expected["missing", tag, frame.timestamps[row]] = bits(code or unsaid)
    found = {}
    for measurement, keys, fields, instant in parse_block(Block("telemetry", PUMP, [frame])):
        assert keys == {"site": "riverside", "area": "hall-1", "line": "water", "machine": "pump-7"}
        for key, text in fields.items():
            assert key not in ("time", "")
            assert not key.endswith("\\")
            assert text.endswith("i") == (measurement != "telemetry")
            found[measurement, tag_name(key), instant] = bits(float(text.removesuffix("i")))
    assert found == expected


@given(names)
def test_a_key_leads_back_to_its_tag_alone(name: str) -> None:
    """Spelling a name for InfluxDB loses nothing and no backslash is left in it."""
    assert tag_name(store_key(name)) == name
    assert "\\" not in store_key(name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bearing_temperature", "bearing_temperature"),
        ("load %", "load\\ %"),
        ("a,b=c", "a\\,b\\=c"),
        ("a\\", "a%5C"),
        ("100%25", "100%2525"),
        ("time", "%74ime"),
        ("Time", "Time"),
    ],
)
def test_keys_are_the_names_with_few_exceptions(name: str, key: str) -> None:
    """What people see in Grafana is the tag's own name unless line protocol cannot say it."""
    assert escape_key(name) == key


def test_a_row_is_one_line_of_floats() -> None:
    """One line a row, floats even where they are whole, tags in InfluxDB's own order."""
    frame = Frame([START, START + 1], {"current": [12.0, 12.5], "speed": [1e21, 1e-7]})
    machine = "telemetry,area=hall-1,line=water,machine=pump-7,site=riverside"
    assert encode_block(Block("telemetry", PUMP, [frame])).decode() == (
        f"{machine} current=12.0,speed=1e21 1795337912000000000\n"
        f"{machine} current=12.5,speed=1e-7 1795337912000000001\n"
    )


def test_codes_of_other_measurements_are_apart() -> None:
    """A score that could not be given is not mixed up with a reading that failed."""
    frame = Frame([START], {"score": [None], "limit": [1.0]})
    points = parse_block(Block("score", PUMP, [frame]))
    assert [(point[0], point[2]) for point in points] == [
        ("score", {"limit": "1.0"}),
        ("score_missing", {"score": f"{quality.BAD}i"}),
    ]
    assert name_codes("missing", "telemetry") == "missing"


def test_nothing_is_no_line() -> None:
    """Empty blocks and frames are no lines."""
    assert encode_block(Block("telemetry", PUMP, [])) == b""
    assert encode_block(Block("telemetry", PUMP, [Frame([], {"a": []}), Frame([START], {})])) == b""
