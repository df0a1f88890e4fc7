"""What every store on the shelf promises, checked with each of them."""

import os
import secrets
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from cloud.stores import Block, StoreReader, StoreWriter, Table
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.stores.influxdb import InfluxdbStoreSettings
from models.telemetry import Frame, MachinePath, quality
from tests.integration.influx_front import InfluxServer

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
START = 1_795_337_912_000_000_000
SECOND = 1_000_000_000
FOREVER = 2**63 - 1

HOSTILE_TAGS = [
    "<script>alert(1)</script>",
    'a b,c=d"e\\',
    "a\\",
    "\\",
    "a\\,b\\ c\\=d\\\\e",
    'say "hi"',
    "it's 100 %, %d %s %5C %255C",
    "time",
    "machine",
    "site",
    "Ünïcödé °C 温度",
    "#",
    "1",
    "x" * 128,
    "{}",
    "`;DROP TABLE chunk--",
]

buckets = count(1)


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """A running database."""
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield server
    server.close()


def reach_real_server() -> dict[str, str]:
    """Return where a real InfluxDB 2 or 3 is, from the environment; skip the test without one."""
    names = {"url": "FOREWARN_INFLUX_URL", "org": "FOREWARN_INFLUX_ORG", "token": "FOREWARN_INFLUX_TOKEN"}
    found = {key: os.environ.get(name, "") for key, name in names.items()}
    if not all(found.values()):
        pytest.skip(f"no InfluxDB 2 is said: set {', '.join(names.values())}")
    return found


def make_real_settings() -> InfluxdbStoreSettings:
    """Return settings for a new bucket of a real InfluxDB, made by our own set-up."""
    where = reach_real_server() | {"token": {"env": "FOREWARN_INFLUX_TOKEN"}}
    bucket = f"forewarn-test-{secrets.token_hex(6)}"
    facts = {"kind": "influxdb", "bucket": bucket, "timeout_s": 30}
    settings = InfluxdbStoreSettings.model_validate(where | facts)
    assert len(settings.set_up()) > 1
    assert settings.set_up()[1:] == ["all was there"]
    return settings


@pytest.fixture(params=["embedded", "influxdb", "influxdb 1", "influxdb real"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[StoreWriter, StoreReader]]:
    """An empty store of each kind: its writer and its reader.

    `influxdb` is Debian's 1.6 behind a front with the write API of version 2, `influxdb 1` the same without
    it, `influxdb real` whatever the environment names.
    """
    if request.param == "embedded":
        settings = EmbeddedStoreSettings(kind="embedded", path=tmp_path / "plant" / "store.sqlite")
    elif request.param == "influxdb real":
        settings = make_real_settings()
    else:
        server, bucket = request.getfixturevalue("influx"), f"bucket-{next(buckets)}"
        settings = server.make_settings(bucket)
        if request.param == "influxdb 1":
            settings = server.native_settings(bucket)
    writer, reader = settings.build_writer(), settings.build_reader()
    yield writer, reader
    writer.close()
    reader.close()


def block(frame: Frame, machine: MachinePath = PUMP) -> Block:
    """Return a block of telemetry with one frame."""
    return Block("telemetry", machine, [frame])


def rows_of(table: Table, tag: str) -> dict[int, float]:
    """Return what the table says of a tag, without the instants at which it has nothing."""
    pairs = zip(table.timestamps.tolist(), table.values[tag].tolist(), strict=True)
    return {instant: value for instant, value in pairs if value == value}


def test_what_was_written_is_read_exactly(store: tuple[StoreWriter, StoreReader]) -> None:
    """Every float comes back as the same float, at the same nanosecond."""
    writer, reader = store
    numbers = [0.1, 0.0, 1.0, 1e16, 5e-324, 1.7976931348623157e308, 1 / 3, 12.4, 100.0, -273.15, 2.5e-7]
    times = [START + row * SECOND + row for row in range(len(numbers))]
    assert writer.write([block(Frame(times, {"x": numbers, "y": numbers[::-1]}))]) == []
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == times
    assert table.timestamps.dtype == np.int64
    assert list(map(repr, table.values["x"].tolist())) == list(map(repr, numbers))
    assert list(map(repr, table.values["y"].tolist())) == list(map(repr, numbers[::-1]))
    assert table.quality == {}


def test_the_start_is_inside_a_span_and_its_end_is_not(store: tuple[StoreWriter, StoreReader]) -> None:
    """start_ns <= t < end_ns."""
    writer, reader = store
    times = [START, START + 1, START + 2, START + 3]
    writer.write([block(Frame(times, {"x": [1.0, 2.0, 3.0, 4.0]}))])
    assert reader.read("telemetry", PUMP, START + 1, START + 3).timestamps.tolist() == times[1:3]


def test_a_repeat_overwrites(store: tuple[StoreWriter, StoreReader]) -> None:
    """A value is identified by measurement, machine, tag and time: the later one counts, once."""
    writer, reader = store
    first = Frame([START, START + SECOND], {"x": [1.0, 2.0], "y": [3.0, 4.0]})
    writer.write([block(first)])
    writer.write([block(first)])
    writer.write([block(Frame([START + SECOND], {"x": [20.0]}))])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == [START, START + SECOND]
    assert table.values["x"].tolist() == [1.0, 20.0]
    assert table.values["y"].tolist() == [3.0, 4.0]


def test_tags_of_one_instant_from_several_writes_share_a_row(store: tuple[StoreWriter, StoreReader]) -> None:
    """Disjoint tags at the same timestamp come together; where a tag was not read stands NaN, good."""
    writer, reader = store
    writer.write([block(Frame([START, START + 1], {"x": [1.0, 2.0]}))])
    writer.write([block(Frame([START], {"y": [3.0]})), block(Frame([START + 2], {"z": [5.0]}))])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == [START, START + 1, START + 2]
    assert rows_of(table, "x") == {START: 1.0, START + 1: 2.0}
    assert rows_of(table, "y") == {START: 3.0}
    assert rows_of(table, "z") == {START + 2: 5.0}
    assert table.quality == {}


def test_the_order_of_writing_does_not_matter(store: tuple[StoreWriter, StoreReader]) -> None:
    """A backlog that arrives after live values is read in time order."""
    writer, reader = store
    expected = {START + row * SECOND: float(row) for row in range(100)}
    times = list(expected)
    for start in (60, 0, 30, 90):
        part = times[start : start + 30]
        writer.write([block(Frame(part, {"x": [expected[instant] for instant in part]}))])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == times
    assert rows_of(table, "x") == expected


def test_quality_is_kept(store: tuple[StoreWriter, StoreReader]) -> None:
    """A reading without a number keeps its reason, an uncertain number its code, also in a row of its own."""
    writer, reader = store
    values = {"x": [1.0, None, 3.0], "y": [None, None, 6.0], "z": [7.0, None, 9.0]}
    codes = {
        "x": {1: quality.BAD_TIMEOUT, 2: quality.UNCERTAIN_SUB_NORMAL},
        "y": {0: quality.BAD_SENSOR_FAILURE},
    }
    writer.write([block(Frame([START, START + 1, START + 2], values, codes))])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == [START, START + 1, START + 2]
    assert rows_of(table, "x") == {START: 1.0, START + 2: 3.0}
    assert rows_of(table, "y") == {START + 2: 6.0}
    assert table.quality["x"].tolist() == [quality.GOOD, quality.BAD_TIMEOUT, quality.UNCERTAIN_SUB_NORMAL]
    assert table.quality["y"].tolist() == [quality.BAD_SENSOR_FAILURE, quality.BAD, quality.GOOD]
    assert table.quality["z"].tolist() == [quality.GOOD, quality.BAD, quality.GOOD]
    assert table.quality["x"].dtype == np.uint32


def test_a_number_outranks_a_reading_without_one(store: tuple[StoreWriter, StoreReader]) -> None:
    """A device that is lost repeats its last instant as bad: the number that was stored stays, good."""
    writer, reader = store
    number, lost = (
        Frame([START], {"x": [1.0]}),
        Frame([START], {"x": [None]}, {"x": {0: quality.BAD_TIMEOUT}}),
    )
    later = Frame([START + 1], {"x": [2.0]})
    lost_later = Frame([START + 1], {"x": [None]}, {"x": {0: quality.BAD_TIMEOUT}})
    for frame in (number, lost, lost_later, later):
        writer.write([block(frame)])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert rows_of(table, "x") == {START: 1.0, START + 1: 2.0}
    assert table.quality == {}


def test_any_printable_tag_name_lives(store: tuple[StoreWriter, StoreReader]) -> None:
    """Names with spaces, commas, quotes, backslashes or markup are read, listed and asked for as written."""
    writer, reader = store
    values = {tag: [float(index), index + 0.5] for index, tag in enumerate(HOSTILE_TAGS)}
    times = [START, START + SECOND]
    quiet = {tag: {1: quality.UNCERTAIN} for tag in HOSTILE_TAGS}
    assert writer.write([block(Frame(times, values, quiet))]) == []
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert {tag: table.values[tag].tolist() for tag in table.values} == values
    assert sorted(table.quality) == sorted(HOSTILE_TAGS)
    for tag in HOSTILE_TAGS:
        assert reader.read("telemetry", PUMP, 0, FOREVER, [tag]).values[tag].tolist() == values[tag], tag
    assert sorted(reader.list_machines()[0].tags) == sorted(HOSTILE_TAGS)


def test_only_the_tags_asked_for_are_read(store: tuple[StoreWriter, StoreReader]) -> None:
    """A tag without values is there, empty; instants of other tags are not rows."""
    writer, reader = store
    writer.write([block(Frame([START], {"x": [1.0], "y": [2.0]})), block(Frame([START + 1], {"y": [3.0]}))])
    table = reader.read("telemetry", PUMP, 0, FOREVER, ["x", "never seen"])
    assert table.timestamps.tolist() == [START]
    assert list(table.values) == ["x", "never seen"]
    assert table.values["x"].tolist() == [1.0]
    assert np.isnan(table.values["never seen"]).all()


def test_nothing_stored_is_an_empty_table(store: tuple[StoreWriter, StoreReader]) -> None:
    """Neither a store before its first write, nor an unknown machine, nor an empty span is an error."""
    writer, reader = store
    assert reader.list_machines() == []
    assert reader.read("telemetry", PUMP, 0, FOREVER).timestamps.tolist() == []
    writer.write([block(Frame([START], {"x": [1.0]}))])
    assert reader.read("telemetry", MOTOR, 0, FOREVER).values == {}
    assert reader.read("telemetry", PUMP, START + 1, FOREVER).timestamps.tolist() == []
    assert reader.read("score", PUMP, 0, FOREVER).timestamps.tolist() == []
    assert writer.write([]) == []


def test_machines_and_measurements_are_apart(store: tuple[StoreWriter, StoreReader]) -> None:
    """One write may carry several machines and measurements; each is read for itself."""
    writer, reader = store
    frame = Frame([START, START + SECOND], {"x": [1.0, 2.0]})
    other = Frame([START + 5 * SECOND], {"x": [3.0], "y": [4.0]})
    score = Frame([START], {"score": [0.7], "limit": [1.0]})
    writer.write([block(frame), block(other, MOTOR), Block("score", PUMP, [score])])
    assert rows_of(reader.read("telemetry", PUMP, 0, FOREVER), "x") == {START: 1.0, START + SECOND: 2.0}
    assert rows_of(reader.read("telemetry", MOTOR, 0, FOREVER), "y") == {START + 5 * SECOND: 4.0}
    assert rows_of(reader.read("score", PUMP, 0, FOREVER), "score") == {START: 0.7}
    motor, pump = reader.list_machines()
    assert (motor.machine, motor.tags, motor.first_ns, motor.last_ns) == (
        MOTOR,
        ["x", "y"],
        *[START + 5 * SECOND] * 2,
    )
    assert (pump.machine, pump.tags, pump.first_ns, pump.last_ns) == (PUMP, ["x"], START, START + SECOND)


def test_frames_that_overlap_in_one_block_are_all_kept(store: tuple[StoreWriter, StoreReader]) -> None:
    """Frames of a block may share instants, go back in time or repeat."""
    writer, reader = store
    frames = [
        Frame([START + 2, START + 3], {"x": [2.0, 3.0]}),
        Frame([START, START + 2], {"x": [0.0, 22.0], "y": [5.0, 6.0]}),
        Frame([START + 4], {"x": [4.0]}),
        Frame([START + 5], {"x": [5.0]}),
    ]
    writer.write([Block("telemetry", PUMP, frames)])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.values["x"].tolist() == [0.0, 22.0, 3.0, 4.0, 5.0]
    assert rows_of(table, "y") == {START: 5.0, START + 2: 6.0}


def test_a_malformed_block_is_rejected_alone(store: tuple[StoreWriter, StoreReader]) -> None:
    """A column that is too short can never be stored: it is named, and its neighbours are stored."""
    writer, reader = store
    good = block(Frame([START], {"x": [1.0]}))
    bad = block(Frame([START, START + 1], {"x": [1.0]}), MOTOR)
    rejections = writer.write([good, bad, block(Frame([START + 1], {"x": [2.0]}))])
    assert [rejection.index for rejection in rejections] == [1]
    assert rejections[0].reason == "'x' has 1 values: not as many as its 2 timestamps"
    assert [stored.machine for stored in reader.list_machines()] == [PUMP]
    assert len(reader.read("telemetry", PUMP, 0, FOREVER).timestamps) == 2


def test_many_small_writes_read_as_one_long_recording(store: tuple[StoreWriter, StoreReader]) -> None:
    """Whatever a store does to what it holds, hundreds of flushes with repeats read as if written at once."""
    writer, reader = store
    times = [START + row * SECOND for row in range(600)]
    for row, instant in enumerate(times):
        repeat = [block(Frame([times[row - 7]], {"x": [row - 7.0]}))] if row % 10 == 9 else []
        missing: list[float | None] = [None if row % 50 == 0 else row / 10]
        writer.write([block(Frame([instant], {"x": [float(row)], "y": missing})), *repeat])
    table = reader.read("telemetry", PUMP, 0, FOREVER)
    assert table.timestamps.tolist() == times
    assert table.values["x"].tolist() == [float(row) for row in range(600)]
    assert rows_of(table, "y") == {times[row]: row / 10 for row in range(600) if row % 50}
    assert np.flatnonzero(table.quality["y"]).tolist() == list(range(0, 600, 50))
